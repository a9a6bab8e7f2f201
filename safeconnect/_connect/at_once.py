"""The first attempt of a connect in an event loop: without a wait, and without a race unless it takes one."""

from __future__ import annotations

import socket
import sys
from errno import EADDRNOTAVAIL, EALREADY, EINPROGRESS, EINTR

from .._sockets import lifecycle, port_window, resolve
from .attempt import try_first
from .settings import PLAIN
from .shared import Race
from .trace import is_logged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ..typing import Candidate
    from .settings import Settings

    AnyRace = TypeVar("AnyRace", bound=Race)

# Given to socket(), it spares the system call that makes the socket non-blocking. 0: this is not Linux.
_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0) if sys.platform == "linux" else 0


def begin(
    race: Callable[..., AnyRace],
    clock: Callable[[], float],
    settings: Settings,
    address: tuple[Any, ...],
    timeout: float | None,
    *,
    candidates: Sequence[Candidate] = (),
    began: float | None = None,
) -> socket.socket | AnyRace:
    """Try the first address if it is known without a wait.

    :param race: a driver's own class.
    :param clock: in seconds, the driver's own; ``began`` is a time of it, the time of this call if it is left out.
    :param candidates: the addresses of the host, if they have been looked up already.
    :returns: the socket if it is connected, and not to itself; otherwise a race, not run yet, that goes on with it.
    :raises TypeError: ``address`` is not an address.
    :raises ValueError: it has a wrong length, or its port is not 0-65535.
    :raises OSError: localhost could not be looked up.

    Most connects have no settings. On Linux their attempt is made right here, as `attempt.start_from` would, with as
    few steps as that takes. What happens seldom is left to `_judged`.
    """
    if began is None and timeout is not None:
        began = clock()
    is_simple = settings is PLAIN and _NONBLOCK and not candidates and not is_logged()
    candidates = resolve.without_network(address) if is_simple else candidates or _known(settings, address)
    first: Any = None
    try:
        if is_simple and candidates:
            family, kind, proto, _, sockaddr = candidates[0]
            first = socket.socket(family, kind | _NONBLOCK, proto)
            window = port_window.choose(first, sockaddr)
            code = first.connect_ex(sockaddr)
            if code == EINPROGRESS:
                code = first.connect_ex(sockaddr)  # on loopback it is done by now
            port = 0 if code else first.getsockname()[1]
            if port and port != sockaddr[1] and window & 0xFFFF <= port <= window >> 16 & 0xFFFF:
                return first  # type: ignore[no-any-return]
            first, is_kept = _judged(first, candidates[0], window, code, port)
        elif candidates and not settings.needs_dial and not is_logged():
            first, is_kept = try_first(settings, candidates[0])
        else:
            is_kept = False
    except OSError as error:
        first, is_kept = _failed(first, error), False
    except BaseException:
        _failed(first)
        raise
    if is_kept:
        return first  # type: ignore[no-any-return]
    try:
        made = race(settings, address, timeout, candidates, clock=clock, began=clock() if began is None else began)
        made.first = first
        return made
    finally:
        first = None  # an error that is raised later holds this frame: a cycle


def _known(settings: Settings, address: tuple[Any, ...]) -> Sequence[Candidate]:
    """Return the addresses that need no lookup, or one that takes less time than a thread for it would."""
    if settings.resolver:
        return ()
    if settings.needs_dial or is_logged():
        return resolve.literal(address)
    return resolve.without_network(address, settings.family)


def _judged(
    sock: socket.socket, candidate: Candidate, window: int, code: int, port: int
) -> tuple[socket.socket | OSError, bool]:
    """Return what `try_first` would of an attempt that is not simply connected.

    :param code: the error code of connect_ex(); ``port``, the socket's own if the code is 0.
    :raises OSError: the connect has failed; the socket is still open.
    """
    if code == 0:
        if window and not window & 0xFFFF <= port <= window >> 16 & 0xFFFF:
            port_window.missed(sock, window)
        if port != candidate[4][1]:
            return sock, True
        if lifecycle.is_self_connected(sock):
            lifecycle.reset_on_close(sock)  # first, so that whoever closes it after an interrupt resets it
        return sock, False  # the race asks for both names
    if code in (EALREADY, EINPROGRESS, EINTR):
        return sock, False
    if code == EADDRNOTAVAIL:
        sock.close()  # nothing was sent: the search for a port begins anew
        return try_first(PLAIN, candidate)
    raise lifecycle.error_of(code)


def _failed(sock: socket.socket | None, error: OSError | None = None) -> OSError | None:
    """Close the socket of an attempt that has failed or was broken off; return the error, which holds no frames."""
    if sock is not None:
        lifecycle.discard(sock, error)
    return error and error.with_traceback(None)

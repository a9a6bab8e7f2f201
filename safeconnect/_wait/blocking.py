"""Waiting until a port is up, or until it is gone: `wait_for_port`."""

from __future__ import annotations

import inspect
import socket
import time
from contextlib import suppress
from time import monotonic

from .._connect.blocking import Connector
from .._sockets import kernel, port_window, sockets
from .policy import Greeting, Waiting, probing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ..typing import Check, HasLinger

    class Probe(HasLinger, Protocol):
        """A socket of any library."""

        def fileno(self) -> int: ...


_PLAIN = Connector()


def wait_for_port(
    address: tuple[Any, ...],
    timeout: float | None,
    *,
    interval: float = 0.1,
    attempt_timeout: float = 1.0,
    check: Check[socket.socket] | None = None,
    gone: bool = False,
    connector: Connector | None = None,
) -> None:
    """Wait until somebody listens on a TCP port; or, with ``gone``, until nobody does any more.

    Tries to connect until it is so. No try is fooled by a connection to itself, and each ends with a reset, so that
    nothing of it stays, neither in TIME_WAIT nor on the port that a server is about to take. A server sees a connection
    that is reset at once. Where the kernel has no source port toward the target but the target's own, or none that is
    free, the tries go on from ports that it gives to nobody: those above its range, or else those below.

    :param address: ``(host, port)``, or the four parts of an IPv6 address. Of a name with several addresses one that
        answers is enough; ``gone`` takes a refusal from all of them but those that this host has no way to.
    :param timeout: seconds for all of it. None: no limit. 0: exactly one try. The last try begins 10 ms before the end,
        at the latest, and if it fails at once, that is the end.
    :param interval: the longest pause between two tries, in seconds. The first is an eighth of it; then they double.
        Each is shortened at random, to half at most.
    :param attempt_timeout: seconds for one try: lookup, connect and check. After 1 s, the default, an unanswered
        connect would begin anew by itself (RFC 6298, section 2).
    :param check: what makes it the right server. Bytes: what it must send first after the connect, such as
        ``b"220 "``. A callable: gets the connected socket, with what is left of the try as its timeout, and returns
        whether it is; an `OSError` in it is a failed try, anything else is raised. Not together with ``gone``.
    :param gone: wait until connects are refused. Silence is no refusal: the host may be busy, or cut off.
    :param connector: how to connect, a `Connector`; one with a source address or source ports keeps to them. Its
        ``attempt_timeout`` is for each address, within that of a try. Its timeout and retry do not count, nor do
        ``allow_self_connect``, ``all_errors`` and `FastOpenConnect`, by which a connect succeeds with nobody asked.
    :raises TimeoutError: it was not so in time; its errno is None. A note says what was seen: how many tries were
        refused, met themselves, were not answered, ...
    :raises socket.gaierror: the name does not exist, at once. While its name server does not answer, the wait goes on.
    :raises PermissionError: the system or ``allow`` forbids it, at once. Other errors of a connect are failed tries.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an argument out of range; ``check`` together with ``gone``.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     address = server.getsockname()
    ...     wait_for_port(address, timeout=5)
    >>> wait_for_port(address, timeout=5, gone=True)
    """
    if inspect.iscoroutinefunction(check):
        raise TypeError("check must not be async: that takes safeconnect.asyncio or safeconnect.trio")
    waiting = Waiting(
        address,
        timeout,
        interval=interval,
        attempt_timeout=attempt_timeout,
        check=check,
        gone=gone,
        draw=port_window.chance,
        spare_ports=kernel.spare_ports,
        now=monotonic(),
    )
    plan = probing(_PLAIN if connector is None else connector, gone=gone)
    while not _try(waiting.aimed(plan), address, check, waiting):
        time.sleep(waiting.pause(monotonic()))


def _try(plan: Connector, address: tuple[Any, ...], check: Check[socket.socket] | None, waiting: Waiting) -> bool:
    """One try: whether it is as is waited for."""
    seconds = waiting.begin(monotonic())
    try:
        sock = plan.connect(address, seconds)
    except (OSError, ExceptionGroup) as error:
        return waiting.failed(error, monotonic())
    try:
        return waiting.connected(monotonic()) if check is None else _is_right(sock, check, waiting)
    except OSError as error:
        return waiting.check_failed(error, monotonic())
    finally:
        end(sock)


def _is_right(sock: socket.socket, check: Check[socket.socket], waiting: Waiting) -> bool:
    prepare(sock)
    if not isinstance(check, bytes):
        sock.settimeout(waiting.left(monotonic()))
        return waiting.checked(check(sock), "the check said no", monotonic())
    greeting = Greeting(check)
    while greeting.missing:
        sock.settimeout(waiting.left(monotonic()))
        greeting.received(sock.recv(greeting.missing))
    return waiting.checked(greeting.is_right, greeting.told, monotonic())


def prepare(sock: Probe) -> None:
    """Let the connection be reset also by a check that closes it, or that wraps the socket in one of its own."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockets.LINGER_0)


def end(sock: Probe) -> None:
    """Reset the connection, unless a check has closed the socket."""
    if sock.fileno() >= 0:
        with suppress(OSError):  # macOS, where the peer has reset it already; it is closed all the same
            sockets.reset(sock)

"""TCP simultaneous open (RFC 9293, section 3.5): two sides connect to each other, and nobody listens.

Here is one side's part, without the waiting: a generator yields what to wait for, and each driver waits in its own way.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from datetime import datetime
from ipaddress import ip_address
from math import inf

from .._checks import check_int
from .._connect import attempt
from .._connect.driver import LONGEST_WAIT
from .._connect.settings import check_seconds
from .._connect.verdict import self_connect_error
from .._sockets import lifecycle, port_window
from .._sockets.endpoint import same_endpoint, written
from .._sockets.zones import scoped
from ..errors import SelfConnectError
from ..ports import MAX_PORT
from .policy import Schedule
from .syn_filter import bind_shared, open_syn_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from .._loops import Loop

    Address = tuple[Any, ...]
    # What to wait for: the socket to be writable, where there is one, and how long at most (None: without a limit).
    Wait = tuple[socket.socket | None, float | None]
    Waits = Generator[Wait, None, socket.socket]

# How a try may end while the other side is not there yet: by an answer of the other side, or by an error of this host.
# EADDRNOTAVAIL: the last connection between the two addresses is not quite gone.
_ANSWERS = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED)
_AGAIN = (
    *_ANSWERS,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EADDRNOTAVAIL,
)


class Attempts:
    """One side's tries at a simultaneous open, between two checked addresses.

    :raises TypeError: and the others: as `simultaneous_open`.
    """

    def __init__(self, local: Address, peer: Address, timeout: float | None, *, allow_self_connect: bool) -> None:
        self.family = _family(local, peer)
        timeout = check_seconds("timeout", timeout)
        if local[:2] == peer[:2] and not allow_self_connect:
            raise self_connect_error(peer, 1)
        self.local = scoped(local)
        self.peer = scoped(peer)
        self.timeout = timeout
        self._allow_self_connect = allow_self_connect
        self._count = 0
        # The last try's error: number and text, for an error would keep its frames alive.
        self._code: int | None = None
        self._last = ""

    def run(self, at: datetime | float | None, interval: float, clock: Callable[[], float]) -> Waits:
        """Yield what to wait for; return the connected, non-blocking socket. Closing the generator closes what is open.

        While this runs, a SYN filter stands before the local address (see `open_syn_filter`).
        """
        pause = check_seconds("interval", interval)
        if pause is None:
            raise TypeError("interval must be a number of seconds, not None")
        began = clock()
        instant = began + _seconds_until(at)
        deadline = inf if self.timeout is None else began + self.timeout
        syn_filter = open_syn_filter(self.family, self.local) if self.local[:2] != self.peer[:2] else None
        try:
            schedule = Schedule(instant, pause, port_window.chance, filtered=syn_filter is not None)
            while (now := clock()) < deadline:
                if schedule.next_try > now:
                    yield None, min(min(schedule.next_try, deadline) - now, LONGEST_WAIT)
                    continue
                sock = yield from self._try(deadline, clock)
                if sock is not None:
                    return sock
                schedule.failed(clock(), answered=self._code in _ANSWERS)
                yield None, 0.0  # let other tasks run
            raise self._late()
        finally:
            if syn_filter is not None:
                syn_filter.close()

    def _try(self, deadline: float, clock: Callable[[], float]) -> Generator[Wait, None, socket.socket | None]:
        """Try once; return the connected socket, or None to try again if there is time."""
        self._count += 1
        is_done = False
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            is_connected = _begin(sock, self.local, self.peer)
            while not is_connected and (left := deadline - clock()) > 0:
                yield sock, None if left == inf else min(left, LONGEST_WAIT)
                is_connected = _is_connected(sock, self.peer)
            if is_connected and not self._allow_self_connect and same_endpoint(*attempt.names(sock, self.peer)):
                raise self_connect_error(self.peer, 1)  # the local address is 0.0.0.0, say
            is_done = is_connected
        except SelfConnectError:
            raise
        except OSError as error:
            if error.errno not in _AGAIN:
                raise
            self._code, self._last = error.errno, str(error)
        finally:
            if not is_done:
                lifecycle.reset(sock)
        return sock if is_done else None

    def _late(self) -> TimeoutError:
        error = TimeoutError("timed out")
        ended = f"the last one that ended: {self._last}" if self._last else "the last is still unanswered"
        ends = f"{written(self.local)} and {written(self.peer)}"
        error.add_note(f"{ends} did not meet in {self._count} tries; {ended}")
        return error


def _begin(sock: socket.socket, local: Address, peer: Address) -> bool:
    """Begin to connect; return True if it is done."""
    sock.settimeout(0)
    bind_shared(sock, local)
    attempt.is_done(sock.connect_ex(peer))
    return _is_connected(sock, peer)


def _is_connected(sock: socket.socket, peer: Address) -> bool:
    """Return True if the handshake is over.

    :raises OSError: it has failed.
    """
    attempt.raise_failure(sock)
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno in lifecycle.NO_PEER:
            return False
        raise
    if sys.platform == "linux":
        # getpeername() works in SYN_RECV, too. Another connect() tells: EALREADY if the handshake is not over.
        return attempt.is_done(sock.connect_ex(peer))
    return True


def _family(local: object, peer: object) -> int:
    versions = []
    for name, address in (("local", local), ("peer", peer)):
        if not isinstance(address, tuple) or len(address) not in (2, 4) or not isinstance(address[0], str):
            raise TypeError(f"{name} must be (host, port), not {address!r}")
        try:
            versions.append(ip_address(address[0]).version)
        except ValueError:
            raise ValueError(f"{name} must have a literal address, not {address[0]!r}") from None
        check_int(f"the port of {name}", address[1], 1, MAX_PORT)
    if versions[0] != versions[1]:
        raise ValueError(f"local and peer must be of one family, not {local!r} and {peer!r}")
    return socket.AF_INET6 if versions[0] == 6 else socket.AF_INET


def _seconds_until(at: datetime | float | None) -> float:
    """Return the time until the instant; 0 if it is past or None."""
    if at is None:
        return 0.0
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"at must be a datetime with a time zone, not {at!r}")
        at = at.timestamp()
    elif not isinstance(at, (int, float)) or isinstance(at, bool):
        raise TypeError(f"at must be an aware datetime or seconds since the epoch, not {type(at).__name__}")
    return max(at - time.time(), 0.0)


async def follow(loop: Loop, attempts: Attempts, at: datetime | float | None, interval: float) -> socket.socket:
    """Run the attempts on an event loop; return the connected socket."""
    waits = attempts.run(at, interval, loop.now)
    try:
        while True:
            sock, seconds = next(waits)
            await (loop.sleep(seconds or 0) if sock is None else loop.wait_writable(sock, seconds))
    except StopIteration as end:
        winner: socket.socket = end.value
        return winner
    finally:
        waits.close()

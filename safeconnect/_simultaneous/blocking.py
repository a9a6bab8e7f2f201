"""TCP simultaneous open (RFC 9293, section 3.5): two sides connect to each other, and nobody listens."""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import time
from datetime import datetime
from ipaddress import ip_address
from math import inf

from .._checks import check_int
from .._connect import attempt
from .._connect.blocking_race import new_selector
from .._connect.driver import LONGEST_WAIT
from .._connect.settings import check_seconds
from .._connect.verdict import met_itself
from .._sockets import port_window, sockets
from .._sockets.endpoint import same_endpoint, written
from .._sockets.sockets import handed_over
from .._sockets.zones import scoped
from ..errors import SelfConnectError
from ..ports import MAX_PORT
from .policy import Meeting
from .syn_filter import bind_shared, raise_shield

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..typing import Address

    # What to wait for: the socket to be writable, where there is one, and how long at most (None: without a limit).
    Wait = tuple[socket.socket | None, float | None]
    Waits = Generator[Wait, None, socket.socket]

# What a try may end with while the other side is not there yet: what the other side says, and what this host says.
# EADDRNOTAVAIL: the last connection between the two addresses is not quite gone.
_ANSWERS = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED)
_AGAIN = (
    *_ANSWERS,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EADDRNOTAVAIL,
)


def simultaneous_open(
    local: Address,
    peer: Address,
    *,
    timeout: float | None,
    at: datetime | float | None = None,
    interval: float = 0.05,
    allow_self_connect: bool = False,
) -> socket.socket:
    """Connect to a peer that connects to us: both from fixed ports, neither of them listening.

    The other side calls this with the addresses exchanged. Linux lets the side that comes first wait: while one side is
    not connecting, it does not refuse the other. So they meet as soon as both have called. Elsewhere both sides must be
    connecting in the same microseconds.

    How often it is tried, from 0.1 s before the agreed instant on: after a refusal, until 0.5 s after the instant,
    without a pause; on Linux at most every 10 ms, the first few sooner. From then on, and after errors of this host's
    own (no route: ENETUNREACH) from the first one on, with pauses that grow from 1 ms to ``interval``.

    :param local: ``(host, port)`` to connect from; a literal address and a port.
    :param peer: ``(host, port)`` to connect to; a literal address.
    :param timeout: seconds for all of it, the wait for the instant included. None: no limit.
    :param at: the instant agreed upon: an aware `datetime.datetime`, or seconds since the epoch as `time.time` gives
        them. The clock of the system is read once. None: now.
    :param interval: the longest pause between two tries, in seconds.
    :param allow_self_connect: let a socket connect to itself where ``peer`` is ``local``.
    :returns: the connected socket, with ``timeout`` as its timeout.
    :raises TimeoutError: they did not meet; a note says how often it was tried, and how the last try ended.
    :raises SelfConnectError: ``peer`` is ``local``.
    :raises OSError: what no further try would mend: EADDRINUSE, the local port is taken by another socket; EACCES.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: a host that is no literal, a port that is not 1-65535, a datetime without a time zone, a
        negative time, or addresses of two families.

    >>> import threading
    >>> a, b = ("127.0.0.1", 20801), ("127.0.0.1", 20802)
    >>> other = threading.Thread(target=lambda: simultaneous_open(b, a, timeout=5).close())
    >>> other.start()
    >>> with simultaneous_open(a, b, timeout=5) as sock:
    ...     sock.getpeername() == b
    True
    >>> other.join()
    """
    sides = Sides(local, peer, timeout, allow_self_connect=allow_self_connect)
    waits = sides.tries(at, interval, time.monotonic)
    try:
        while True:
            _wait(*next(waits))
    except StopIteration as end:
        sock: socket.socket = end.value
    finally:
        waits.close()
    return handed_over(sock, timeout)


class Sides:
    """The two addresses of a simultaneous open, checked, and one side's tries.

    :raises TypeError: as `simultaneous_open`, and so for the others.
    """

    def __init__(self, local: Address, peer: Address, timeout: float | None, *, allow_self_connect: bool) -> None:
        self.family = _family(local, peer)
        timeout = check_seconds("timeout", timeout)
        if local[:2] == peer[:2] and not allow_self_connect:
            raise met_itself(peer, 1)
        self.local = scoped(local)
        self.peer = scoped(peer)
        self.timeout = timeout
        self._allow_self_connect = allow_self_connect
        self._count = 0
        # What the last try ended with: number and text, for an error would keep its frames alive.
        self._code: int | None = None
        self._last = ""

    def tries(self, at: datetime | float | None, interval: float, clock: Callable[[], float]) -> Waits:
        """For every driver: yields what to wait for, and returns the connected, non-blocking socket.

        Closing the generator closes what is open.
        """
        pause = check_seconds("interval", interval)
        if pause is None:
            raise TypeError("interval must be a number of seconds, not None")
        began = clock()
        instant = began + _seconds_until(at)
        deadline = inf if self.timeout is None else began + self.timeout
        shield = raise_shield(self.family, self.local) if self.local[:2] != self.peer[:2] else None
        try:
            meeting = Meeting(instant, pause, port_window.chance, shielded=shield is not None)
            while (now := clock()) < deadline:
                if meeting.next_try > now:
                    yield None, min(min(meeting.next_try, deadline) - now, LONGEST_WAIT)
                    continue
                sock = yield from self._try(deadline, clock)
                if sock is not None:
                    return sock
                meeting.failed(clock(), answered=self._code in _ANSWERS)
                yield None, 0.0  # a turn for others
            raise self._late()
        finally:
            if shield is not None:
                shield.close()

    def _try(self, deadline: float, clock: Callable[[], float]) -> Generator[Wait, None, socket.socket | None]:
        """One try: the connected socket, or None where another is worth while or the time is up."""
        self._count += 1
        is_done = False
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            is_connected = _begin(sock, self.local, self.peer)
            while not is_connected and (left := deadline - clock()) > 0:
                yield sock, None if left == inf else min(left, LONGEST_WAIT)
                is_connected = _is_connected(sock, self.peer)
            if is_connected and not self._allow_self_connect and same_endpoint(*attempt.names(sock, self.peer)):
                raise met_itself(self.peer, 1)  # the local address is 0.0.0.0, say
            is_done = is_connected
        except SelfConnectError:
            raise
        except OSError as error:
            if error.errno not in _AGAIN:
                raise
            self._code, self._last = error.errno, str(error)
        finally:
            if not is_done:
                sockets.reset(sock)
        return sock if is_done else None

    def _late(self) -> TimeoutError:
        error = TimeoutError("timed out")
        ended = f"the last one that ended: {self._last}" if self._last else "the last is still unanswered"
        ends = f"{written(self.local)} and {written(self.peer)}"
        error.add_note(f"{ends} did not meet in {self._count} tries; {ended}")
        return error


def _begin(sock: socket.socket, local: Address, peer: Address) -> bool:
    """Begin to connect; says whether it is done."""
    sock.settimeout(0)
    bind_shared(sock, local)
    attempt.is_done(sock.connect_ex(peer))
    return _is_connected(sock, peer)


def _is_connected(sock: socket.socket, peer: Address) -> bool:
    """Whether the handshake is over.

    :raises OSError: it has failed.
    """
    attempt.raise_failure(sock)
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno in sockets.NO_PEER:
            return False
        raise
    if sys.platform == "linux":
        # There is a peer in SYN_RECV, too; another connect() says whether the handshake is over (EALREADY: it is not).
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
    """How long it is until the instant, 0 where it is past or none is given."""
    if at is None:
        return 0.0
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"at must be a datetime with a time zone, not {at!r}")
        at = at.timestamp()
    elif not isinstance(at, (int, float)) or isinstance(at, bool):
        raise TypeError(f"at must be an aware datetime or seconds since the epoch, not {type(at).__name__}")
    return max(at - time.time(), 0.0)


def _wait(sock: socket.socket | None, seconds: float | None) -> None:
    if sock is not None:
        with new_selector() as watched:
            watched.register(sock, selectors.EVENT_WRITE)
            watched.select(seconds)
    elif seconds:
        time.sleep(seconds)

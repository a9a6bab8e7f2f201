"""Shared by the drivers of `simultaneous_open`: one side's tries, and the SYN filter.

In a simultaneous open (RFC 9293, section 3.5) two sides connect to each other, and nobody listens. Here is one side's
part, without the waiting: a generator yields what to wait for, and each driver waits in its own way.
While it runs, a SYN filter (`open_syn_filter`) keeps the kernel from refusing the other side.
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
from .._connect.connect_error import self_connect_error, timed_out
from .._connect.settings import check_seconds
from .._connect.shared import LONGEST_WAIT
from .._fork import imports
from .._sockets import lifecycle, port_window
from .._sockets.endpoint import same_endpoint, written
from .._sockets.zones import scoped
from ..errors import SelfConnectError
from ..ports import MAX_PORT
from .policy import Schedule

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
_AGAIN = (*_ANSWERS, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)

# linux/filter.h: one instruction, BPF_RET | BPF_K with 0, "let pass no byte". asm-generic/socket.h for the option.
_RETURN = 0x06
_SO_ATTACH_FILTER = 26
# linux/in.h and linux/in6.h: IP_MINTTL, IPV6_MINHOPCOUNT.
_LOWEST_TTL = {socket.AF_INET: (socket.IPPROTO_IP, 21), socket.AF_INET6: (socket.IPPROTO_IPV6, 73)}
_HIGHEST_TTL = 255


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
        """Yield what to wait for; return the connected, non-blocking socket. Closing it closes what is open."""
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
        ended = f"the last one that ended: {self._last}" if self._last else "the last is still unanswered"
        ends = f"{written(self.local)} and {written(self.peer)}"
        tries = "1 try" if self._count == 1 else f"{self._count} tries"
        return timed_out(f"{ends} did not meet in {tries}; {ended}")


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


def open_syn_filter(family: int, address: Address) -> socket.socket | None:
    """Drop SYNs to an address of this host until the returned socket is closed, instead of answering with a reset.

    The kernel refuses a SYN for a port where nobody is connecting at that moment. So two sides that try in turns refuse
    each other, unless both are inside connect() in the same microseconds. A SYN that is dropped is not refused: the
    other side stays in connect(), and this side's own SYN finds it there.

    The filter is a listening socket on the same address, with a BPF program that passes nothing (SO_ATTACH_FILTER,
    socket(7)). A SYN goes to a connecting socket if there is one for it; otherwise it goes to the listener, whose
    filter drops it (tcp_v4_rcv). Sockets that connect from the address must be bound with `bind_shared`, too.

    Some kernels want CAP_NET_ADMIN for a filter (seen on 6.18). There the listener accepts only packets that no router
    has forwarded, which needs no privilege (IP_MINTTL 255, ip(7); RFC 5082): most hosts send with 64 or 128, so their
    SYNs are dropped as well.

    :returns: the socket; None if this kernel has no means to drop SYNs.
    :raises OSError: as `bind_shared`.
    """
    if sys.platform != "linux":
        return None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if not (_attach_filter(sock) or _ask_for_highest_ttl(sock)):
            sock.close()
            return None
        bind_shared(sock, address)
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_shared(sock: socket.socket, address: Address) -> None:
    """Bind to an address that has a SYN filter, or whose last connection has just ended.

    :raises OSError: EINVAL: the address is not this host's. (The kernel says EADDRNOTAVAIL, which connect() says of a
        connection that is not quite gone.) EADDRINUSE: the port is taken.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        raise OSError(errno.EINVAL, f"{written(address)} is not an address of this host") from error


def _attach_filter(sock: socket.socket) -> bool:
    with imports.lock:
        import ctypes  # struct sock_fprog holds a pointer

    instruction = ctypes.create_string_buffer(_RETURN.to_bytes(2, sys.byteorder) + bytes(6), 8)

    class Program(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(1, ctypes.addressof(instruction))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    except OSError:
        return False
    return True


def _ask_for_highest_ttl(sock: socket.socket) -> bool:
    try:
        sock.setsockopt(*_LOWEST_TTL[sock.family], _HIGHEST_TTL)
    except OSError:
        return False
    return True


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

"""Socket options as values: what they mean, in which units, where they exist.

Pure: a value knows the *names* of what it sets; `safeconnect._sockets.option_numbers` knows the platform's numbers.
Each value is immutable, hashable, and complains about a wrong argument when it is made, not when a connect fails. Where
the platform lacks an option, the connect fails with an `OSError` (ENOPROTOOPT) that says so.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass, field
from typing import ClassVar

from ._checks import check_bool, check_int, check_name, check_seconds
from ._lazy import publish
from ._lazy import typing as t

__all__ = [
    "BindToDevice",
    "CongestionControl",
    "FastOpenConnect",
    "KeepAlive",
    "Linger",
    "Mark",
    "NoDelay",
    "QuickAck",
    "SynCount",
    "TypeOfService",
    "UserTimeout",
]

# linux/include/net/tcp.h: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT and MAX_TCP_SYNCNT.
_MAX_SECONDS = 32767
_MAX_COUNT = 127
_MAX_TIMEOUT = (2**31 - 1) // 1000  # milliseconds in an int


class _Value:
    """An option that sets one thing to its only field."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    _sets: ClassVar[tuple[str, str]]  # the names of the level and of the option
    _check: ClassVar[t.Callable[..., None]] = staticmethod(check_int)
    _range: ClassVar[tuple[float, ...]] = ()

    def __post_init__(self) -> None:
        (name,) = self.__match_args__
        self._check(name, getattr(self, name), *self._range)

    def settings(self, family: str) -> tuple[t.Setting, ...]:  # noqa: ARG002 - the same for all
        """Return the options to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
        return ((*self._sets, self._encoded()),)

    def _encoded(self) -> int | bytes:
        return getattr(self, *self.__match_args__)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Switch(_Value):
    on: bool = True

    _check = staticmethod(check_bool)

    def _encoded(self) -> int:
        return int(self.on)


@dataclass(frozen=True, slots=True)
class _Name(_Value):
    name: str

    _check = staticmethod(check_name)

    def _encoded(self) -> bytes:
        return self.name.encode("utf-8", "surrogateescape")  # as os.fsencode() does where these options exist


class _KeepAlive:
    __slots__ = ()
    best_effort: ClassVar[frozenset[str]] = frozenset({"TCP_USER_TIMEOUT"})


@dataclass(frozen=True, slots=True)
class KeepAlive(_KeepAlive):
    """Probe a connection on which nothing arrives, and give it up when the peer does not answer.

    Without it a peer that vanished (power cut, cable, a firewall that forgot) is never noticed while nothing is sent.
    A vanished peer is noticed ``idle + interval * count`` seconds after its last sign of life. While sent data waits
    for an answer no probes are sent: that case is `UserTimeout`'s, or let `detecting` set both.

    Off unless set; where another program sets only the switch, Linux waits 7200 s, then probes 9 times every 75 s.

    :param idle: seconds of silence before the first probe, 1 to 32767.
    :param interval: seconds between probes, 1 to 32767.
    :param count: probes without an answer until the connection is given up, 1 to 127.
    :param user_timeout: `UserTimeout`'s seconds, set as well where the platform has it and left out where not. On Linux
        it also takes the place of ``count``.
    :raises TypeError: an argument is no int.
    :raises ValueError: an argument is out of range.

    Sets SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT (tcp(7), Linux 2.4). macOS has them, with TCP_KEEPALIVE
    for the idle time; Windows has them since Windows 10, version 1709.

    >>> KeepAlive(idle=30, interval=10, count=3).settings("AF_INET")[1]
    ('IPPROTO_TCP', 'TCP_KEEPIDLE', 30)
    """

    idle: int
    interval: int
    count: int
    user_timeout: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_int("idle", self.idle, 1, _MAX_SECONDS)
        check_int("interval", self.interval, 1, _MAX_SECONDS)
        check_int("count", self.count, 1, _MAX_COUNT)
        if self.user_timeout is not None:
            check_seconds("user_timeout", self.user_timeout, 0.001, _MAX_TIMEOUT)

    @classmethod
    def detecting(cls, within: float) -> KeepAlive:
        """Notice a peer that has gone silent within so many seconds, whether data is under way or not.

        About half the time is idle, the other half three probes (fewer below 5 s), and a ninth is kept back: Linux's
        timers may run late by an eighth of their time. Data under way is timed by TCP_USER_TIMEOUT, with the same
        number of seconds, below 14 s with up to 1.5 s less than ``within``. macOS and Windows have no such option;
        there it is silently left out, and data under way is given up when the system's own retransmissions are
        (minutes). TCP_USER_TIMEOUT bounds connect as well.

        :param within: seconds, 2 to 32767; fractions are dropped. With 2 s nothing can be kept back, so that it may
            become 2.5 s.
        :raises TypeError: ``within`` is no number.
        :raises ValueError: ``within`` is out of range.

        >>> KeepAlive.detecting(within=60)
        KeepAlive(idle=29, interval=8, count=3, user_timeout=53)
        """
        check_seconds("within", within, 2, _MAX_SECONDS)
        total = max(2, int(within) * 8 // 9)
        count = min(3, total - 1)
        interval = max(1, total // (2 * count))
        # A user timeout ends the probing at the first probe that finds it over (net/ipv4/tcp_timer.c,
        # tcp_keepalive_timer): with one longer than all probes take, the next would come too late. Data under way is
        # noticed up to 1.5 s after it, for it counts from the first retransmission, and a machine whose own cable was
        # pulled retransmits late (measured, Linux 6.18).
        user_timeout = min(total, max(int(within) - 1.5, 1))
        return cls(total - interval * count, interval, count, user_timeout=user_timeout)

    def settings(self, family: str) -> tuple[t.Setting, ...]:
        """Return the options to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
        return (
            ("SOL_SOCKET", "SO_KEEPALIVE", 1),
            ("IPPROTO_TCP", "TCP_KEEPIDLE", self.idle),
            ("IPPROTO_TCP", "TCP_KEEPINTVL", self.interval),
            ("IPPROTO_TCP", "TCP_KEEPCNT", self.count),
            *(() if self.user_timeout is None else UserTimeout(self.user_timeout).settings(family)),
        )


@dataclass(frozen=True, slots=True)
class UserTimeout(_Value):
    """Give the connection up when sent data, or the SYN of connect, has had no answer for so long.

    Off unless set: Linux then goes on for 15 minutes or longer (``net.ipv4.tcp_retries2``). It bounds connect as well,
    where ``timeout`` is the better word, and says nothing about a connection on which nothing is sent: see `KeepAlive`.

    :param seconds: 0.001 to 2147483; the kernel counts milliseconds, and fractions of one are rounded up.
    :raises TypeError: it is no number.
    :raises ValueError: it is out of range.

    Sets TCP_USER_TIMEOUT (tcp(7), RFC 5482, Linux 2.6.37). macOS and Windows lack it.

    >>> UserTimeout(7.5).settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_USER_TIMEOUT', 7500),)
    """

    seconds: float

    _sets = ("IPPROTO_TCP", "TCP_USER_TIMEOUT")
    _check = staticmethod(check_seconds)
    _range = (0.001, _MAX_TIMEOUT)

    def _encoded(self) -> int:
        return math.ceil(round(self.seconds * 1000, 6))  # 0.001 s is 1 ms, whatever binary fractions make of it


@dataclass(frozen=True, slots=True)
class NoDelay(_Switch):
    """Send small pieces at once, instead of waiting for the answer to the piece before (Nagle's algorithm).

    :param on: whether; the system's default is off. asyncio turns it on by itself.
    :raises TypeError: it is no bool.

    Sets TCP_NODELAY (tcp(7)); every platform has it.

    >>> NoDelay().settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_NODELAY', 1),)
    """

    _sets = ("IPPROTO_TCP", "TCP_NODELAY")


@dataclass(frozen=True, slots=True)
class QuickAck(_Switch):
    """Acknowledge what arrives at once, or, switched off, together with the next data if that comes soon.

    Not for good: the kernel goes on to choose by itself, and a program that wants more sets the option again after each
    ``recv``. Set before connect it governs the handshake: off, its last ACK travels with the first data sent.

    :param on: whether.
    :raises TypeError: it is no bool.

    Sets TCP_QUICKACK (tcp(7), Linux 2.4.4). macOS and Windows lack it.

    >>> QuickAck(on=False).settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_QUICKACK', 0),)
    """

    _sets = ("IPPROTO_TCP", "TCP_QUICKACK")


@dataclass(frozen=True, slots=True)
class FastOpenConnect(_Switch):
    """TCP Fast Open: let the first data travel with the SYN, where the server has handed out a cookie before.

    With a cookie connect succeeds *before anything is sent*: nobody may listen, and the first ``send`` tells. So a race
    between addresses is won by the first one, and of the two guards against a connect to itself only the first, the
    range of source ports, still works. The first data may arrive twice (RFC 7413, section 6.3.1).

    :param on: whether; the system's default is off.
    :raises TypeError: it is no bool.

    Sets TCP_FASTOPEN_CONNECT (linux/tcp.h, Linux 4.11). macOS and Windows lack it.

    >>> FastOpenConnect().settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_FASTOPEN_CONNECT', 1),)
    """

    _sets = ("IPPROTO_TCP", "TCP_FASTOPEN_CONNECT")


@dataclass(frozen=True, slots=True)
class Linger(_Value):
    """Decide what ``close`` does with data not yet sent: wait for it so long, and with 0 throw it away and reset.

    With None, as by default, ``close`` returns at once and the kernel sends the rest. A ``close`` that waits blocks its
    thread, an event loop too, even where the socket is non-blocking.

    :param seconds: 0 to 32767 (macOS can hold 327), or None for off.
    :raises TypeError: it is neither int nor None.
    :raises ValueError: it is out of range.

    Sets SO_LINGER (socket(7)); every platform has it. On macOS SO_LINGER_SEC, which counts seconds.

    >>> Linger(None) == Linger(0)
    False
    """

    seconds: int | None

    _sets = ("SOL_SOCKET", "SO_LINGER")
    _range = (0, _MAX_SECONDS)

    def __post_init__(self) -> None:
        if self.seconds is not None:
            _Value.__post_init__(self)

    def _encoded(self) -> bytes:
        layout = "hh" if sys.platform == "win32" else "ii"  # struct linger: two ints, on Windows two shorts
        return struct.pack(layout, self.seconds is not None, self.seconds or 0)


@dataclass(frozen=True, slots=True)
class SynCount(_Value):
    """The number of times that a SYN is sent again before connect gives an address up.

    Linux waits 1 s before the second SYN and twice as long before each further one: 1 gives up after 3 s, 2 after 7 s,
    the default of 6 (``net.ipv4.tcp_syn_retries``) after 127 s, since Linux 6.5 131 s. ``timeout`` says the same in
    seconds.

    :param n: 1 to 127.
    :raises TypeError: it is no int.
    :raises ValueError: it is out of range.

    Sets TCP_SYNCNT (tcp(7), Linux 2.4). macOS and Windows lack it.

    >>> SynCount(2).settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_SYNCNT', 2),)
    """

    n: int

    _sets = ("IPPROTO_TCP", "TCP_SYNCNT")
    _range = (1, _MAX_COUNT)


@dataclass(frozen=True, slots=True)
class CongestionControl(_Name):
    """Which algorithm decides how fast to send: ``"cubic"``, ``"bbr"``, ``"reno"``, ...

    The kernel refuses one it has not (ENOENT) and, without CAP_NET_ADMIN, one that is not in
    ``net.ipv4.tcp_allowed_congestion_control`` (EPERM). The default is ``net.ipv4.tcp_congestion_control``.

    :param name: 1 to 15 bytes.
    :raises TypeError: it is no str.
    :raises ValueError: it is too long, empty, or has a NUL in it.

    Sets TCP_CONGESTION (tcp(7), Linux 2.6.13; FreeBSD). macOS and Windows lack it.

    >>> CongestionControl("bbr").settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_CONGESTION', b'bbr'),)
    """

    _sets = ("IPPROTO_TCP", "TCP_CONGESTION")


@dataclass(frozen=True, slots=True)
class BindToDevice(_Name):
    """Send and receive through one network interface only, whatever the routes say.

    The kernel says ENODEV where there is none of that name, and before Linux 5.7 EPERM without CAP_NET_RAW.

    :param name: such as ``"eth0"``, 1 to 15 bytes.
    :raises TypeError: it is no str.
    :raises ValueError: it is too long, empty, or has a NUL in it.

    Sets SO_BINDTODEVICE (socket(7), Linux 2.0.30). macOS (whose IP_BOUND_IF takes a number) and Windows lack it.

    >>> BindToDevice("eth0").settings("AF_INET")
    (('SOL_SOCKET', 'SO_BINDTODEVICE', b'eth0'),)
    """

    _sets = ("SOL_SOCKET", "SO_BINDTODEVICE")


@dataclass(frozen=True, slots=True)
class Mark(_Value):
    """Mark the packets for the host's own routing rules and packet filter (``ip rule ... fwmark``, ``meta mark``).

    The kernel says EPERM without CAP_NET_ADMIN or, since Linux 5.17, CAP_NET_RAW.

    :param n: 0 to 4294967295 (32 bits).
    :raises TypeError: it is no int.
    :raises ValueError: it is out of range.

    Sets SO_MARK (socket(7), Linux 2.6.25). macOS and Windows lack it.

    >>> Mark(0x2A).settings("AF_INET")
    (('SOL_SOCKET', 'SO_MARK', 42),)
    """

    n: int

    _sets = ("SOL_SOCKET", "SO_MARK")
    _range = (0, 2**32 - 1)

    def _encoded(self) -> int:
        return self.n - (self.n >> 31 << 32)  # setsockopt() takes a signed int: the highest bit is its sign


@dataclass(frozen=True, slots=True)
class TypeOfService(_Value):
    """The byte in the IP header by which routers may prefer or defer packets: DSCP (RFC 2474) times 4.

    Expedited Forwarding, DSCP 46, is 184 (0xB8). The two lowest bits belong to congestion notification: for TCP, Linux
    does not let them be set and leaves them as they are. Windows takes the value and, unless its policies say
    otherwise, ignores it. For IPv4-mapped IPv6 addresses nothing is set that IPv4 packets would show.

    :param value: 0 to 255.
    :raises TypeError: it is no int.
    :raises ValueError: it is out of range.

    Sets IP_TOS (ip(7), Linux 1.0) for IPv4 and IPV6_TCLASS (RFC 3542, Linux 2.6.14) for IPv6; every platform has them.

    >>> TypeOfService(184).settings("AF_INET6")
    (('IPPROTO_IPV6', 'IPV6_TCLASS', 184),)
    """

    value: int

    _range = (0, 255)

    def settings(self, family: str) -> tuple[t.Setting, ...]:
        """Return the options to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
        if family == "AF_INET6":
            return (("IPPROTO_IPV6", "IPV6_TCLASS", self.value),)
        return (("IPPROTO_IP", "IP_TOS", self.value),)


publish("safeconnect", *(globals()[name] for name in __all__))

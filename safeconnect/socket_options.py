"""Socket options as values: what they mean, in which units, where they exist.

Pure: a value knows the *names* of what it sets; the hands in `_net.dressing` know the platform's numbers. Each value is
immutable, hashable, and complains about a wrong argument when it is made, not when a connect fails. Where the platform
lacks an option, the connect fails with an `OSError` (ENOPROTOOPT) that says so.

Anything else with a ``settings(family)`` method, as here, may be used as an option, too.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

from ._checks import MAX_COUNT, MAX_SECONDS, check_bool, check_int, check_name, encode
from .keepalive import KeepAlive, UserTimeout
from .routing_options import BindToDevice, Mark, TypeOfService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Setting

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


@dataclass(frozen=True, slots=True)
class NoDelay:
    """Send small pieces at once, instead of waiting for the answer to the piece before (Nagle's algorithm).

    :param on: whether; the system's default is off. asyncio turns it on by itself.
    :raises TypeError: it is no bool.

    Sets TCP_NODELAY (tcp(7)); every platform has it.

    >>> NoDelay().settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_NODELAY', 1),)
    """

    on: bool = True

    def __post_init__(self) -> None:
        check_bool("on", self.on)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The switch."""
        return (("IPPROTO_TCP", "TCP_NODELAY", int(self.on)),)


@dataclass(frozen=True, slots=True)
class QuickAck:
    """Acknowledge what arrives at once, or, switched off, together with the next data if that comes soon.

    Not for good: the kernel goes on to choose by itself, and a program that wants more sets the option again after each
    ``recv``. Set before connect it governs the handshake: off, its last ACK travels with the first data sent.

    :param on: whether.
    :raises TypeError: it is no bool.

    Sets TCP_QUICKACK (tcp(7), Linux 2.4.4). macOS and Windows lack it.

    >>> QuickAck(on=False).settings("AF_INET")
    (('IPPROTO_TCP', 'TCP_QUICKACK', 0),)
    """

    on: bool = True

    def __post_init__(self) -> None:
        check_bool("on", self.on)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The switch."""
        return (("IPPROTO_TCP", "TCP_QUICKACK", int(self.on)),)


@dataclass(frozen=True, slots=True)
class Linger:
    """What ``close`` does with data not yet sent: wait for it so long, and with 0 throw it away and reset.

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

    def __post_init__(self) -> None:
        if self.seconds is not None:
            check_int("seconds", self.seconds, 0, MAX_SECONDS)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The struct linger: two ints, on Windows two shorts."""
        layout = "hh" if sys.platform == "win32" else "ii"
        return (("SOL_SOCKET", "SO_LINGER", struct.pack(layout, self.seconds is not None, self.seconds or 0)),)


@dataclass(frozen=True, slots=True)
class SynCount:
    """How often the SYN is sent again before connect gives an address up.

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

    def __post_init__(self) -> None:
        check_int("n", self.n, 1, MAX_COUNT)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The count."""
        return (("IPPROTO_TCP", "TCP_SYNCNT", self.n),)


@dataclass(frozen=True, slots=True)
class FastOpenConnect:
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

    on: bool = True

    def __post_init__(self) -> None:
        check_bool("on", self.on)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The switch."""
        return (("IPPROTO_TCP", "TCP_FASTOPEN_CONNECT", int(self.on)),)


@dataclass(frozen=True, slots=True)
class CongestionControl:
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

    name: str

    def __post_init__(self) -> None:
        check_name("name", self.name)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The name."""
        return (("IPPROTO_TCP", "TCP_CONGESTION", encode(self.name)),)

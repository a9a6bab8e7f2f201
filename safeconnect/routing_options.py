"""Socket options as values that decide the way of the packets: device, mark, type of service.

Pure, as `safeconnect.socket_options`, which has the other options as values.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._checks import check_int, check_name, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Setting


@dataclass(frozen=True, slots=True)
class BindToDevice:
    """Send and receive through one network interface only, whatever the routes say.

    The kernel says ENODEV where there is none of that name, and before Linux 5.7 EPERM without CAP_NET_RAW.

    :param name: such as ``"eth0"``, 1 to 15 bytes.
    :raises TypeError: it is no str.
    :raises ValueError: it is too long, empty, or has a NUL in it.

    Sets SO_BINDTODEVICE (socket(7), Linux 2.0.30). macOS (whose IP_BOUND_IF takes a number) and Windows lack it.

    >>> BindToDevice("eth0").settings("AF_INET")
    (('SOL_SOCKET', 'SO_BINDTODEVICE', b'eth0'),)
    """

    name: str

    def __post_init__(self) -> None:
        check_name("name", self.name)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The name of the interface."""
        return (("SOL_SOCKET", "SO_BINDTODEVICE", encode(self.name)),)


@dataclass(frozen=True, slots=True)
class Mark:
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

    def __post_init__(self) -> None:
        check_int("n", self.n, 0, 2**32 - 1)

    def settings(self, family: str) -> tuple[Setting, ...]:  # noqa: ARG002 - the same for all
        """The mark; setsockopt() takes a signed int, so that the highest bit is its sign."""
        return (("SOL_SOCKET", "SO_MARK", self.n - (self.n >> 31 << 32)),)


@dataclass(frozen=True, slots=True)
class TypeOfService:
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

    def __post_init__(self) -> None:
        check_int("value", self.value, 0, 255)

    def settings(self, family: str) -> tuple[Setting, ...]:
        """The byte, under the name that it has in the family."""
        if family == "AF_INET6":
            return (("IPPROTO_IPV6", "IPV6_TCLASS", self.value),)
        return (("IPPROTO_IP", "IP_TOS", self.value),)

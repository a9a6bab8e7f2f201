"""Which addresses a connect may go to: what ``family`` and ``allow`` take, and `is_global_address`.

Loaded by the first connect that has one of them. The sockets' side is `safeconnect._connect.admission`.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from .._text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Allow, IPAddress, IPNetwork, Permits


# The IANA IPv4 Special-Purpose Address Registry (RFC 6890) without what it calls globally reachable, but for two
# anycast addresses in 192.0.0.0/24; and multicast, to which nothing connects (RFC 5771).
_NOT_GLOBAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 is this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared, behind a provider's NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local; the metadata of clouds is at 169.254.169.254
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# All global unicast addresses so far (RFC 4291 and the IANA IPv6 Address Space registry); all else is refused unseen.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_GLOBAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which has an IPv4 address within
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which has an IPv4 address within
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # the last 32 bits are the IPv4 address that is reached (RFC 6052)


def is_global_address(address: IPAddress) -> bool:
    """Whether an address belongs to the public Internet: to nobody's private network, link or host.

    Made for ``allow`` of a `Connector`, against requests that are forged to reach what only this host can reach (SSRF).

    :param address: an `ipaddress.IPv4Address` or `ipaddress.IPv6Address`.
    :returns: False for what the special-purpose registries of the IANA do not call globally reachable, as of 2025:
        private, shared, loopback, link-local, documentation, reserved; for multicast, and for IPv6 outside of 2000::/3.
        An IPv4-mapped address and one of NAT64 (64:ff9b::/96) are judged by their IPv4 address; 6to4 and Teredo are
        never global. A prefix for NAT64 of a network's own cannot be known.
    :raises TypeError: it is something else, such as a str.

    `ipaddress.IPv4Address.is_global` goes by the same registries, but depends on the version of Python: before 3.11.10
    and 3.12.4 it holds 6to4 (2002::/16) for global, and to this day multicast and NAT64 to a private address.

    >>> from ipaddress import ip_address
    >>> [is_global_address(ip_address(each)) for each in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::")]
    [True, False, False, False]
    """
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = IPv4Address(address.packed[-4:])
        if inner is None:
            return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_GLOBAL_6)
        address = inner
    if not isinstance(address, IPv4Address):
        raise TypeError(f"address must be an IPv4Address or IPv6Address, not {type(address).__name__}")
    return not any(address in network for network in _NOT_GLOBAL_4)


def checked_family(family: object) -> int:
    """The family, which is none, IPv4 or IPv6.

    :raises TypeError: it is no int.
    :raises ValueError: it is another family.
    """
    if not isinstance(family, int) or isinstance(family, bool):
        raise TypeError(f"family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not {type(family).__name__}")
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not {shown(family)}")
    return family


def checked_allow(allow: Allow) -> Permits | tuple[IPNetwork, ...]:
    """The predicate, or the networks, as a value.

    :raises TypeError: it is neither.
    :raises ValueError: a text in it is no network; or it is empty.
    """
    if callable(allow):
        return allow
    single = isinstance(allow, (str, bytes, IPv4Network, IPv6Network))
    if single or not hasattr(allow, "__iter__"):
        hint = f"; put it in a list: [{shown(str(allow))}]" if single and not isinstance(allow, bytes) else ""
        raise TypeError(f"allow must be callable or several networks, not {type(allow).__name__}{hint}")
    networks = tuple(map(_network, allow))
    if not networks:
        raise ValueError("allow must have a network in it: an empty one would permit no address at all")
    return networks


def _network(value: Any) -> IPNetwork:
    if not isinstance(value, (str, IPv4Network, IPv6Network)):
        raise TypeError(f"allow must be networks such as '10.0.0.0/8', not {type(value).__name__}: {shown(value)}")
    try:
        network = ip_network(value)
    except ValueError as error:
        raise ValueError(f"allow must be networks such as '10.0.0.0/8', not {shown(value)}: {error}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"allow must have IPv4 networks as such, for IPv4-mapped addresses too, not {shown(value)}")
    return network


def reached_at(host: object) -> list[IPAddress]:
    """The addresses that a connect may reach at the host of a socket address.

    :param host: the text of an address, with or without a zone.
    :raises ValueError: it is something else, such as a name.
    """
    if not isinstance(host, str):
        raise ValueError(f"not a text: {shown(host)}")  # noqa: TRY004 - no fault of the program's: a resolver's answer
    address: IPAddress = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_unspecified:
        return [address]
    return [address, ip_address("127.0.0.1" if address.version == 4 else "::1")]  # connect() takes it for this host


def is_permitted(permits: Permits | tuple[IPNetwork, ...], address: IPAddress) -> bool:
    """Whether a checked ``allow`` permits the address.

    :raises TypeError: the predicate says neither True nor False.
    """
    if not callable(permits):
        return any(address in network for network in permits)
    answer: object = permits(address)
    if not isinstance(answer, bool):  # a coroutine, say, which is true
        raise TypeError(f"allow must return a bool, not {type(answer).__name__}")
    return answer

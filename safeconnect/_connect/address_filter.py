"""Limit the addresses a connect may go to: the settings ``family`` and ``allow``, and `is_global_address`.

Loaded by the first connect that has one of them. `check` is asked about the very socket address that is connected to,
before its socket is opened.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from .._lazy import typing as t
from .._sockets.endpoint import written
from .._text import shown
from ..errors import AddressNotAllowedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Allow, Candidate, IPAddress, IPNetwork, Permits
    from .settings import Settings

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
_WRONG_FAMILY = getattr(socket, "EAI_ADDRFAMILY", socket.EAI_FAMILY)
_NAT64 = IPv6Network("64:ff9b::/96")  # the last 32 bits are the IPv4 address that is reached (RFC 6052)


def is_global_address(address: t.IPAddress) -> bool:
    """Return True if an address belongs to the public Internet, and not to a private network, link or host.

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
    """Return the family if it is unspecified, IPv4 or IPv6.

    :raises TypeError: it is no int.
    :raises ValueError: it is another family.
    """
    if not isinstance(family, int) or isinstance(family, bool):
        raise TypeError(f"family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not {type(family).__name__}")
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not {shown(family)}")
    return family


def checked_allow(allow: Allow) -> Permits | tuple[IPNetwork, ...]:
    """Return the predicate, or the networks as a tuple.

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
    """Return the addresses that a connect to the host of a socket address may reach.

    :param host: the text of an address, with or without a zone.
    :raises ValueError: it is something else, such as a name.
    """
    if not isinstance(host, str):
        raise ValueError(f"not a text: {shown(host)}")  # noqa: TRY004 - not the program's fault: a resolver's answer
    address: IPAddress = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_unspecified:
        return [address]
    return [address, ip_address("127.0.0.1" if address.version == 4 else "::1")]  # connect() takes it for this host


def is_permitted(permits: Permits | tuple[IPNetwork, ...], address: IPAddress) -> bool:
    """Return True if a checked ``allow`` permits the address.

    :raises TypeError: the predicate says neither True nor False.
    """
    if not callable(permits):
        return any(address in network for network in permits)
    answer: object = permits(address)
    if not isinstance(answer, bool):  # a coroutine, say, which is true
        raise TypeError(f"allow must return a bool, not {type(answer).__name__}")
    return answer


def check(settings: Settings, candidate: Candidate) -> None:
    """Refuse an address that ``family`` or ``allow`` does not permit.

    :raises socket.gaierror: it is of another family, as getaddrinfo() says it of a literal.
    :raises AddressNotAllowedError: ``allow`` does not permit it.
    :raises TypeError: ``allow`` says neither True nor False.
    """
    family, _, _, _, sockaddr = candidate
    if settings.family and family != settings.family:
        name = socket.AddressFamily(settings.family).name
        raise socket.gaierror(_WRONG_FAMILY, f"{written(sockaddr)} is no address of the family {name}")
    if settings.allow is not None:
        _check_allowed(settings.allow, family, sockaddr)


def _check_allowed(allow: Any, family: int, sockaddr: Any) -> None:
    host = sockaddr[0] if family in (socket.AF_INET, socket.AF_INET6) else sockaddr
    text = host.decode("latin-1") if isinstance(host, (bytes, bytearray)) else host
    try:
        reached = reached_at(text)
    except ValueError:
        # connect() would look a name up, and what it finds could not be checked.
        told = f"allow permits addresses, and {shown(host)} is none"
        raise AddressNotAllowedError(errno.EACCES, told) from None
    for address in reached:
        if not is_permitted(allow, address):
            which = "" if str(address) == text else f", which a connect to {text} may reach"
            raise AddressNotAllowedError(errno.EACCES, f"allow does not permit {address}{which}")

"""Where a connect comes from, where that is more than one address: a list, an interface, ports, a shared port, a pool.

Pure; the system calls are in `safeconnect._connect.source_search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from .._checks import check_name
from ..ports import PortSet, port_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .._local.source_pool import SourcePool
    from ..typing import Address


@dataclass(frozen=True, slots=True)
class Source:
    """The local end as the user wants it.

    :ivar addresses: to choose from, one for each family; none: the kernel chooses.
    :ivar device: the name of an interface to leave by.
    :ivar ports: the source ports allowed; None: those of the addresses, or the kernel's own.
    :ivar share: let other sockets have the same local address, toward other destinations.
    :ivar pool: addresses to take turns, in the place of the others.
    """

    addresses: tuple[Address, ...] = ()
    device: str | None = None
    ports: PortSet | None = None
    share: bool = False
    pool: SourcePool | None = None

    def address(self, *, ipv6: bool) -> Address | None:
        """The first address of the family; None where the kernel is to choose.

        :raises LookupError: there are addresses, but none of that family.
        """
        own = [address for address in self.addresses if (":" in address[0]) == ipv6]
        if self.addresses and not own:
            raise LookupError(f"no source address is an {'IPv6' if ipv6 else 'IPv4'} address: {self}")
        return own[0] if own else None

    @property
    def port_is_given(self) -> bool:
        """True if there is one port to connect from, and no other."""
        if self.ports is not None:
            return len(self.ports) == 1
        return any(address[1] for address in self.addresses)

    @property
    def has_ports(self) -> bool:
        """True if the user has said which ports to connect from."""
        return self.ports is not None or self.port_is_given or (self.pool is not None and self.pool.has_ports)

    def __str__(self) -> str:
        if self.pool is not None:
            return str(self.pool)
        parts = [f"{address[0]} port {address[1]}" if address[1] else address[0] for address in self.addresses]
        parts += [self.device] if self.device else []
        parts += [f"port{'s' * (len(self.ports) > 1)} {self.ports}"] if self.ports is not None else []
        return ", ".join(parts) or "any address"


def source_of(source_address: object, source_ports: object, share_source: object) -> Source:
    """Return the source that the arguments of a connect describe.

    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an address that is no literal; ports beside a port; no address, or a set without ports.
    """
    if not isinstance(share_source, bool):
        raise TypeError(f"share_source must be a bool, not {type(share_source).__name__}")
    ports = None if source_ports is None else port_set("source_ports", source_ports)
    if hasattr(source_address, "turns"):
        if ports is not None:
            raise ValueError("give source_ports to the SourcePool, not beside it")
        pool: Any = source_address
        return Source(share=share_source, pool=pool)
    device: str | None = None
    addresses: tuple[Address, ...] = ()
    if isinstance(source_address, str) and not _is_literal(source_address):
        check_name("source_address", source_address)
        device = source_address
    elif source_address is not None:
        each: Any = [source_address] if isinstance(source_address, (str, tuple)) else source_address
        addresses = tuple(_addresses(each))
        if not addresses:
            raise ValueError(f"source_address must hold at least one address, not {source_address!r}")
    if ports is not None and any(address[1] for address in addresses):
        raise ValueError("give either source_ports or a port in source_address")
    return Source(addresses, device, ports, share_source)


def _addresses(items: Iterable[Any]) -> Iterator[Address]:
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise TypeError(
            "source_address must be (host, port), several of them, the name of an interface or a SourcePool, "
            f"not {items!r}"
        )
    for item in items:
        address = (item, 0) if isinstance(item, str) else item
        if not isinstance(address, tuple) or len(address) not in (2, 4) or not isinstance(address[0], str):
            raise TypeError(f"source_address must hold addresses or (host, port), not {item!r}")
        if not _is_literal(address[0]):
            raise ValueError(f"source_address must hold literal addresses, not {address[0]!r}")
        port_set("source_address", address[1] or 1)  # checks the number
        yield address


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

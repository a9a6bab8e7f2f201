"""A pool of source addresses, for more than the 28,000 connections of one address to one destination."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from .._checks import shown
from .._fork import imports
from .._lazy import publish
from .._lazy import typing as t
from .._sockets import kernel, port_window
from ..ports import PortSet, port_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address
    from typing import Any


# For how many connects an address without a free port is passed over; by then a connection may have ended.
_REST = 64


class SourcePool:
    """Source addresses to choose from, given as ``source_address``; each adds its own source ports.

    One address can have as many connections to one destination as there are source ports: 28,231 with Linux's usual
    range. Every connect chooses an address at random, and on it a source port as ever. An address without a free port
    is passed over for the next 64 connects. There is no lock and no table of ports: processes and threads can use pools
    of the same addresses side by side.

    :param addresses: literal addresses of this host, IPv4 and IPv6.
    :param ports: the source ports to use: the same for all, as for ``source_ports``; or a mapping from address to
        ports. None: the kernel's own.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: no address, one that is no literal, one twice, ports for an address that is not there.

    >>> from safeconnect import create_connection
    >>> import socket
    >>> pool = SourcePool(["127.0.0.2", "127.0.0.3"])
    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with create_connection(server.getsockname(), timeout=5, source_address=pool) as sock:
    ...         sock.getsockname()[0] in pool.addresses
    True
    """

    __slots__ = ("_calls", "_own", "_ports", "_rested", "addresses")

    def __init__(self, addresses: Iterable[str], ports: t.Ports | Mapping[str, t.Ports] | None = None) -> None:
        self.addresses: tuple[str, ...] = _checked(addresses)
        given: Any = ports
        if not hasattr(given, "items"):
            given = {} if ports is None else dict.fromkeys(self.addresses, ports)
        strange = [address for address in given if address not in self.addresses]
        if strange:
            raise ValueError(f"ports names addresses that are not in the pool: {', '.join(map(str, strange))}")
        self._ports = {address: port_set("ports", value) for address, value in given.items()}
        self._own = {
            ipv6: tuple(address for address in self.addresses if (":" in address) == ipv6) for ipv6 in (False, True)
        }
        self._calls = 0
        self._rested: dict[str, int] = {}  # the call at which an exhausted address may be tried again

    @property
    def has_ports(self) -> bool:
        """True if the pool has source ports of its own, not the kernel's."""
        return bool(self._ports)

    def turns(self, *, ipv6: bool) -> Iterator[tuple[str, PortSet | None]]:
        """Yield the addresses of a family and their ports, in the order in which one connect should try them."""
        self._calls += 1  # threads may count one for two: then an address rests for one connect more
        now = self._calls
        resting = [address for address in self._own[ipv6] if self._rested.get(address, 0) >= now]
        ready = [address for address in self._own[ipv6] if address not in resting] if resting else self._own[ipv6]
        for group in (ready, resting):
            first = port_window.draw(len(group)) if group else 0
            for address in (*group[first:], *group[:first]):
                yield address, self._ports.get(address)

    def exhausted(self, host: str) -> None:
        """Pass the address over for a while."""
        self._rested[host] = self._calls + _REST

    def room(self, address: t.Address) -> dict[str, int]:
        """Count the connections that each address of the pool can still have to one destination.

        :param address: ``(host, port)`` of the destination, the host a literal.
        :returns: the number of free source ports by address, those of the destination's family only. Connections in
            TIME_WAIT count as used.
        :raises OSError: the kernel's tables cannot be read; elsewhere than on Linux this needs psutil.
        :raises ValueError: the host is no literal.

        >>> SourcePool(["127.0.0.2"], "40000-40009").room(("127.0.0.1", 7))
        {'127.0.0.2': 10}
        """
        with imports.lock:
            from .._host import tcp_table  # few ask

        is_ipv6 = ip_address(address[0]).version == 6
        host, port = _plain(address[0]), address[1]
        own = {_plain(address): address for address in self._own[is_ipv6]}
        used = dict.fromkeys(own.values(), 0)
        for each in tcp_table.sockets():
            if each.peer and each.peer[1] == port and _plain(each.peer[0]) == host:
                local = own.get(_plain(each.local[0]))
                if local is not None and each.local[1] in self._allowed(local):
                    used[local] += 1
        return {address: len(self._allowed(address) - PortSet([0, port])) - count for address, count in used.items()}

    def _allowed(self, address: str) -> PortSet:
        return self._ports.get(address) or kernel.source_ports()

    def __len__(self) -> int:
        return len(self.addresses)

    def __repr__(self) -> str:
        return f"SourcePool({list(self.addresses)!r}{f', {self._ports!r}' if self._ports else ''})"

    def __str__(self) -> str:
        shown = ", ".join(self.addresses[:3])
        return f"a pool of {len(self)} address{'es' * (len(self) > 1)} ({shown}{', ...' if len(self) > 3 else ''})"


def _checked(addresses: Iterable[str]) -> tuple[str, ...]:
    if isinstance(addresses, (str, bytes)) or not hasattr(addresses, "__iter__"):
        raise TypeError(f"addresses must be several addresses, not {addresses!r}")
    found = tuple(addresses)
    for address in found:
        if not isinstance(address, str):
            raise TypeError(f"addresses must hold literal addresses, not {address!r}")
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f"addresses must hold literal addresses, not {address!r}") from None
    if not found or len(set(map(ip_address, found))) < len(found):
        raise ValueError(f"addresses must hold at least one address, and none twice, not {shown(found)}")
    return found


def _plain(text: str) -> IPv4Address | IPv6Address:
    """Return the address, as IPv4 if it is an IPv4-mapped one, as the table of sockets has it."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


publish("safeconnect", SourcePool)

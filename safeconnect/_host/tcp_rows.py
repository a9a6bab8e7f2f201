"""The rows of the kernel's table of TCP sockets as values, and what follows from them: counts, holders, listeners."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from .._lazy import typing as t
from .._sockets.endpoint import written
from .._text import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ..ports import PortRange, PortSet
    from ..typing import End


_MOST_NAMES = 3
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - to be recognised, not to be bound to


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One TCP socket of this network namespace; a value that the platform does not tell is None.

    :ivar local: its own address and port. IPv4-mapped IPv6 addresses are written as IPv4; scope ids are not told.
    :ivar peer: the other end; None if it listens, or is only bound.
    :ivar state: the name in RFC 9293, section 3.3.2, with underscores: ``"LISTEN"``, ``"ESTABLISHED"``, ...
    :ivar ipv6: whether it is an IPv6 socket. One that listens on ``::`` may take IPv4 connections as well.
    :ivar receive_queue: bytes that nobody has read yet; where it listens: connections that nobody has accepted yet.
    :ivar send_queue: bytes that the peer has not confirmed yet.
    :ivar uid: of the user that made it; 0 also where no process has it any more.
    :ivar inode: its number in ``/proc/PID/fd``; 0 where no process has it any more, or none has it yet (TIME_WAIT, and
        what waits to be accepted). Linux only.
    :ivar pid: a process that has it. Not on Linux, where several may: ask `safeconnect._host.tcp_table.owners`.
    """

    local: t.End
    peer: t.End | None
    state: str
    ipv6: bool
    receive_queue: int | None = None
    send_queue: int | None = None
    uid: int | None = None
    inode: int | None = None
    pid: int | None = None

    @property
    def listens(self) -> bool:
        """True if it accepts connections."""
        return self.state == "LISTEN"

    @property
    def is_self_connected(self) -> bool:
        """True if it is connected to itself, or was: then a server cannot have its port."""
        return self.peer == self.local


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a socket.

    :ivar name: as the process has it, unescaped; None if it may not be seen.
    """

    pid: int
    name: str | None

    def __str__(self) -> str:
        return f"{harmless(self.name)} (process {self.pid})" if self.name else f"process {self.pid}"


@dataclass(frozen=True, slots=True)
class SourceUse:
    """The number of source ports that are taken toward one destination; made by ``source_use``.

    :ivar local: the host's own address, of which there may be several.
    :ivar peer: the destination.
    :ivar taken: source ports of connections there, in whatever state.
    :ivar in_time_wait: how many of them belong to connections that are over, and keep their port for 60 s.
    :ivar available: how many ports ``connect()`` may be given at all: less those that servers listen on.
    """

    local: str
    peer: t.End
    taken: int
    in_time_wait: int
    available: int

    @property
    def share(self) -> float:
        """The part that is taken, from 0 to 1; 1 also if there is no port at all."""
        return self.taken / self.available if self.available else 1.0


@dataclass(frozen=True, slots=True)
class Holding:
    """Sockets that have one port as their own, alike but for their peers; made by ``holdings``.

    :ivar local: their own address and port.
    :ivar state: its name in RFC 9293, with underscores: ``"LISTEN"``, ``"ESTABLISHED"``, ...
    :ivar peer: the other end of one of them; None where they listen.
    :ivar owners: the processes that have them, as far as they may be seen.
    :ivar sockets: how many there are.
    """

    local: t.End
    state: str
    peer: t.End | None = None
    owners: tuple[Owner, ...] = ()
    sockets: int = 1

    @property
    def is_self_connected(self) -> bool:
        """True if they are connected to themselves, or were: no server can have the port before they are gone."""
        return self.peer == self.local

    @property
    def is_over(self) -> bool:
        """True if the connection is over, and the kernel keeps its port for 60 s at most."""
        return self.state == "TIME_WAIT"

    @property
    def whose(self) -> str:
        """The holders, and the peer."""
        to = ""
        if self.sockets > 1:
            to = f" ({self.sockets} times)"
        elif self.peer is not None:
            to = f", connected to {'itself' if self.is_self_connected else written(self.peer)}"
        if self.is_over:
            return f"in TIME_WAIT for up to 60 s{to.replace('connected', 'once connected')}"
        return f"held by {named(self.owners)}, {self.state}{to}"

    def __str__(self) -> str:
        return f"{written(self.local)} is {self.whose}"


def source_use(sockets: Iterable[TcpSocket], ports: PortSet) -> list[SourceUse]:
    """Count the source ports that are taken toward each destination, the busiest first.

    A port is taken for one pair of own address and destination at a time (the rest of the four numbers that make a TCP
    connection), so each pair is counted by itself.

    :param ports: what ``connect()`` chooses from, as `safeconnect._sockets.kernel.source_ports` says.
    """
    held: set[int] = set()
    taken: dict[tuple[str, t.End], tuple[set[int], set[int]]] = {}
    for each in sockets:
        host, port = each.local
        if port not in ports:
            continue
        if each.peer is None:
            held.add(port)  # connect() passes over what is bound
            continue
        used, waiting = taken.setdefault((host, each.peer), (set(), set()))
        used.add(port)
        if each.state == "TIME_WAIT":
            waiting.add(port)
    available = len(ports) - len(held)
    found = [
        SourceUse(host, peer, len(used - held), len(waiting - held), available)
        for (host, peer), (used, waiting) in taken.items()
        if used - held  # what is left are a server's own connections, all of one port
    ]
    return sorted(found, key=lambda use: (-use.taken, use.local, use.peer))


def listening_on(sockets: Iterable[TcpSocket], port: int) -> list[TcpSocket]:
    """Return the servers at a port, whatever their address."""
    return [each for each in sockets if each.listens and each.local[1] == port]


def takes(listening: str, hosts: Collection[str]) -> bool:
    """Return True if connects to one of these addresses of this host may reach a server that listens on that address.

    ``::`` counts for IPv4, too: whether it takes IPv4 connections is a switch (IPV6_V6ONLY) that the table lacks.
    """
    if listening in ANY_HOST:
        return any(listening == "::" or "." in host for host in hosts)
    return listening in hosts


def in_the_way(sockets: Iterable[TcpSocket], hosts: Collection[str], port: int) -> list[TcpSocket]:
    """Return what may keep a server from this port, if connects to these addresses of this host find no server.

    These are connected to themselves, or in TIME_WAIT, or they are connections from a port that nobody listens on. All
    addresses of this host count: a server may want to listen on every one.

    :param hosts: addresses of this host.
    """
    at_port = [each for each in sockets if each.local[1] == port]
    servers = listening_on(at_port, port)
    if any(takes(server.local[0], hosts) for server in servers):
        return []
    return [each for each in at_port if not each.listens and (each.is_self_connected or not servers)]


def holdings(held: Mapping[TcpSocket, Sequence[Owner]]) -> list[Holding]:
    """Group the sockets that differ only by their peer: servers first, then the largest groups."""
    alike: dict[tuple[object, ...], list[TcpSocket]] = {}
    for each, owners in held.items():
        alike.setdefault((each.local, each.state, each.is_self_connected, tuple(owners)), []).append(each)
    found = [
        Holding(group[0].local, group[0].state, group[0].peer, tuple(held[group[0]]), len(group))
        for group in alike.values()
    ]
    return sorted(found, key=lambda each: (each.state != "LISTEN", not each.is_self_connected, -each.sockets))


def named(owners: Sequence[Owner]) -> str:
    """Return the names of processes, of many the first few: a server's workers share its socket."""
    if not owners:
        return "a process that is gone or may not be seen"
    more = len(owners) - _MOST_NAMES
    return ", ".join(map(str, owners[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Listener:
    """An address and port at which this host listens, be it with one socket or, with SO_REUSEPORT, with several.

    :ivar host: the local address; ``"0.0.0.0"`` or ``"::"`` where it is any.
    :ivar port: the local port.
    :ivar owners: the processes that have the sockets, as far as they may be seen, in the order of their ids.
    :ivar sockets: how many sockets listen here.
    :ivar queue: connections that nobody has accepted yet; None where the platform does not tell.
    :ivar backlog: how many may wait so, over all sockets; None where the platform does not tell.
    :ivar ephemeral: whether the port lies in the range from which the kernel takes source ports.
    :ivar reserved: whether the kernel leaves the port out when it chooses one by itself.
    :ivar exposure: the reason of `safeconnect.Exposure`, which says whether a connect can be a self-connect here
        while nobody listens.
    """

    host: str
    port: int
    owners: tuple[Owner, ...]
    sockets: int
    queue: int | None
    backlog: int | None
    ephemeral: bool
    reserved: bool
    exposure: str


def listeners(
    sockets: Iterable[TcpSocket],
    *,
    owners: Mapping[TcpSocket, Sequence[Owner]],
    backlogs: Mapping[int, int],
    ephemeral: PortRange,
    reserved: PortSet,
    exposure: Callable[[str, int], str],
) -> list[Listener]:
    """Return the places where these sockets listen, by port and address.

    :param sockets: of all kinds; those that do not listen are passed over.
    :param owners: the processes of those that listen; a socket that is not in it has none.
    :param backlogs: by inode, as far as they are known.
    :param ephemeral: from where the kernel takes source ports.
    :param reserved: what it leaves out of them.
    :param exposure: what to say of an address and port; asked once for each.
    """
    places: dict[End, list[TcpSocket]] = {}
    for each in sockets:
        if each.listens:
            places.setdefault(each.local, []).append(each)
    return [
        Listener(
            host=host,
            port=port,
            owners=_all_owners(owners.get(each, ()) for each in places[host, port]),
            sockets=len(places[host, port]),
            queue=_sum(each.receive_queue for each in places[host, port]),
            backlog=_sum(backlogs.get(each.inode or 0) for each in places[host, port]),
            ephemeral=port in ephemeral,
            reserved=port in reserved,
            exposure=exposure(host, port),
        )
        for host, port in sorted(places, key=_order)
    ]


def _order(place: End) -> tuple[int, int, int]:
    address = ip_address(place[0])
    return place[1], address.version, int(address)


def _all_owners(found: Iterable[Sequence[Owner]]) -> tuple[Owner, ...]:
    by_pid = {owner.pid: owner for owners in found for owner in owners}
    return tuple(by_pid[pid] for pid in sorted(by_pid))


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None

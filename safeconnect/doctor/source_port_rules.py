"""Rules about source ports: whether there are enough, and whether servers use the same ports."""

from __future__ import annotations

from .._sockets.endpoint import written
from ..ports import PortRange, PortSet
from .findings import Case, listed, rule, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._host.tcp_rows import SourceUse
    from .facts import Snapshot

# Too few for one busy client; and so few that 70 connects a second use them up in a minute.
_TINY, _SMALL = 64, 4096
# Measured: up to one half plain connects are as fast as ever, beyond it 20 to 30 times as slow (docs/speed.md).
_HALF, _FULL = 0.5, 0.99
# The usual ports of well-known servers (IANA's registry of ports, and habit).
_SERVERS = (1433, 1521, 2181, 3000, 3306, 5000, 5432, 5672, 6379, 8000, 8080, 8443, 9000, 9092, 9200, 11211, 27017)


@rule("source-ports-exhausted", "No source port is left toward a destination", "error")
def exhausted(snapshot: Snapshot) -> Iterator[Case]:
    """Every connection to one destination takes a source port of its own, and at least 99 % of them are taken:
    connects there fail with EADDRNOTAVAIL. Keep connections instead of making new ones, add source addresses, widen
    the range; ports in TIME_WAIT come back after a minute.
    """
    for use, taken in _destinations(snapshot):
        if taken >= _FULL:
            yield Case(_told(use, taken), _more_ports(snapshot, use))


@rule("source-ports-filling", "More than half of the source ports toward a destination are taken", "warning")
def filling(snapshot: Snapshot) -> Iterator[Case]:
    """From here on connect() by other clients takes 20 to 30 times as long, for the kernel goes through all ports of
    one parity before it looks at the others. safeconnect's connects do not. Keep connections, or as for exhausted
    ports.
    """
    for use, taken in _destinations(snapshot):
        if _HALF < taken < _FULL:
            advice = ("connect by safeconnect, which stays as fast as ever up to 98 %", *_more_ports(snapshot, use))
            yield Case(_told(use, taken), advice)


@rule("range-tiny", "There are next to no source ports", "error")
def tiny(snapshot: Snapshot) -> Iterator[Case]:
    """So few ports are left to choose source ports from, after the reserved ones, that connects fail as soon as a few
    connections go to one destination. Widen the range, or reserve less.
    """
    usable = snapshot.source_ports.usable
    if usable is not None and usable < _TINY:
        yield Case(_range_told(snapshot), _wider(snapshot))


@rule("range-small", "There are few source ports", "warning")
def small(snapshot: Snapshot) -> Iterator[Case]:
    """A connection that is over keeps its source port for 60 s (TIME_WAIT) on the side that closed first, so the
    number of ports, divided by 60, is how many new connections a second one destination can have. Widen the range.
    """
    usable = snapshot.source_ports.usable
    if usable is not None and _TINY <= usable < _SMALL:
        rate = f"; enough for {usable // 60} new connections a second to one destination"
        yield Case(_range_told(snapshot) + rate, _wider(snapshot))


@rule("range-covers-servers", "The range of source ports covers ports of well-known servers", "warning")
def covers_servers(snapshot: Snapshot) -> Iterator[Case]:
    """Any connection may take the port of a server that is down for a moment, which then cannot start again; and a
    client that tries to reach it meanwhile may be connected to itself. Begin the range higher, or reserve the ports.
    """
    ports = _ports(snapshot)
    covered = [port for port in _SERVERS if port in ports]
    if covered:
        detail = f"the range is {_range(snapshot)}, and holds {', '.join(map(str, covered))}"
        yield Case(detail, (*_wider(snapshot), *_reserve(snapshot, covered)))


@rule("listener-in-range", "Servers listen inside the range of source ports", "warning", "info")
def listener_in_range(snapshot: Snapshot) -> Iterator[Case]:
    """While such a server is down, its port may be taken as a source port: then it cannot start, and a client that
    tries to reach it may be connected to itself. Move the server below the range or reserve its port. A server whose
    port was given by the system (port 0) is no trouble; those have the parity that connect() takes last, which is an
    info.
    """
    ports, parity = _ports(snapshot), snapshot.source_ports.preferred_parity
    inside = [each for each in snapshot.listening.listeners or () if each.port in ports]
    risky = [each for each in inside if parity is None or parity == ("even", "odd")[each.port % 2]]
    advice = (f"move servers with a fixed port below {snapshot.source_ports.first}",)
    if risky:
        yield Case(listed(risky), advice + _reserve(snapshot, [each.port for each in risky]))
    elif inside:
        yield Case(listed(inside), advice, "info")


def _destinations(snapshot: Snapshot) -> Iterator[tuple[SourceUse, float]]:
    """Yield each destination with the share of ports that a connect there cannot have.

    A connect may take some of them out of TIME_WAIT.
    """
    reuse = snapshot.timers.tw_reuse
    for use in snapshot.table.destinations if snapshot.table else ():
        is_loopback = use.peer[0] == "::1" or use.peer[0].startswith("127.")
        reusable = use.in_time_wait if reuse == 1 or (reuse == 2 and is_loopback) else 0
        yield use, (use.taken - reusable) / use.available if use.available else 1.0


def _told(use: SourceUse, taken: float) -> str:
    waiting = f"; {use.in_time_wait} of them are in TIME_WAIT" if use.in_time_wait else ""
    way = f"from {use.local} to {written(use.peer)}"
    return f"{use.taken} of {use.available} source ports {way} are taken ({round(100 * taken)} %){waiting}"


def _more_ports(snapshot: Snapshot, use: SourceUse) -> tuple[str, ...]:
    advice = [
        f"keep connections and use them again; `ss -tn dst {use.peer[0]}` shows whose they are",
        "or connect from several addresses: safeconnect.SourcePool([...]) as source_address",
    ]
    if use.in_time_wait > use.taken // 2 and snapshot.timers.tw_reuse != 1:
        advice.insert(1, f"or let TIME_WAIT ports be used again, {sysctl('net.ipv4.tcp_tw_reuse=1')}")
    usable = snapshot.source_ports.usable
    if usable is not None and usable < len(PortRange(32768, 60999)):
        advice += [f"or widen the range, {line}" for line in _wider(snapshot)]
    return tuple(advice)


def _wider(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the advice to set the platform's default range."""
    if snapshot.host.platform == "linux":
        advice = sysctl('net.ipv4.ip_local_port_range="32768 60999"')
        reserved = ("and see that net.ipv4.ip_local_reserved_ports leaves most of it",) if _reserved(snapshot) else ()
        return (advice, *reserved)
    if snapshot.host.platform == "darwin":
        return ("as root: sysctl -w net.inet.ip.portrange.first=49152 net.inet.ip.portrange.last=65535",)
    if snapshot.host.platform == "win32":
        return ("as administrator: netsh int ipv4 set dynamicport tcp start=49152 num=16384",)
    return ()


def _reserve(snapshot: Snapshot, ports: Sequence[int]) -> tuple[str, ...]:
    """Return the advice to keep the kernel from choosing these ports."""
    if snapshot.host.platform == "linux":
        setting = f"net.ipv4.ip_local_reserved_ports={_reserved(snapshot) | PortSet(ports)}"
        return (f"or reserve them, {sysctl(setting)}",)
    if snapshot.host.platform == "win32":
        line = f"netsh int ipv4 add excludedportrange protocol=tcp startport={ports[0]} numberofports=1"
        return (f"or reserve it, as administrator: {line}",)
    return ()


def _range(snapshot: Snapshot) -> str:
    return f"{snapshot.source_ports.first}-{snapshot.source_ports.last}"


def _range_told(snapshot: Snapshot) -> str:
    reserved = snapshot.source_ports.reserved
    less = f", less the reserved ports {reserved}" if reserved else ""
    return f"connect() has {snapshot.source_ports.usable} ports to choose from: {_range(snapshot)}{less}"


def _reserved(snapshot: Snapshot) -> PortSet:
    return PortSet.parse(snapshot.source_ports.reserved or "")


def _ports(snapshot: Snapshot) -> PortSet:
    """Return the ports that connect() chooses from; none if the range is not known."""
    first, last = snapshot.source_ports.first, snapshot.source_ports.last
    return PortSet() if first is None or last is None else PortSet(PortRange(first, last)) - _reserved(snapshot)

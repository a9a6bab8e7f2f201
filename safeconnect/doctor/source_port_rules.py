"""Rules about source ports: are there enough, who else uses them, are they left free at once."""

from __future__ import annotations

from ..ports import PortRange, PortSet
from .findings import Case, rule
from .wording import end, listed, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .facts import Snapshot, SourceUse

# Fewer than this do not serve one busy client; fewer than the other are gone in a minute at 70 connects a second.
_TINY = 64
_SMALL = 4096
# Measured: up to a half plain connects are as fast as ever, beyond it they take 20 to 30 times as long (docs/speed.md).
_FULL = 0.99
_HALF = 0.5
# Where servers are at home that people name by number. (IANA's registry of ports, and habit.)
_SERVERS = (1433, 1521, 2181, 3000, 3306, 5000, 5432, 5672, 6379, 8000, 8080, 8443, 9000, 9092, 9200, 11211, 27017)


@rule("source-ports-exhausted", "No source port is left toward a destination", "error")
def exhausted(snapshot: Snapshot) -> Iterator[Case]:
    """Every connection to one destination takes a source port of its own, and at least 99 % of them are taken:
    connects there fail with EADDRNOTAVAIL. Keep connections instead of making new ones, add source addresses, widen
    the range; ports in TIME_WAIT come back after a minute.
    """
    for use in _destinations(snapshot):
        share = _blocked(snapshot, use)
        if share >= _FULL:
            yield Case(_told(snapshot, use), _more_ports(snapshot, use))


@rule("source-ports-filling", "More than half of the source ports toward a destination are taken", "warning")
def filling(snapshot: Snapshot) -> Iterator[Case]:
    """From here on connect() by other clients takes 20 to 30 times as long, for the kernel goes through all ports of
    one parity before it looks at the others. safeconnect's connects do not. Keep connections, or as for exhausted
    ports.
    """
    for use in _destinations(snapshot):
        if _HALF < _blocked(snapshot, use) < _FULL:
            advice = ("connect by safeconnect, which stays as fast as ever up to 98 %", *_more_ports(snapshot, use))
            yield Case(_told(snapshot, use), advice)


@rule("range-tiny", "There are next to no source ports", "error")
def tiny(snapshot: Snapshot) -> Iterator[Case]:
    """So few ports are left to choose source ports from, after the reserved ones, that connects fail as soon as a few
    connections go to one destination. Widen the range, or reserve less.
    """
    if _usable(snapshot) < _TINY:
        yield Case(_range_told(snapshot), _wider(snapshot))


@rule("range-small", "There are few source ports", "warning")
def small(snapshot: Snapshot) -> Iterator[Case]:
    """A connection that is over keeps its source port for 60 s (TIME_WAIT) on the side that closed first, so the
    number of ports, divided by 60, is how many new connections a second one destination can have. Widen the range.
    """
    usable = _usable(snapshot)
    if _TINY <= usable < _SMALL:
        rate = f"; enough for {usable // 60} new connections a second to one destination"
        yield Case(_range_told(snapshot) + rate, _wider(snapshot))


@rule("range-parity", "The ends of the range of source ports have the same parity", "info")
def parity(snapshot: Snapshot) -> Iterator[Case]:
    """connect() takes ports of the first one's parity, bind() those of the other: the kernel wants ends of different
    parity, so that both have as many. Only in a small range does it matter.
    """
    ports = snapshot.source_ports
    if ports.preferred_parity and ports.first is not None and ports.last is not None:
        first, last = ports.first, ports.last
        if first != last and first % 2 == last % 2:
            advice = sysctl(f'net.ipv4.ip_local_port_range="{first} {last - 1}"')
            yield Case(f"the range is {first}-{last}", (advice,))


@rule("range-covers-servers", "The range of source ports covers ports of well-known servers", "warning")
def covers_servers(snapshot: Snapshot) -> Iterator[Case]:
    """Any connection may take the port of a server that is down for a moment, which then cannot start again; and a
    client that tries to reach it meanwhile may be connected to itself. Begin the range higher, or reserve the ports.
    """
    ports = _ports(snapshot)
    covered = [port for port in _SERVERS if port in ports]
    if covered:
        shown = ", ".join(map(str, covered))
        advice = (*_wider(snapshot), *_reserve(snapshot, covered))
        yield Case(f"the range is {_range(snapshot)}, and holds {shown}", advice)


@rule("listener-in-range", "Servers listen inside the range of source ports", "warning", "info")
def listener_in_range(snapshot: Snapshot) -> Iterator[Case]:
    """While such a server is down, its port may be taken as a source port: then it cannot start, and a client that
    tries to reach it may be connected to itself. Move the server below the range or reserve its port. A server whose
    port was given by the system (port 0) is no trouble; those have the parity that connect() takes last, which is an
    info.
    """
    ports = _ports(snapshot)
    inside = [each for each in snapshot.listening.listeners or () if each.port in ports]
    if not inside:
        return
    parity = snapshot.source_ports.preferred_parity
    risky = [each for each in inside if parity is None or parity == ("even", "odd")[each.port % 2]]
    advice = (f"move servers with a fixed port below {snapshot.source_ports.first}",)
    if risky:
        yield Case(listed(risky), advice + _reserve(snapshot, [each.port for each in risky]))
    else:
        yield Case(listed(inside), advice, "info")


@rule("no-per-socket-range", "The kernel lacks the option by which self-connects are prevented", "info")
def no_option(snapshot: Snapshot) -> Iterator[Case]:
    """Without IP_LOCAL_PORT_RANGE (Linux 6.3) safeconnect cannot keep the target's port out of the choice of source
    ports. It then detects a connection to itself, resets it, and tries again.
    """
    if snapshot.source_ports.per_socket_range is False:
        host = snapshot.host
        advice = ("Linux 6.3 or later has it",) if host.platform == "linux" else ()
        yield Case(f"no IP_LOCAL_PORT_RANGE on {host.platform}, {host.release}: self-connects are detected", advice)


@rule("tw-reuse-off", "Ports in TIME_WAIT are not used again", "info")
def tw_reuse_off(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_tw_reuse = 0 each connection that this machine closes first blocks its source port toward that
    destination for 60 s. The default, 2, lets connects over loopback have it after 1 s; 1 lets all, where both sides
    send timestamps.
    """
    if snapshot.timers.tw_reuse == 0:
        yield Case("net.ipv4.tcp_tw_reuse is 0", (sysctl("net.ipv4.tcp_tw_reuse=2"),))


def _destinations(snapshot: Snapshot) -> tuple[SourceUse, ...]:
    return snapshot.table.destinations if snapshot.table else ()


def _blocked(snapshot: Snapshot, use: SourceUse) -> float:
    """The share of ports that a connect there cannot have; some it may take out of TIME_WAIT."""
    reuse = snapshot.timers.tw_reuse
    is_loopback = use.peer[0] == "::1" or use.peer[0].startswith("127.")
    reusable = use.in_time_wait if reuse == 1 or (reuse == 2 and is_loopback) else 0
    return (use.taken - reusable) / use.available if use.available else 1.0


def _told(snapshot: Snapshot, use: SourceUse) -> str:
    percent = round(100 * _blocked(snapshot, use))
    waiting = f"; {use.in_time_wait} of them are in TIME_WAIT" if use.in_time_wait else ""
    way = f"from {use.local} to {end(*use.peer)}"
    return f"{use.taken} of {use.available} source ports {way} are taken ({percent} %){waiting}"


def _more_ports(snapshot: Snapshot, use: SourceUse) -> tuple[str, ...]:
    advice = [
        f"keep connections and use them again; `ss -tn dst {use.peer[0]}` shows whose they are",
        "or connect from several addresses: safeconnect.SourcePool([...]) as source_address",
    ]
    if use.in_time_wait > use.taken // 2 and snapshot.timers.tw_reuse != 1:
        advice.insert(1, f"or let TIME_WAIT ports be used again, {sysctl('net.ipv4.tcp_tw_reuse=1')}")
    if _usable(snapshot) < len(PortRange(32768, 60999)):
        advice += [f"or widen the range, {line}" for line in _wider(snapshot)]
    return tuple(advice)


def _wider(snapshot: Snapshot) -> tuple[str, ...]:
    """How to set the range that the platform has unless told otherwise."""
    if snapshot.host.platform == "linux":
        advice = [sysctl('net.ipv4.ip_local_port_range="32768 60999"')]
        if _reserved(snapshot):
            advice.append("and see that net.ipv4.ip_local_reserved_ports leaves most of it")
        return tuple(advice)
    if snapshot.host.platform == "darwin":
        return ("as root: sysctl -w net.inet.ip.portrange.first=49152 net.inet.ip.portrange.last=65535",)
    if snapshot.host.platform == "win32":
        return ("as administrator: netsh int ipv4 set dynamicport tcp start=49152 num=16384",)
    return ()


def _reserve(snapshot: Snapshot, ports: Sequence[int]) -> tuple[str, ...]:
    """How to keep the kernel from choosing these ports."""
    if snapshot.host.platform == "linux":
        return (
            f"or reserve them, {sysctl(f'net.ipv4.ip_local_reserved_ports={_reserved(snapshot) | PortSet(ports)}')}",
        )
    if snapshot.host.platform == "win32":
        line = "netsh int ipv4 add excludedportrange protocol=tcp startport={} numberofports=1"
        return tuple(f"or reserve it, as administrator: {line.format(port)}" for port in ports[:1])
    return ()


def _usable(snapshot: Snapshot) -> float:
    usable = snapshot.source_ports.usable
    return float("inf") if usable is None else usable


def _range(snapshot: Snapshot) -> str:
    return f"{snapshot.source_ports.first}-{snapshot.source_ports.last}"


def _range_told(snapshot: Snapshot) -> str:
    reserved = snapshot.source_ports.reserved
    less = f", less the reserved ports {reserved}" if reserved else ""
    return f"connect() has {snapshot.source_ports.usable} ports to choose from: {_range(snapshot)}{less}"


def _reserved(snapshot: Snapshot) -> PortSet:
    return PortSet.parse(snapshot.source_ports.reserved or "")


def _ports(snapshot: Snapshot) -> PortSet:
    ports = snapshot.source_ports
    if ports.first is None or ports.last is None:
        return PortSet()
    return PortSet(PortRange(ports.first, ports.last)) - _reserved(snapshot)

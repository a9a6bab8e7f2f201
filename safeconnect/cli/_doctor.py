"""``safeconnect doctor``: the facts and findings as text."""

from __future__ import annotations

from .._host.tcp_rows import named
from .._sockets.endpoint import written
from .._text import duration
from ..doctor import examine
from . import FAILED
from ._console import Console, percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from ..doctor import Report
    from ..doctor.facts import Host, Listening, Lookup, Names, Snapshot, SourcePorts, Table, Target, Timers
    from ._console import Stream

    Fact = tuple[str, str]

_MOST = 5
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan", "ok": "green"}
UNKNOWN = "not told by this platform"


def run(arguments: argparse.Namespace) -> int:
    """Examine, and print the report; return 1 if a finding is an error."""
    console = Console()
    with console.messages.live(lambda: [["examining ", str(arguments.target or "this machine"), " ..."]]):
        report = examine(arguments.target, arguments.timeout)
    status = FAILED if report.worst == "error" else 0
    if arguments.json:
        console.data.json({**report.as_dict(), "exit_status": status})
    else:
        _tell(report, console.data)
    return status


def _tell(report: Report, stream: Stream) -> None:
    found = list(sections(report.snapshot))
    names = [len(name) for _, facts in found for name, _ in facts]
    # In a terminal a long name, such as that of a destination, stands out, and the others' facts are beside them.
    width = max((each for each in names if stream.columns is None or each <= stream.columns // 2), default=0)
    for title, facts in found:
        stream.line((title, "bold"))
        for name, text in facts:
            stream.line(f"  {name:<{width}}  {text}", keep=max(width, len(name)) + 4)
        stream.line()
    stream.line(("findings", "bold"))
    for finding in report.findings:
        stream.line("  ", (finding.severity, _STYLES[finding.severity]), f": {finding.title} [{finding.code}]")
        stream.line(f"    {finding.detail}")
        for advice in finding.advice:
            stream.line(f"    - {advice}")
    if not report.findings:
        stream.line("  nothing is wrong")


def sections(snapshot: Snapshot) -> Iterator[tuple[str, Sequence[Fact]]]:
    """Yield the headings with their facts: names and texts."""
    yield "machine", list(_host(snapshot.host))
    yield "source ports", list(_source_ports(snapshot.source_ports))
    yield "names", list(_names(snapshot.names))
    yield "timers", list(_timers(snapshot.timers))
    yield "servers here", list(_listening(snapshot.listening))
    yield "connections", list(_table(snapshot.table, snapshot.no_table_because))
    if snapshot.target is not None:
        yield f"target {written((snapshot.target.host, snapshot.target.port))}", list(_target(snapshot.target))


def _host(host: Host) -> Iterator[Fact]:
    yield "system", f"{host.platform} {host.release}"
    namespaces = "not known" if host.user_namespaces is None else _yes(host.user_namespaces)
    yield "user namespaces", namespaces + (f": {why}" if (why := host.no_user_namespaces_because) else "")
    yield "descriptors", _of(host.descriptors, host.descriptors_at_most, "may be open, at most")
    if host.descriptors_free is not None:
        yield "descriptors free", _number(host.descriptors_free)
    tracked = _of(host.tracked_connections, host.tracked_connections_at_most, "connections of")
    yield "tracked by the packet filter", tracked


def _source_ports(ports: SourcePorts) -> Iterator[Fact]:
    yield "ip_local_port_range", UNKNOWN if ports.first is None else f"{ports.first}-{ports.last}"
    yield "ip_local_reserved_ports", UNKNOWN if ports.reserved is None else ports.reserved or "none"
    yield "usable", _number(ports.usable)
    yield "preferred by connect()", ports.preferred_parity or UNKNOWN
    yield "per-socket port range", _yes(ports.per_socket_range, "supported", "not supported")


def _names(names: Names) -> Iterator[Fact]:
    yield "::1", _yes(names.ipv6_loopback)
    if names.localhost is not None:
        yield "localhost", _looked_up(names.localhost)
    for lookup in names.lookups:
        yield f"{lookup.name}, {lookup.family}", _looked_up(lookup)


def _looked_up(lookup: Lookup) -> str:
    return f"{', '.join(lookup.addresses) or lookup.error or 'nothing'} in {duration(lookup.seconds)}"


def _timers(timers: Timers) -> Iterator[Fact]:
    noticed = timers.vanished_peer_noticed_after_seconds
    yield "tcp_keepalive_*", _after(_pace(timers), noticed, "a vanished peer is noticed")
    given_up = timers.unacknowledged_data_given_up_after_seconds
    yield "tcp_retries2", _after(timers.retries2, given_up, "unacknowledged data is given up")
    unanswered = timers.unanswered_connect_given_up_after_seconds
    yield "tcp_syn_retries", _after(timers.syn_retries, unanswered, "an unanswered connect is given up")
    yield "tcp_retries1", _number(timers.retries1)
    yield "tcp_synack_retries", _number(timers.synack_retries)
    yield "tcp_fin_timeout", _time(timers.fin_timeout_seconds)
    yield "tcp_tw_reuse", _number(timers.tw_reuse)


def _pace(timers: Timers) -> str:
    idle, apart = _time(timers.keepalive_time_seconds), _time(timers.keepalive_intvl_seconds)
    return f"{idle}, then {timers.keepalive_probes} probes {apart} apart"


def _after(setting: object, seconds: float | None, what: str) -> str:
    return UNKNOWN if seconds is None else f"{setting}: {what} after {duration(seconds)}"


def _time(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else duration(seconds)


def _listening(listening: Listening) -> Iterator[Fact]:
    yield "somaxconn", _number(listening.somaxconn)
    yield "tcp_max_syn_backlog", _number(listening.max_syn_backlog)
    yield "tcp_abort_on_overflow", _yes(listening.abort_on_overflow)
    yield "tcp_syncookies", _number(listening.syncookies)
    yield "tcp_max_tw_buckets", _number(listening.max_tw_buckets)
    yield "connects lost by full queues", _of(listening.overflows, listening.drops, "of those lost by listeners,")
    if listening.listeners is not None:
        yield "listening sockets", f"{len(listening.listeners):,}; `safeconnect ports` lists them"


def _table(table: Table | None, why: str | None) -> Iterator[Fact]:
    if table is None:
        yield "all", f"{UNKNOWN}: {why}"
        return
    yield "all", ", ".join(f"{count:,} {state}" for state, count in sorted(table.states.items())) or "none"
    for holder in table.close_wait[:_MOST]:
        yield "in CLOSE_WAIT", f"{holder.sockets:,} of {holder.process or 'processes that may not be seen'}"
    for each in table.closed_first[:_MOST]:
        yield "in TIME_WAIT", f"{each.sockets:,} of {written((each.listener.address, each.listener.port))}"
    for use in table.destinations[:_MOST]:
        share = f"{use.taken:,} of {use.available:,} source ports, {percent(use.share)}"
        yield f"{use.local} to {written(use.peer)}", share


def _target(target: Target) -> Iterator[Fact]:
    yield "addresses", _looked_up(target.lookup)
    for attempt in target.attempts:
        error = f": {attempt.error}" if attempt.error else ""
        yield written((attempt.address, attempt.port)), f"{attempt.outcome} after {duration(attempt.seconds)}{error}"
    if target.untried:
        yield "not tried", f"{target.untried:,} further addresses"
    for listener in target.listeners or ():
        processes = named(listener.processes) if listener.processes else "a process that may not be seen"
        yield "listens here", f"{written((listener.address, listener.port))}, {processes}"
    if target.listeners == ():
        yield "listens here", "nobody"
    for holding in target.held or ():
        yield "has the port", str(holding)
    if target.exposed is not None:
        yield "self-connects", target.exposed.told


def _of(value: int | None, most: int | None, words: str) -> str:
    if value is None:
        return UNKNOWN if most is None else f"no limit, {words} {most:,}"
    return f"{value:,}" if most is None else f"{value:,} {words} {most:,}"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _yes(value: bool | None, yes: str = "yes", no: str = "no") -> str:
    return UNKNOWN if value is None else yes if value else no

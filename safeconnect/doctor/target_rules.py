"""Rules about the target: how the connects to it ended, and what that means."""

from __future__ import annotations

from .._host.tcp_rows import takes
from .._sockets.endpoint import written
from .._text import duration
from .findings import Case, listed, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._host.tcp_rows import Holding
    from ..typing import Outcome, Severity
    from .facts import Attempt, Listener, Snapshot, Target


@rule("target-unknown", "The target's name does not exist", "error")
def unknown(snapshot: Snapshot) -> Iterator[Case]:
    """The resolver says that there is no such name, or that it has no address. Check the spelling, the search domains,
    the hosts file; a name that was made a moment ago may be remembered as missing for some minutes.
    """
    target = snapshot.target
    if target and target.lookup.failure in ("unknown", "no-address"):
        advice = (
            f"check the name: getent ahosts {target.host}",
            "see /etc/hosts and /etc/resolv.conf (search domains), and whether it needs a VPN's name server",
        )
        yield Case(f"{target.host}: {target.lookup.error}", advice)


@rule("target-lookup-failed", "The target's name cannot be looked up", "error")
def lookup_failed(snapshot: Snapshot) -> Iterator[Case]:
    """The name servers did not answer, or not in time, so it is not known whether the name exists. See which servers
    /etc/resolv.conf names and whether each can be reached (dig @SERVER NAME).
    """
    target = snapshot.target
    if target and not target.lookup.addresses and target.lookup.failure not in ("unknown", "no-address"):
        advice = (
            f"see which name servers /etc/resolv.conf names, and ask each: dig @SERVER {target.host}",
            "or connect by address, or put the name into the hosts file",
        )
        yield Case(f"{target.host}: {target.lookup.error} ({duration(target.lookup.seconds)})", advice)


@rule("target-port-held", "The target's port is held by a socket that does not listen", "error", "warning")
def held(snapshot: Snapshot) -> Iterator[Case]:
    """Nobody listens there, and the server that should cannot start: bind() fails with EADDRINUSE. An error where a
    client that is connected to itself holds the port: end it; SO_REUSEADDR on the server helps only if that client has
    set it, too. If you kill it, the port stays in TIME_WAIT; with `ss -K` it does not. A warning where connections have
    that port at their own end: those that an earlier server accepted are no obstacle if both servers set SO_REUSEADDR,
    but a client's connection is one.
    """
    for target, holding in _holdings(snapshot, is_over=False):
        detail = f"port {target.port} is {holding.whose} ({written(holding.local)})"
        owners = holding.owners
        kill = f"kill {owners[0].pid}" if owners else f"ss -tanp sport = :{target.port} as root names it"
        if holding.is_self_connected:
            advice = (
                f"end it, {kill}; the port is then in TIME_WAIT for up to 60 s",
                _at_once(target),
                "let its connects be made by safeconnect, which never keeps such a connection",
            )
            yield Case(f"{detail}: end it", advice)
        else:
            other_advice = (
                "if an earlier server accepted it: set SO_REUSEADDR before bind(), or end what is left of that server",
                f"if it is a client's: end it, {kill}; and reserve the port (net.ipv4.ip_local_reserved_ports)",
            )
            yield Case(detail, other_advice, "warning")


@rule("target-port-in-time-wait", "The target's port is in TIME_WAIT", "error", "warning")
def in_time_wait(snapshot: Snapshot) -> Iterator[Case]:
    """Nobody listens there, and the kernel keeps the port for 60 s after a connection was closed. A server that sets
    SO_REUSEADDR can bind to it meanwhile if the closed socket had set it, too. Those that a server with SO_REUSEADDR
    accepted had (a warning); a client that was connected to itself most often had not (an error): bind() then fails
    with EADDRINUSE until the time is over.
    """
    for target, holding in _holdings(snapshot, is_over=True):
        detail = f"port {target.port} is {holding.whose} ({written(holding.local)})"
        if holding.is_self_connected:
            advice = (
                "wait, at most 60 s; SO_REUSEADDR on the server helps only if that client had set it, too",
                _at_once(target),
                "let its connects be made by safeconnect, which resets such a connection: no TIME_WAIT stays",
            )
            yield Case(detail, advice)
        else:
            yield Case(detail, ("set SO_REUSEADDR on the server before bind()", "or wait, at most 60 s"), "warning")


@rule("target-refused", "The target refuses connects", "error", "warning")
def refused(snapshot: Snapshot) -> Iterator[Case]:
    """A refusal is an answer: a RST came back, so the host is up and nobody listens at that port and address (or a
    packet filter rejects in its place). Start the server, or see on which address and port it listens. A warning where
    another address of the same name works: clients that try one address only fail.
    """
    for target, attempts, severity in _ended(snapshot, "refused", "met-itself"):
        own = [attempt for attempt in attempts if attempt.own]
        detail = "the host is up, and nobody listens there"
        advice = [
            f"on that host: ss -ltn sport = :{target.port} shows whether and where a server listens",
            "where one does, a packet filter on the way rejects: nft list ruleset, or the cloud's security group",
        ]
        if own:
            detail, advice = _refused_here(target, own)
        yield Case(f"{_addresses(attempts)}: {detail}", tuple(advice), severity)


def _refused_here(target: Target, own: list[Attempt]) -> tuple[str, list[str]]:
    listeners = target.listeners or ()
    if any(_takes(listener, own) for listener in listeners):
        detail = f"{listed(listeners)} listens there, so a packet filter rejects, or it has just started"
        advice = ["see the packet filter's rules: nft list ruleset"]
        if {listener.address for listener in listeners} == {"::"} and any("." in each.address for each in own):
            detail += "; or it takes IPv6 only"
            advice.insert(0, "see whether it is for IPv6 only (IPV6_V6ONLY): ss -ltne shows v6only:1")
        return detail, advice
    if listeners:
        other = written((listeners[0].address, target.port))
        advice = [f"connect to {other}, or let the server listen on 0.0.0.0 or ::"]
        return f"nobody listens there, but {listed(listeners)} does", advice
    detail = f"nobody on this machine listens on port {target.port}"
    if target.held:
        advice = ["see the findings about the port first, then start the server"]
        return f"{detail}, and something has that port still", advice
    return detail, ["start the server, or see which port it has: ss -ltnp"]


@rule("target-silent", "The target does not answer", "error", "warning")
def silent(snapshot: Snapshot) -> Iterator[Case]:
    """Silence is no answer: a packet filter drops the packets, the host is down, or the server's accept queue is full
    and the kernel drops what comes. It may pass, so trying again makes sense; for a refusal less so. A warning where
    another address of the same name works: clients that try them in order wait for this one first.
    """
    for target, attempts, severity in _ended(snapshot, "silent"):
        detail = f"{_addresses(attempts)}: no answer in {duration(target.timeout_seconds)}"
        own = [attempt for attempt in attempts if attempt.own]
        full = [each for each in target.listeners or () if each.is_full and _takes(each, own)]
        if full:
            detail += f"; {listed(full)} has a full accept queue"
            advice = ["see what the server is doing: it accepts too slowly, or not at all"]
        elif own:
            advice = [
                "see the packet filter's rules, which drop what goes there: nft list ruleset",
                "see whether the interface is up: ip link show",
            ]
        else:
            advice = [
                f"see whether the host is up, and how far packets come: traceroute -T -p {target.port} {target.host}",
                "see packet filters on the way: nft list ruleset, the cloud's security group",
                "on that host: ss -ltn shows whether the server's queue is full (Recv-Q above Send-Q)",
            ]
        yield Case(detail, tuple(advice), severity)


@rule("target-unreachable", "There is no way to the target", "error", "warning")
def unreachable(snapshot: Snapshot) -> Iterator[Case]:
    """This machine has no route or no address of that family, or a router says that there is no way on. For an IPv6
    address that often means that the machine has no IPv6. A warning where another address of the same name works.
    """
    for _, attempts, severity in _ended(snapshot, "unreachable"):
        advice = [f"see the way: ip route get {attempts[0].address}"]
        if any(":" in attempt.address for attempt in attempts):
            advice.append("see whether this machine has IPv6: ip -6 addr")
        yield Case(f"{_addresses(attempts)}: {attempts[0].error}", tuple(advice), severity)


@rule("target-failed", "A connect to the target fails on this machine", "error", "warning")
def failed(snapshot: Snapshot) -> Iterator[Case]:
    """Neither an answer nor silence: the connect failed here, as for want of source ports or descriptors, or because a
    packet filter forbids it; or the peer reset it at once. The detail has the kernel's words.
    """
    for target, attempts, severity in _ended(snapshot, "failed", "no-source-port"):
        advice: tuple[str, ...] = ()
        if any(attempt.outcome == "no-source-port" for attempt in attempts):
            advice = (
                f"keep connections and use them again; `ss -tan dport = :{target.port}` shows those that there are",
                "or connect from several addresses: safeconnect.SourcePool([...]) as source_address",
            )
        yield Case(f"{_addresses(attempts)}: {attempts[0].error}", advice, severity)


@rule("target-slow", "A connect to the target takes a second or more", "warning")
def slow(snapshot: Snapshot) -> Iterator[Case]:
    """A connect that takes a little more than a whole number of seconds has lost its first SYNs, which are sent again
    after a second: by a full accept queue or SYN queue, or on the way. Try again, and see whether it happens often.
    """
    advice = ("on that host: nstat -az TcpExtListenOverflows TcpExtListenDrops; here: nstat -az TcpRetransSegs",)
    for _, attempts, _ in _ended(snapshot, "connected"):
        for attempt in attempts:
            if attempt.seconds >= 1:
                yield Case(_connected(attempt), advice)


@rule("target-exposed", "A connect to the target may connect to itself", "warning", "info")
def exposed(snapshot: Snapshot) -> Iterator[Case]:
    """The port lies in the range of source ports, and the address is this machine's: a client that tries while the
    server is down can be given that very port, and is then connected to itself. A warning where safeconnect can only
    detect that; an info where it prevents it: other clients on this machine are exposed all the same.
    """
    found = snapshot.target and snapshot.target.exposed
    if found and found.is_exposed:
        yield Case(found.told, found.advice, "info" if found.prevented else None)


@rule("target-answers", "The target takes connects", "ok")
def answers(snapshot: Snapshot) -> Iterator[Case]:
    """At least one of its addresses does; the detail says which, and after how long."""
    for _, attempts, _ in _ended(snapshot, "connected"):
        yield Case(", ".join(map(_connected, attempts)))


def _ended(snapshot: Snapshot, *outcomes: Outcome) -> Iterator[tuple[Target, list[Attempt], Severity | None]]:
    """Yield the target, the attempts that ended so, if any, and the severity: a warning if another address works."""
    target = snapshot.target
    found = [attempt for attempt in target.attempts if attempt.outcome in outcomes] if target else []
    if target and found:
        yield target, found, "warning" if any(each.outcome == "connected" for each in target.attempts) else None


def _holdings(snapshot: Snapshot, *, is_over: bool) -> Iterator[tuple[Target, Holding]]:
    """Yield the target with each socket that keeps a server from its port: in TIME_WAIT, or not."""
    target = snapshot.target
    for holding in (target and target.held) or ():
        if target and holding.is_over is is_over:
            yield target, holding


def _at_once(target: Target) -> str:
    """Return the advice to end another program's self-connect: sock_diag(7), SOCK_DESTROY (Linux 4.5)."""
    ends = f"sport = :{target.port} dport = :{target.port}"
    return f"or free the port at once, as root: ss -K state connected {ends} (kernels with CONFIG_INET_DIAG_DESTROY)"


def _connected(attempt: Attempt) -> str:
    return f"{written((attempt.address, attempt.port))} after {duration(attempt.seconds)}"


def _addresses(attempts: list[Attempt]) -> str:
    return ", ".join(written((attempt.address, attempt.port)) for attempt in attempts)


def _takes(listener: Listener, attempts: list[Attempt]) -> bool:
    """Return True if one of these connects may reach the listener."""
    return takes(listener.address, [attempt.address.partition("%")[0] for attempt in attempts])

"""Read the kernel, time lookups, try the target: from the machine to a `Snapshot`.

Linux has most facts in /proc (proc(5), and the kernel's ip-sysctl.rst for the settings). Other platforms tell the range
of source ports, IPv6 loopback, lookups, and how connects to the target end; with psutil their sockets, too.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import fields, replace
from time import perf_counter

from .._checks import check_int, check_seconds
from .._connect.blocking_race import dial
from .._connect.names import look_up_in_time
from .._connect.order import without_duplicates
from .._connect.settings import Settings
from .._host import tcp_table
from .._host.sock_diag import is_own
from .._host.tcp_rows import holdings, in_the_way, source_use, takes
from .._lazy import publish
from .._local.self_connect_exposure import self_connect_exposure
from .._sockets import kernel, resolve
from .._sockets.answers import Question
from .._sockets.lifecycle import reset
from .._sockets.prevention import prevents_self_connects
from .._text import duration
from ..errors import PortsExhaustedError, SelfConnectError
from . import facts
from .facts import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._host.tcp_rows import Holding, Owner, SourceUse, TcpSocket
    from ..typing import Candidate, Failure, Family, Outcome, SockAddr

_SYS = "/proc/sys"
_NETSTAT = "/proc/net/netstat"
_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_UNTRIED = "it could not be tried"  # how `namespaces_unavailable` begins then
_MOST = 10  # of a long list
_PLAIN = Settings()
_MOST_ATTEMPTS = 8  # a name may have hundreds of addresses, each of which may time out
_FAMILIES: dict[Family, int] = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6, "both": socket.AF_UNSPEC}
_OUTCOMES: dict[type[OSError], Outcome] = {  # the first that fits
    SelfConnectError: "met-itself",
    PortsExhaustedError: "no-source-port",
    ConnectionRefusedError: "refused",
    TimeoutError: "silent",
}
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EAFNOSUPPORT)
# getaddrinfo(3). Some are glibc's own; if two have the same number on a platform, the last one counts.
_EAI: dict[str, Failure] = {
    "EAI_NODATA": "no-address",
    "EAI_ADDRFAMILY": "no-address",
    "EAI_NONAME": "unknown",
    "EAI_AGAIN": "no-answer",
}
_FAILURES: dict[int, Failure] = {
    getattr(socket, name): failure for name, failure in _EAI.items() if hasattr(socket, name)
}


def gather(target: tuple[str, int] | None = None, timeout: float = 3.0) -> Snapshot:
    """Gather the facts about this machine and, if a target is given, about the way there.

    Nothing is changed. The target gets one connect on each of its addresses, at most 8, one after the other; each is
    reset at once. Without a target there is no connect. The target's name or the host's own is looked up.

    :param target: ``(host, port)``; the host is a name or a literal address.
    :param timeout: seconds for each lookup and each connect. There are four lookups, so all of it takes at most 12
        times as long, and about a second more.
    :raises TypeError: the target is no ``(str, int)``, or the timeout no number.
    :raises ValueError: the port is not 1-65535, or the timeout not 0.001-3600.

    >>> gather().names.localhost.addresses[-1] in ("127.0.0.1", "::1")
    True
    """
    check_seconds("timeout", timeout, 0.001, 3600.0)
    host, port = _checked(target) if target is not None else (None, 0)
    # The kernel's counters first: connects to a full queue add to them.
    listening, told = _listening(), kernel.source_ports(refresh=True)
    source_ports = _source_ports()
    sockets: list[TcpSocket] = []
    listeners = table = reason = None
    try:
        sockets = tcp_table.sockets()
        listeners = _listeners(sockets)
        table = _table(sockets, source_use(sockets, told)[:_MOST], listeners)
    except OSError as error:  # sockets cannot be listed, or no descriptor is left to look at processes with
        listeners, reason = None, error.strerror or str(error)
    names = look_at_names(host, timeout)
    return Snapshot(
        host=_host(),
        source_ports=source_ports,
        timers=_timers(),
        listening=replace(listening, listeners=listeners),
        names=names,
        table=table,
        no_table_because=reason,
        target=None if host is None else try_target(host, port, timeout, sockets, listeners),
    )


def _checked(target: object) -> tuple[str, int]:
    if not (isinstance(target, tuple) and len(target) == 2):
        raise TypeError(f"target must be (host, port), not {target!r}")
    host, port = target
    if not isinstance(host, str) or not host:
        raise TypeError(f"target must be (host, port) with a name or an address as host, not {host!r}")
    check_int("the port", port, 1, 65535)
    resolve.check_host(host)
    return host, port


def _host() -> facts.Host:
    soft, hard, free = _descriptors()
    reason = _no_user_namespaces_because()
    is_untried = reason is not None and reason.startswith(_UNTRIED)
    return facts.Host(
        platform=sys.platform,
        release=platform.release(),
        user_namespaces=None if is_untried else reason is None,
        no_user_namespaces_because=reason,
        descriptors=soft,
        descriptors_at_most=hard,
        descriptors_free=free,
        tracked_connections=_number("net/netfilter/nf_conntrack_count"),
        tracked_connections_at_most=_number("net/netfilter/nf_conntrack_max"),
    )


def _no_user_namespaces_because() -> str | None:
    import subprocess

    from ..testing import namespaces_unavailable

    try:
        return namespaces_unavailable()  # starts processes, which may be forbidden
    except subprocess.SubprocessError as error:
        return f"user and network namespaces are not to be had here: {error}"


def _descriptors() -> tuple[int | None, int | None, int | None]:
    """Return the soft and the hard limit, and how many more this process can open; None: not known, or no limit."""
    if sys.platform == "win32":
        return None, None, None
    import resource  # there is none on Windows

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (None if limit == resource.RLIM_INFINITY else limit for limit in limits)
    if soft is None:
        return None, hard, None
    try:
        # Those from before the limit was lowered lie above it. One is the listing's own.
        taken = sum(int(name) < soft for name in os.listdir(_DESCRIPTORS)) - 1  # noqa: PTH208
    except OSError as error:
        return soft, hard, 0 if error.errno == errno.EMFILE else None
    return soft, hard, max(soft - taken, 0)


def _source_ports() -> facts.SourcePorts:
    try:
        has_option = sys.platform == "linux" and prevents_self_connects()
        told = kernel.told_range()
    except OSError:  # no descriptor is left to ask with
        return facts.SourcePorts()
    if told is None:
        return facts.SourcePorts(per_socket_range=has_option)
    return facts.SourcePorts(
        first=told.first,
        last=told.last,
        reserved=str(kernel.reserved_ports()),
        usable=len(kernel.source_ports()),
        # net/ipv4/inet_hashtables.c, __inet_hash_connect, since Linux 4.2
        preferred_parity=("even", "odd")[told.first % 2] if sys.platform == "linux" else None,
        per_socket_range=has_option,
    )


def _timers() -> facts.Timers:
    rto_max = _number("net/ipv4/tcp_rto_max_ms")
    settings = [field.name for field in fields(facts.Timers) if field.name != "rto_max_seconds"]
    told = {name: _number(f"net/ipv4/tcp_{name.removesuffix('_seconds')}") for name in settings}
    return facts.Timers(**told, rto_max_seconds=None if rto_max is None else rto_max / 1000)


def _listening() -> facts.Listening:
    """Return all of it but the listeners."""
    aborts = _number("net/ipv4/tcp_abort_on_overflow")
    counters = _tcp_counters()
    return facts.Listening(
        somaxconn=_number("net/core/somaxconn"),
        max_syn_backlog=_number("net/ipv4/tcp_max_syn_backlog"),
        abort_on_overflow=None if aborts is None else bool(aborts),
        syncookies=_number("net/ipv4/tcp_syncookies"),
        overflows=counters.get("ListenOverflows"),
        drops=counters.get("ListenDrops"),
        max_tw_buckets=_number("net/ipv4/tcp_max_tw_buckets"),
    )


def _listeners(sockets: Iterable[TcpSocket]) -> tuple[facts.Listener, ...]:
    """Return the listening sockets among these, by port, with their backlogs and processes."""
    limits = tcp_table.backlogs()
    found = tcp_table.owners(each for each in sockets if each.listens)
    listeners = [
        facts.Listener(*each.local, each.receive_queue, limits.get(each.inode or 0), processes)
        for each, processes in found.items()
    ]
    return tuple(sorted(listeners, key=lambda listener: (listener.port, listener.address)))


def _table(sockets: list[TcpSocket], busiest: list[SourceUse], listeners: Iterable[facts.Listener]) -> facts.Table:
    states = Counter(each.state for each in sockets)
    holders: Counter[Owner | None] = Counter()
    for processes in tcp_table.owners(each for each in sockets if each.state == "CLOSE_WAIT").values():
        holders.update(processes or [None])
    return facts.Table(
        states=dict(sorted(states.items())),
        close_wait=tuple(facts.Holder(process, count) for process, count in holders.most_common(_MOST)),
        destinations=tuple(busiest),
        closed_first=_closed_first(sockets, listeners),
    )


def _closed_first(sockets: list[TcpSocket], listeners: Iterable[facts.Listener]) -> tuple[facts.ClosedFirst, ...]:
    """Return the servers with connections in TIME_WAIT, the one with the most first; each connection counts once."""
    waiting = Counter(each.local for each in sockets if each.state == "TIME_WAIT" and not each.is_self_connected)
    by_port: dict[int, list[facts.Listener]] = {}
    for listener in listeners:
        by_port.setdefault(listener.port, []).append(listener)
    counts: Counter[facts.Listener] = Counter()
    for (host, port), count in waiting.items():
        takers = [each for each in by_port.get(port, ()) if takes(each.address, (host,))]
        # A listener at that very address comes before one at all addresses.
        taker = min(takers, key=lambda each: each.address != host, default=None)
        if taker is not None:
            counts[taker] += count
    return tuple(facts.ClosedFirst(listener, count) for listener, count in counts.most_common(_MOST))


def _number(name: str) -> int | None:
    """Return a setting of Linux; None if it does not exist, or is not one number."""
    if sys.platform != "linux":
        return None
    text = _text(f"{_SYS}/{name}").strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _tcp_counters() -> dict[str, int]:
    """Return the kernel's counters of this network namespace: a line of names and a line of numbers."""
    if sys.platform != "linux":
        return {}
    lines = [line.split() for line in _text(_NETSTAT).splitlines() if line.startswith("TcpExt:")]
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        return {}
    return {name: int(number) for name, number in zip(*lines, strict=True) if number.isdecimal()}


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - as in _sockets.kernel
            return file.read()
    except (OSError, ValueError):
        return ""


def look_at_names(host: str | None, timeout: float) -> facts.Names:
    """Look up localhost, and the target's name; without one, or if it is a literal, the host's own."""
    name = socket.gethostname() if host is None or resolve.literal((host, 1)) else host
    return facts.Names(
        ipv6_loopback=is_own(("::1", 0)),
        localhost=_look_up("localhost", "both", timeout)[0],
        # Apart, and before the lookup of both, which a cache may then answer.
        lookups=(_look_up(name, "IPv4", timeout)[0], _look_up(name, "IPv6", timeout)[0]),
    )


def try_target(
    host: str, port: int, timeout: float, sockets: list[TcpSocket], listeners: tuple[facts.Listener, ...] | None
) -> facts.Target:
    """Connect to each address of the target, one after the other.

    :param sockets: those of this machine, as they were before.
    :param listeners: the listening ones among them; None if they are not known.
    """
    lookup, candidates = _look_up(host, "both", timeout, port)
    attempts = tuple(_attempt(candidate, timeout) for candidate in candidates[:_MOST_ATTEMPTS])
    own = [attempt.address for attempt in attempts if attempt.own]
    is_known = bool(own) and listeners is not None
    return facts.Target(
        host=host,
        port=port,
        timeout_seconds=timeout,
        lookup=lookup,
        attempts=attempts,
        untried=max(len(candidates) - _MOST_ATTEMPTS, 0),
        listeners=tuple(each for each in listeners or () if each.port == port) if is_known else None,
        exposed=_exposed(own, port),
        held=_held(sockets, own, port) if is_known else None,
    )


def _held(sockets: list[TcpSocket], own: list[str], port: int) -> tuple[Holding, ...] | None:
    """Return what may keep a server from the port."""
    hosts = {address.partition("%")[0] for address in own}
    try:
        return tuple(holdings(tcp_table.owners(in_the_way(sockets, hosts, port)))[:_MOST])
    except OSError:  # no descriptor is left to look at processes with
        return None


def _look_up(name: str, family: Family, timeout: float, port: int = 0) -> tuple[facts.Lookup, list[Candidate]]:
    """Look a name up, for at most this many seconds, even if the resolver hangs."""
    began = perf_counter()
    candidates: list[Candidate] = []
    failure: Failure | None = None
    text = None
    try:
        found = look_up_in_time(Question((name, port), None, _FAMILIES[family]), timeout)
        candidates = without_duplicates(found, {})  # a hosts file may have a line twice
    except TimeoutError:
        failure, text = "timed-out", f"no answer in {duration(timeout)}"
    except (OSError, UnicodeError) as error:  # UnicodeError: DNS cannot have such a name
        failure = _FAILURES.get(getattr(error, "errno", None) or 0, "failed")
        text = getattr(error, "strerror", None) or str(error)
    seconds = perf_counter() - began
    addresses = tuple(dict.fromkeys(_address(candidate[4]) for candidate in candidates))
    return facts.Lookup(name, family, seconds, addresses, failure, text), candidates


def _attempt(candidate: Candidate, timeout: float) -> facts.Attempt:
    """Connect once, to one address, and reset the connection."""
    sockaddr = candidate[4]
    error: str | None = None
    began = perf_counter()
    try:
        # Not create_connection(): if a tool has replaced getaddrinfo, that asks it about literals, too.
        sock = dial(_PLAIN, sockaddr, timeout, [candidate])
        seconds = perf_counter() - began
        reset(sock)
        outcome: Outcome = "connected"
    except OSError as failure:
        seconds = perf_counter() - began
        error = failure.strerror or str(failure)
        outcome = _outcome(failure)
    return facts.Attempt(_address(sockaddr), sockaddr[1], seconds, outcome, bool(is_own(sockaddr)), error)


def _outcome(failure: OSError) -> Outcome:
    for kind, outcome in _OUTCOMES.items():
        if isinstance(failure, kind):
            return outcome
    return "unreachable" if failure.errno in _UNREACHABLE else "failed"


def _address(sockaddr: SockAddr) -> str:
    scope = f"%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] and "%" not in sockaddr[0] else ""
    return f"{sockaddr[0]}{scope}"


def _exposed(own: list[str], port: int) -> facts.Exposed | None:
    """Return the exposure of this host's own addresses: of an exposed one, if there is one."""
    found = []
    for address in own:
        with suppress(OSError):  # a getaddrinfo of another tool may not know literals
            found.append(self_connect_exposure(address, port))
    told = next(filter(None, found), found[0] if found else None)
    return None if told is None else facts.Exposed(told.reason, told.prevented, str(told), told.advice)


publish("safeconnect.doctor", gather)

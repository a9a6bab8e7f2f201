"""Rules about servers on this machine: whether they take connects in time, and end what their peers have ended."""

from __future__ import annotations

from .findings import Case, rule
from .wording import listed, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Snapshot

# Linux 5.4 raised the default of somaxconn from 128 to 4096; the SYN backlog is never less than 128 by default.
_FEW = 128
_MANY_CLOSE_WAIT = 50
# A connection is in TIME_WAIT for 60 s, so this is 17 connections a second that the server closes first. Each takes 256
# bytes (slabtop: tw_sock_TCP), so it is not their memory that matters.
_MANY_TIME_WAIT = 1000
_MOST = 5


@rule("accept-queue-full", "A server's accept queue is full", "warning")
def queue_full(snapshot: Snapshot) -> Iterator[Case]:
    """Its backlog is used up by connections that it has not accepted. The kernel drops further SYNs without a word, so
    clients see silence, not a refusal, and try again a second later, and again. The server has to accept faster, or is
    stuck.
    """
    full = [each for each in snapshot.listening.listeners or () if each.is_full]
    if full:
        advice = (
            "see what the server is doing: it accepts too slowly, or not at all",
            "for bursts give it a larger backlog, listen(1024) say; somaxconn caps it",
        )
        yield Case(listed(full, lambda each: f", where {each.waiting} wait by a backlog of {each.backlog}"), advice)


@rule("listen-overflows", "Connects have been lost because a server accepted too slowly", "warning")
def overflows(snapshot: Snapshot) -> Iterator[Case]:
    """The kernel counts (TcpExt ListenOverflows, since the machine or container started) how often a SYN or the end of
    a handshake met a full accept queue. Their clients waited a second or more. See whether the number grows (nstat -az
    TcpExtListenOverflows); if so, find the server whose queue is long (ss -ltn: Recv-Q against Send-Q), let it accept
    faster, and raise its backlog and somaxconn.
    """
    listening = snapshot.listening
    if listening.overflows:
        others = f"; listeners have lost {listening.drops} in all" if listening.drops else ""
        advice = (
            "see whether it still grows: nstat -az TcpExtListenOverflows",
            "find the server whose queue is long, ss -ltn: Recv-Q is what waits, Send-Q its backlog",
            "let it accept faster, or raise its backlog; somaxconn caps it",
        )
        yield Case(f"{listening.overflows} met a full accept queue{others}", advice)


@rule("somaxconn-small", "Servers' accept queues are kept short", "warning")
def somaxconn(snapshot: Snapshot) -> Iterator[Case]:
    """net.core.somaxconn caps the backlog of every listener, whatever it asks for. 128, the default before Linux 5.4,
    is soon full in a burst of connects, and then they are lost. The default since is 4096.
    """
    cap = snapshot.listening.somaxconn
    if cap is not None and cap <= _FEW:
        yield Case(f"net.core.somaxconn is {cap}", (sysctl("net.core.somaxconn=4096") + "; then restart the servers",))


@rule("syn-backlog-small", "Few half-open connections are kept", "warning")
def syn_backlog(snapshot: Snapshot) -> Iterator[Case]:
    """Where SYN cookies are off, net.ipv4.tcp_max_syn_backlog is how many handshakes a listener remembers; from three
    quarters of it on connects are lost. With SYN cookies, the default, it limits nothing: the listener's backlog does.
    """
    cap = snapshot.listening.max_syn_backlog
    if cap is not None and cap < _FEW and snapshot.listening.syncookies == 0:
        detail = f"net.ipv4.tcp_max_syn_backlog is {cap}, and net.ipv4.tcp_syncookies is 0"
        yield Case(detail, (sysctl("net.ipv4.tcp_syncookies=1"), "or " + sysctl("net.ipv4.tcp_max_syn_backlog=2048")))


@rule("syncookies-off", "Nothing helps listeners through a flood of SYNs", "warning")
def syncookies_off(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_syncookies = 0 a listener with many unfinished handshakes loses connects. 1, the default,
    answers with SYN cookies only then.
    """
    if snapshot.listening.syncookies == 0:
        yield Case("net.ipv4.tcp_syncookies is 0", (sysctl("net.ipv4.tcp_syncookies=1"),))


@rule("abort-on-overflow", "A full accept queue resets connections", "warning")
def abort_on_overflow(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_abort_on_overflow = 1 a client that meets a busy server gets a reset after a connect that
    seemed to succeed, instead of getting through a second later. The default is 0.
    """
    if snapshot.listening.abort_on_overflow:
        yield Case("net.ipv4.tcp_abort_on_overflow is 1", (sysctl("net.ipv4.tcp_abort_on_overflow=0"),))


@rule("close-wait-piling-up", "Connections that their peers have closed are not closed here", "warning")
def close_wait(snapshot: Snapshot) -> Iterator[Case]:
    """A connection in CLOSE_WAIT has been ended by its peer, and the program here has not closed its socket: it did
    not read to the end, or forgot. Each keeps a descriptor for ever. No setting of the kernel ends them; the program
    must close a socket whose recv() has returned nothing.
    """
    table = snapshot.table
    count = table.states.get("CLOSE_WAIT", 0) if table else 0
    if not table or count < _MANY_CLOSE_WAIT:
        return
    whose = [f"{each.process} has {each.sockets}" for each in table.close_wait[:_MOST] if each.process]
    detail = f"{count} connections are in CLOSE_WAIT" + "".join(f"; {words}" for words in whose)
    advice = ("close the socket when recv() returns b''; safeconnect.peer_closed(sock) tells without reading",)
    yield Case(detail, advice)


@rule("time-wait-at-server", "A server closes its connections before its clients do", "warning")
def time_wait(snapshot: Snapshot) -> Iterator[Case]:
    """The side that closes first keeps the connection in TIME_WAIT for 60 s, and here that is the server: 1,000 or more
    at one port, which is 17 a second. They cost little memory and take no port from the server while it listens. But a
    restart fails with EADDRINUSE unless the server sets SO_REUSEADDR; a client that comes from the same port again may
    wait for seconds if either side sends no timestamps; and beyond net.ipv4.tcp_max_tw_buckets the kernel skips
    TIME_WAIT, so that late segments of one connection can end up in the next. Let clients close first, or keep
    connections alive for several requests.
    """
    for each in snapshot.table.closed_first if snapshot.table else ():
        if each.sockets >= _MANY_TIME_WAIT:
            cap = snapshot.listening.max_tw_buckets
            most = f"; net.ipv4.tcp_max_tw_buckets lets {cap} be so in all" if cap is not None else ""
            advice = (
                "let the client close first: the server ends its answer, then reads until recv() returns b''",
                "or keep connections alive for several requests (HTTP keep-alive, a longer idle timeout)",
                "see that the server sets SO_REUSEADDR before bind(), or it cannot restart for 60 s",
            )
            yield Case(f"{listed([each.listener])} has {each.sockets} connections in TIME_WAIT{most}", advice)

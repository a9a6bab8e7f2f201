"""Rules about the machine: its limits, its names, its servers, and the settings of its kernel."""

from __future__ import annotations

from .._text import duration
from .findings import Case, listed, rule, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Lookup, Snapshot

_MOST_PROCESSES = 5


@rule("connection-tracking-full", "The packet filter's table of connections is full", "error", "warning")
def tracking(snapshot: Snapshot) -> Iterator[Case]:
    """The packet filter remembers every connection (nf_conntrack); beyond nf_conntrack_max it drops the packets of new
    ones, and connects time out. A warning from 80 % on. Raise the maximum, or do not track what needs no tracking.
    """
    count, most = snapshot.host.tracked_connections, snapshot.host.tracked_connections_at_most
    if count is not None and most and count / most >= 0.8:
        advice = (sysctl(f"net.netfilter.nf_conntrack_max={2 * most}"),)
        yield Case(f"{count} of {most} connections", advice, "error" if count / most >= 0.99 else "warning")


@rule("descriptors-exhausted", "This process has hardly a descriptor left", "error", "warning")
def descriptors_exhausted(snapshot: Snapshot) -> Iterator[Case]:
    """Without a free descriptor connect fails with EMFILE: an error. With a few, a race of addresses, a lookup or a
    look at /proc may fail: a warning below 16. Facts that take more of them are then missing here.
    """
    free = snapshot.host.descriptors_free
    if free is not None and free < 16:
        advice = ("close what is open, or see what holds it: ls -l /proc/self/fd", "or raise the limit: ulimit -n")
        detail = f"{free} free of {snapshot.host.descriptors} (RLIMIT_NOFILE)"
        yield Case(detail, advice, "warning" if free else "error")


@rule("descriptors-few", "A process may have few sockets open", "warning")
def descriptors(snapshot: Snapshot) -> Iterator[Case]:
    """Each connection takes a descriptor; beyond the limit connect fails with EMFILE. The limit is the process's, and
    inherited: this one's may differ from a service's.
    """
    limit, most = snapshot.host.descriptors, snapshot.host.descriptors_at_most
    if limit is not None and limit < 1024:
        to = 65536 if most is None else min(most, 65536)
        advice = f"ulimit -n {to}" if to > limit else "raise the hard limit: LimitNOFILE= of the systemd unit"
        yield Case(f"{limit} descriptors (RLIMIT_NOFILE)", (advice,))


@rule("localhost-elsewhere", "localhost does not stand for this machine", "warning")
def localhost(snapshot: Snapshot) -> Iterator[Case]:
    """The name localhost cannot be looked up, or has an address that is no loopback address: connects to it fail, or
    leave the machine. Correct the hosts file.
    """
    lookup = snapshot.names.localhost
    advice = ("have the lines 127.0.0.1 localhost and ::1 localhost in the hosts file",)
    if lookup and not lookup.addresses:
        yield Case(f"localhost cannot be looked up: {lookup.error}", advice)
    elif lookup and not all(each.startswith(("127.", "::1")) for each in lookup.addresses):
        yield Case(f"localhost is {', '.join(lookup.addresses)}", advice)


@rule("ipv6-loopback-missing", "localhost stands for ::1, which this machine lacks", "warning", "info")
def ipv6_loopback(snapshot: Snapshot) -> Iterator[Case]:
    """IPv6 is off on lo, and the hosts file names ::1 all the same. Connects to localhost try it in vain; where it
    comes first, programs that try one address only fail. An info where it comes later.
    """
    lookup = snapshot.names.localhost
    if snapshot.names.ipv6_loopback is False and lookup and "::1" in lookup.addresses:
        advice = [f"connect to {each}" for each in lookup.addresses if each != "::1"][:1]
        if snapshot.host.platform == "linux":
            advice.append("or turn it on, " + sysctl("net.ipv6.conf.lo.disable_ipv6=0"))
        advice.append("or take ::1 localhost out of the hosts file")
        detail = f"localhost is {', '.join(lookup.addresses)}"
        yield Case(detail, tuple(advice), "warning" if lookup.addresses[0] == "::1" else "info")


@rule("lookup-slow", "Looking names up takes long", "warning")
def lookup_slow(snapshot: Snapshot) -> Iterator[Case]:
    """A lookup took a second or more: a name server does not answer and the next one is asked after 5 s, or there is
    none. See which servers /etc/resolv.conf names, and whether each answers. safeconnect's timeout covers lookups.
    """
    for lookup in snapshot.names.lookups:
        if lookup.seconds >= 1:
            advice = (
                f"see which name servers /etc/resolv.conf names, and ask each: dig @SERVER {lookup.name}",
                "or put the name into the hosts file",
            )
            yield Case(_looked_up(lookup), advice)


@rule("aaaa-lookup-slow", "IPv6 addresses take longer to look up than IPv4 ones", "warning")
def aaaa_slow(snapshot: Snapshot) -> Iterator[Case]:
    """Some name servers answer for A at once and let AAAA run out, and a connect waits for both. Look both up apart,
    so that the answer that is there can be used.
    """
    by = {lookup.family: lookup for lookup in snapshot.names.lookups}
    a, aaaa = by.get("IPv4"), by.get("IPv6")
    # 0.25 s: as long as a race of addresses waits for the first one (RFC 8305).
    if a and aaaa and aaaa.seconds >= max(0.25, 5 * a.seconds):
        advice = ("look both up apart: safeconnect.create_connection(address, timeout=5, resolution_delay=0.05)",)
        yield Case(f"{_looked_up(aaaa)}, against {duration(a.seconds)} for IPv4", advice)


def _looked_up(lookup: Lookup) -> str:
    ended = f" and failed ({lookup.error})" if lookup.failure else ""
    return f"the lookup of {lookup.name}, {lookup.family}, took {duration(lookup.seconds)}{ended}"


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


@rule("abort-on-overflow", "A full accept queue resets connections", "warning")
def abort_on_overflow(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_abort_on_overflow = 1 a client that meets a busy server gets a reset after a connect that
    seemed to succeed, instead of getting through a second later. The default is 0.
    """
    if snapshot.listening.abort_on_overflow:
        yield Case("net.ipv4.tcp_abort_on_overflow is 1", (sysctl("net.ipv4.tcp_abort_on_overflow=0"),))


@rule("somaxconn-small", "Servers' accept queues are kept short", "warning")
def somaxconn(snapshot: Snapshot) -> Iterator[Case]:
    """net.core.somaxconn caps the backlog of every listener, whatever it asks for. 128, the default before Linux 5.4,
    is soon full in a burst of connects, and then they are lost. The default since is 4096.
    """
    cap = snapshot.listening.somaxconn
    if cap is not None and cap <= 128:
        yield Case(f"net.core.somaxconn is {cap}", (sysctl("net.core.somaxconn=4096") + "; then restart the servers",))


@rule("syn-backlog-small", "Few half-open connections are kept", "warning")
def syn_backlog(snapshot: Snapshot) -> Iterator[Case]:
    """Where SYN cookies are off, net.ipv4.tcp_max_syn_backlog is how many handshakes a listener remembers; from three
    quarters of it on connects are lost. With SYN cookies, the default, it limits nothing: the listener's backlog does.
    """
    cap = snapshot.listening.max_syn_backlog
    if cap is not None and cap < 128 and snapshot.listening.syncookies == 0:  # 128: the least default
        detail = f"net.ipv4.tcp_max_syn_backlog is {cap}, and net.ipv4.tcp_syncookies is 0"
        yield Case(detail, (sysctl("net.ipv4.tcp_syncookies=1"), "or " + sysctl("net.ipv4.tcp_max_syn_backlog=2048")))


@rule("syncookies-off", "Nothing helps listeners through a flood of SYNs", "warning")
def syncookies_off(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_syncookies = 0 a listener with many unfinished handshakes loses connects. 1, the default,
    answers with SYN cookies only then.
    """
    if snapshot.listening.syncookies == 0:
        yield Case("net.ipv4.tcp_syncookies is 0", (sysctl("net.ipv4.tcp_syncookies=1"),))


@rule("close-wait-piling-up", "Connections that their peers have closed are not closed here", "warning")
def close_wait(snapshot: Snapshot) -> Iterator[Case]:
    """A connection in CLOSE_WAIT has been ended by its peer, and the program here has not closed its socket: it did
    not read to the end, or forgot. Each keeps a descriptor without a limit. No setting of the kernel ends them; the
    program must close a socket whose recv() has returned nothing.
    """
    table = snapshot.table
    if table and table.states.get("CLOSE_WAIT", 0) >= 50:
        whose = [f"; {each.process} has {each.sockets}" for each in table.close_wait[:_MOST_PROCESSES] if each.process]
        detail = f"{table.states['CLOSE_WAIT']} connections are in CLOSE_WAIT{''.join(whose)}"
        yield Case(
            detail, ("close the socket when recv() returns b''; safeconnect.peer_closed(sock) tells without reading",)
        )


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
        if each.sockets >= 1000:
            cap = snapshot.listening.max_tw_buckets
            most = f"; net.ipv4.tcp_max_tw_buckets lets {cap} be so in all" if cap is not None else ""
            advice = (
                "let the client close first: the server ends its answer, then reads until recv() returns b''",
                "or keep connections alive for several requests (HTTP keep-alive, a longer idle timeout)",
                "see that the server sets SO_REUSEADDR before bind(), or it cannot restart for 60 s",
            )
            yield Case(f"{listed([each.listener])} has {each.sockets} connections in TIME_WAIT{most}", advice)


@rule("keepalive-default", "Keepalive notices a vanished peer only after hours", "info")
def keepalive_default(snapshot: Snapshot) -> Iterator[Case]:
    """A peer that vanishes (power cut, cable, a firewall that forgot) sends no sign. An idle connection without
    keepalive never notices; with keepalive and the kernel's times, 7200 s and 9 probes 75 s apart, it takes 2 h 11
    min. Set the times for the socket; the sysctls change them for all programs that turn keepalive on.
    """
    timers, seconds = snapshot.timers, snapshot.timers.vanished_peer_noticed_after_seconds
    if seconds is not None and seconds >= 3600:
        sum_ = f"{timers.keepalive_time_seconds} + {timers.keepalive_probes} x {timers.keepalive_intvl_seconds} s"
        times = "net.ipv4.tcp_keepalive_time=300 net.ipv4.tcp_keepalive_intvl=15 net.ipv4.tcp_keepalive_probes=4"
        advice = (
            "give the socket its own: options=[safeconnect.KeepAlive.detecting(within=60)]",
            f"or for all that turn keepalive on, {sysctl(times)}",
        )
        yield Case(f"{duration(seconds)} ({sum_}), and never without keepalive", advice)


@rule("data-timeout-long", "Data that nobody acknowledges is given up late", "info")
def data_timeout(snapshot: Snapshot) -> Iterator[Case]:
    """Where the peer vanishes while data is under way, the kernel sends it again net.ipv4.tcp_retries2 times before it
    gives up: at 15, after 924.6 s at least. TCP_USER_TIMEOUT sets the time for one socket.
    """
    seconds = snapshot.timers.unacknowledged_data_given_up_after_seconds
    if seconds is not None and seconds >= 300:
        detail = f"after {duration(seconds)} at least (net.ipv4.tcp_retries2 is {snapshot.timers.retries2})"
        yield Case(detail, ("give the socket a time: options=[safeconnect.UserTimeout(30)]",))


@rule("connect-timeout-long", "A connect without a timeout waits long for an answer", "info")
def connect_timeout(snapshot: Snapshot) -> Iterator[Case]:
    """A connect that nobody answers sends its SYN again net.ipv4.tcp_syn_retries times before it fails: for each
    address, and where the program sets no timeout of its own. With 6 retries that is 127 s, and 131 s since Linux 6.5.
    """
    seconds = snapshot.timers.unanswered_connect_given_up_after_seconds
    if seconds is not None and seconds >= 60:
        detail = f"{duration(seconds)} for each address (net.ipv4.tcp_syn_retries is {snapshot.timers.syn_retries})"
        yield Case(detail, ("always give a timeout: safeconnect.create_connection(address, timeout=5)",))


@rule("range-parity", "The ends of the range of source ports have the same parity", "info")
def parity(snapshot: Snapshot) -> Iterator[Case]:
    """connect() takes ports of the first one's parity, bind() those of the other: the kernel wants ends of different
    parity, so that both have as many. Only in a small range does it matter.
    """
    first, last = snapshot.source_ports.first, snapshot.source_ports.last
    is_linux = snapshot.source_ports.preferred_parity is not None
    if is_linux and first is not None and last is not None and first != last and first % 2 == last % 2:
        yield Case(f"the range is {first}-{last}", (sysctl(f'net.ipv4.ip_local_port_range="{first} {last - 1}"'),))


@rule("tw-reuse-off", "Ports in TIME_WAIT are not used again", "info")
def tw_reuse_off(snapshot: Snapshot) -> Iterator[Case]:
    """With net.ipv4.tcp_tw_reuse = 0 each connection that this machine closes first blocks its source port toward that
    destination for 60 s. The default, 2, lets connects over loopback have it after 1 s; 1 lets all, where both sides
    send timestamps.
    """
    if snapshot.timers.tw_reuse == 0:
        yield Case("net.ipv4.tcp_tw_reuse is 0", (sysctl("net.ipv4.tcp_tw_reuse=2"),))


@rule("no-per-socket-range", "The kernel lacks the option by which self-connects are prevented", "info")
def no_option(snapshot: Snapshot) -> Iterator[Case]:
    """Without IP_LOCAL_PORT_RANGE (Linux 6.3, stable 6.1.32) safeconnect cannot keep the target's port out of the
    choice of source ports. It then detects a connection to itself, resets it, and tries again. Sandboxes may lack it
    on any kernel (gVisor, seccomp filters).
    """
    if snapshot.source_ports.per_socket_range is False:
        host = snapshot.host
        advice = ("Linux 6.3 and later have it, and 6.1.32 and later",) if host.platform == "linux" else ()
        kernel = f"this kernel ({host.platform}, {host.release})"
        yield Case(f"IP_LOCAL_PORT_RANGE is not supported by {kernel}: self-connects are detected", advice)


@rule("user-namespaces-off", "Programs may not have namespaces of their own", "info")
def user_namespaces_off(snapshot: Snapshot) -> Iterator[Case]:
    """`exposed_host` and `dead_peer` of safeconnect.testing need user and network namespaces, and tests that use them
    are skipped here. Connects do not need them.
    """
    host = snapshot.host
    if host.user_namespaces is False and host.platform == "linux":
        advice = (
            "on Ubuntu, " + sysctl("kernel.apparmor_restrict_unprivileged_userns=0"),
            "on Debian, " + sysctl("kernel.unprivileged_userns_clone=1"),
            "on Red Hat's, " + sysctl("user.max_user_namespaces=10000"),
            "in a container, allow unshare(2) and setns(2), and let /proc/sys be writable",
        )
        yield Case(host.no_user_namespaces_because or "they are not allowed", advice)

"""Rules about the machine: its patience, its limits, its names."""

from __future__ import annotations

from .findings import Case, rule
from .wording import sysctl, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..typing import Severity
    from .facts import Lookup, Snapshot

_LOOPBACK = ("127.", "::1")
_HOUR = 3600.0
_MINUTE = 60.0
_LONG_DATA = 300.0
_FEW_DESCRIPTORS = 1024
_HARDLY = 16
_TRACKED = (0.99, 0.8)  # full, filling
_SLOW_LOOKUP = 1.0
_SLOW_AAAA = 0.25  # as long as a race of addresses waits for the first one (RFC 8305)
_TIMES_SLOWER = 5


@rule("keepalive-default", "Keepalive notices a vanished peer only after hours", "info")
def keepalive_default(snapshot: Snapshot) -> Iterator[Case]:
    """A peer that vanishes (power cut, cable, a firewall that forgot) sends no sign. An idle connection without
    keepalive never notices; with keepalive and the kernel's times, 7200 s and 9 probes 75 s apart, it takes 2 h 11
    min. Set the times for the socket; the sysctls change them for all programs that turn keepalive on.
    """
    seconds = snapshot.timers.vanished_peer_noticed_after_seconds
    if seconds is not None and seconds >= _HOUR:
        timers = snapshot.timers
        sum_ = f"{timers.keepalive_time_seconds} + {timers.keepalive_probes} x {timers.keepalive_intvl_seconds} s"
        times = "net.ipv4.tcp_keepalive_time=300 net.ipv4.tcp_keepalive_intvl=15 net.ipv4.tcp_keepalive_probes=4"
        advice = (
            "give the socket its own: options=[safeconnect.KeepAlive.detecting(within=60)]",
            f"or for all that turn keepalive on, {sysctl(times)}",
        )
        yield Case(f"{time(seconds)} ({sum_}), and never without keepalive", advice)


@rule("data-timeout-long", "Data that nobody acknowledges is given up late", "info")
def data_timeout(snapshot: Snapshot) -> Iterator[Case]:
    """Where the peer vanishes while data is under way, the kernel sends it again net.ipv4.tcp_retries2 times before it
    gives up: at 15, after 924.6 s at least. TCP_USER_TIMEOUT sets the time for one socket.
    """
    seconds = snapshot.timers.unacknowledged_data_given_up_after_seconds
    if seconds is not None and seconds >= _LONG_DATA:
        detail = f"after {time(seconds)} at least (net.ipv4.tcp_retries2 is {snapshot.timers.retries2})"
        yield Case(detail, ("give the socket a time: options=[safeconnect.UserTimeout(30)]",))


@rule("connect-timeout-long", "A connect without a timeout waits long for an answer", "info")
def connect_timeout(snapshot: Snapshot) -> Iterator[Case]:
    """A connect that nobody answers sends its SYN again net.ipv4.tcp_syn_retries times before it fails: for each
    address, and where the program sets no timeout of its own. With 6 retries that is 127 s, and 131 s since Linux 6.5.
    """
    seconds = snapshot.timers.unanswered_connect_given_up_after_seconds
    if seconds is not None and seconds >= _MINUTE:
        detail = f"{time(seconds)} for each address (net.ipv4.tcp_syn_retries is {snapshot.timers.syn_retries})"
        yield Case(detail, ("always give a timeout: safeconnect.create_connection(address, timeout=5)",))


@rule("descriptors-few", "A process may have few sockets open", "warning")
def descriptors(snapshot: Snapshot) -> Iterator[Case]:
    """Each connection takes a descriptor; beyond the limit connect fails with EMFILE. The limit is the process's, and
    inherited: this one's may differ from a service's.
    """
    limit = snapshot.host.descriptors
    if limit is not None and limit < _FEW_DESCRIPTORS:
        most = snapshot.host.descriptors_at_most
        to = 65536 if most is None else min(most, 65536)
        advice = (f"ulimit -n {to}",) if to > limit else ("raise the hard limit: LimitNOFILE= of the systemd unit",)
        yield Case(f"{limit} descriptors (RLIMIT_NOFILE)", advice)


@rule("descriptors-exhausted", "This process has hardly a descriptor left", "error", "warning")
def descriptors_exhausted(snapshot: Snapshot) -> Iterator[Case]:
    """Without a free descriptor connect fails with EMFILE: an error. With a few, a race of addresses, a lookup or a
    look at /proc may: a warning below 16. What takes more of them could not be found out here, and shows as not told.
    """
    free = snapshot.host.descriptors_free
    if free is not None and free < _HARDLY:
        advice = ("close what is open, or see what holds it: ls -l /proc/self/fd", "or raise the limit: ulimit -n")
        severity: Severity = "warning" if free else "error"
        yield Case(f"{free} free of {snapshot.host.descriptors} (RLIMIT_NOFILE)", advice, severity)


@rule("connection-tracking-full", "The packet filter's table of connections is full", "error", "warning")
def tracking(snapshot: Snapshot) -> Iterator[Case]:
    """The packet filter remembers every connection (nf_conntrack); beyond nf_conntrack_max it drops the packets of new
    ones, and connects time out. A warning from 80 % on. Raise the maximum, or do not track what needs no tracking.
    """
    count, most = snapshot.host.tracked_connections, snapshot.host.tracked_connections_at_most
    full, much = _TRACKED
    if count is not None and most and count / most >= much:
        advice = (sysctl(f"net.netfilter.nf_conntrack_max={2 * most}"),)
        severity: Severity = "error" if count / most >= full else "warning"
        yield Case(f"{count} of {most} connections", advice, severity)


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


@rule("ipv6-loopback-missing", "localhost stands for ::1, which this machine lacks", "warning", "info")
def ipv6_loopback(snapshot: Snapshot) -> Iterator[Case]:
    """IPv6 is off on lo, and the hosts file names ::1 all the same. Connects to localhost try it in vain; where it
    comes first, programs that try one address only fail. An info where it comes later.
    """
    lookup = snapshot.names.localhost
    if snapshot.names.ipv6_loopback is False and lookup and "::1" in lookup.addresses:
        addresses = lookup.addresses
        advice = [f"connect to {each}" for each in addresses if each != "::1"][:1]
        if snapshot.host.platform == "linux":
            advice += ["or turn it on, " + sysctl("net.ipv6.conf.lo.disable_ipv6=0")]
        advice += ["or take ::1 localhost out of the hosts file"]
        severity: Severity = "warning" if addresses[0] == "::1" else "info"
        yield Case(f"localhost is {', '.join(addresses)}", tuple(advice), severity)


@rule("localhost-elsewhere", "localhost does not stand for this machine", "warning")
def localhost(snapshot: Snapshot) -> Iterator[Case]:
    """The name localhost cannot be looked up, or has an address that is no loopback address: connects to it fail, or
    leave the machine. Mend the hosts file.
    """
    lookup = snapshot.names.localhost
    if lookup is None:
        return
    advice = ("have the lines 127.0.0.1 localhost and ::1 localhost in the hosts file",)
    strange = [each for each in lookup.addresses if not each.startswith(_LOOPBACK)]
    if strange:
        yield Case(f"localhost is {', '.join(lookup.addresses)}", advice)
    elif not lookup.addresses:
        yield Case(f"localhost cannot be looked up: {lookup.error}", advice)


@rule("lookup-slow", "Looking names up takes long", "warning")
def lookup_slow(snapshot: Snapshot) -> Iterator[Case]:
    """A lookup took a second or more: a name server does not answer and the next one is asked after 5 s, or there is
    none. See which servers /etc/resolv.conf names, and whether each answers. safeconnect's timeout covers lookups.
    """
    for lookup in snapshot.names.lookups:
        if lookup.seconds >= _SLOW_LOOKUP:
            yield Case(_looked_up(lookup), _resolver_advice(lookup))


@rule("aaaa-lookup-slow", "IPv6 addresses take longer to look up than IPv4 ones", "warning")
def aaaa_slow(snapshot: Snapshot) -> Iterator[Case]:
    """Some name servers answer for A at once and let AAAA run out, and a connect waits for both. Look both up apart,
    so that the answer that is there can be used.
    """
    by = {lookup.family: lookup for lookup in snapshot.names.lookups}
    a, aaaa = by.get("IPv4"), by.get("IPv6")
    if a and aaaa and aaaa.seconds >= max(_SLOW_AAAA, _TIMES_SLOWER * a.seconds):
        advice = ("look both up apart: safeconnect.create_connection(address, timeout=5, resolution_delay=0.05)",)
        yield Case(f"{_looked_up(aaaa)}, against {time(a.seconds)} for IPv4", advice)


def _looked_up(lookup: Lookup) -> str:
    ended = f" and failed ({lookup.error})" if lookup.failure else ""
    return f"the lookup of {lookup.name}, {lookup.family}, took {time(lookup.seconds)}{ended}"


def _resolver_advice(lookup: Lookup) -> tuple[str, ...]:
    return (
        "see which name servers /etc/resolv.conf names, and ask each: dig @SERVER " + lookup.name,
        "or put the name into the hosts file",
    )

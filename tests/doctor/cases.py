"""For each rule of the doctor: snapshots that it speaks of, with words that it must say, and ones it passes over."""

from dataclasses import replace

from safeconnect.doctor.facts import (
    ClosedFirst,
    Exposed,
    Holder,
    Holding,
    Host,
    Listening,
    Lookup,
    Names,
    Owner,
    SourcePorts,
    Table,
    Timers,
)

from .snapshots import FULL, SERVER, attempt, busy, change, target

NOTHING = change(
    host=Host("sunos5", "11"),
    source_ports=SourcePorts(),
    timers=Timers(),
    listening=Listening(),
    names=Names(),
    table=None,
)

UNKNOWN = Lookup("db", "both", 0.01, (), "unknown", "Name or service not known")
EMPTY = Lookup("db", "both", 0.01, (), "no-address", "No address")
HANGS = Lookup("db", "both", 3.0, (), "timed-out", "no answer in 3 s")
EXPOSED = Exposed("exposed", prevented=False, told="127.0.0.1:40000 is exposed", advice=("move it",))
PREVENTED = Exposed("other-parity", prevented=True, told="127.0.0.1:40001 is exposed", advice=("move it",))
SAFE = Exposed("reserved", prevented=True, told="127.0.0.1:40000 is not exposed")

OWN = attempt("refused", "127.0.0.1", own=True)
SILENT = attempt("silent", "127.0.0.1", 3.0, own=True)
ME = (Owner(7, "python"),)
ITSELF = Holding(("127.0.0.1", 80), "ESTABLISHED", ("127.0.0.1", 80), ME)
ITSELF_BEFORE = Holding(("127.0.0.1", 80), "TIME_WAIT", ("127.0.0.1", 80))
ELSEWHERE = Holding(("192.0.2.9", 80), "ESTABLISHED", ("192.0.2.1", 443), ME)
ACCEPTED = Holding(("127.0.0.1", 80), "TIME_WAIT", ("127.0.0.1", 40000), (), 12)

CONNECTED = attempt("connected", "192.0.2.2")


def ports(first, last, reserved="", usable=None):
    found = {"first": first, "last": last, "reserved": reserved, "preferred_parity": ("even", "odd")[first % 2]}
    return change(source_ports=found | {"usable": last - first + 1 if usable is None else usable})


def listeners(*found, **parts):
    return change(listening={"listeners": found}, **parts)


def at(port):
    return type(SERVER)("0.0.0.0", port, 0, 128)


def names(*lookups, **parts):
    return change(names={"lookups": lookups} | parts)


def looked_up(family, seconds, failure=None):
    return Lookup("here", family, seconds, () if failure else ("192.0.2.1",), failure, failure)


def close_wait(count, *holders):
    return change(table=Table({"CLOSE_WAIT": count}, holders))


def closed_first(*counts, **listening):
    return change(
        table=Table({}, closed_first=tuple(ClosedFirst(SERVER, count) for count in counts)), listening=listening
    )


def held(*holdings, refused=None, **parts):
    return target(OWN if refused is None else refused, listeners=(), held=holdings, **parts)


def localhost(*addresses, **parts):
    return change(names={"localhost": Lookup("localhost", "both", 0.0, addresses, error="no such name")} | parts)


# The rule, what it is to say (severity, and words of detail and advice), of which snapshot.
FOUND = [
    ("target-unknown", "error", ["db: Name or service not known", "getent ahosts db"], target(lookup=UNKNOWN)),
    ("target-unknown", "error", ["No address"], target(lookup=EMPTY)),
    ("target-lookup-failed", "error", ["no answer in 3 s", "dig @SERVER db"], target(lookup=HANGS)),
    ("target-refused", "error", ["192.0.2.1:80: the host is up", "ss -ltn"], target(attempt("refused"))),
    ("target-refused", "error", ["nobody on this machine listens on port 80"], target(OWN, listeners=())),
    ("target-refused", "error", ["nobody on this machine"], target(attempt("met-itself", "::1", own=True))),
    ("target-refused", "error", ["127.0.0.1:80"], target(OWN, attempt("refused", "::1", own=True), listeners=())),
    (
        "target-refused",
        "error",
        ["0.0.0.0:80 listens there, so a packet filter rejects", "nft list ruleset"],
        target(OWN, listeners=(at(80),)),
    ),
    (
        "target-refused",
        "error",
        ["[::]:80 listens there", "or it takes IPv6 only", "IPV6_V6ONLY"],
        target(OWN, listeners=(type(SERVER)("::", 80),)),
    ),
    (
        "target-refused",
        "error",
        ["127.0.0.1:8080 of python (process 7) does", "connect to 127.0.0.1:80"],
        target(attempt("refused", "::1", own=True), listeners=(SERVER,)),
    ),
    ("target-refused", "warning", ["192.0.2.1:80"], target(attempt("refused"), CONNECTED)),
    ("target-refused", "error", ["something has that port still", "see the findings about the port"], held(ITSELF)),
    (
        "target-port-held",
        "error",
        ["port 80 is held by python (process 7), ESTABLISHED, connected to itself (127.0.0.1:80): end it", "kill 7"],
        held(ITSELF),
    ),
    ("target-port-held", "error", ["connected to itself", "ss -tanp"], held(replace(ITSELF, owners=()))),
    (
        "target-port-held",
        "warning",
        ["port 80 is held by python (process 7), ESTABLISHED, connected to 192.0.2.1:443", "SO_REUSEADDR", "kill 7"],
        held(ELSEWHERE),
    ),
    (
        "target-port-in-time-wait",
        "error",
        ["port 80 is in TIME_WAIT for up to 60 s, once connected to itself (127.0.0.1:80)", "wait, at most 60 s"],
        held(ITSELF_BEFORE),
    ),
    (
        "target-port-in-time-wait",
        "warning",
        ["port 80 is in TIME_WAIT for up to 60 s (12 times) (127.0.0.1:80)", "set SO_REUSEADDR on the server"],
        held(ACCEPTED),
    ),
    ("target-silent", "error", ["192.0.2.1:80: no answer in 3 s", "traceroute -T -p 80 db"], target(attempt("silent"))),
    ("target-silent", "error", ["127.0.0.1:80", "nft list ruleset"], target(SILENT, listeners=(SERVER,))),
    (
        "target-silent",
        "error",
        ["127.0.0.1:8080 of python (process 7) has a full accept queue", "accepts too slowly"],
        target(SILENT, listeners=(FULL,)),
    ),
    ("target-silent", "warning", ["192.0.2.1:80"], target(attempt("silent"), CONNECTED)),
    (
        "target-unreachable",
        "error",
        ["192.0.2.1:80: the kernel says unreachable", "ip route get 192.0.2.1"],
        target(attempt("unreachable")),
    ),
    (
        "target-unreachable",
        "warning",
        ["[2001:db8::1]:80", "ip -6"],
        target(attempt("unreachable", "2001:db8::1"), CONNECTED),
    ),
    ("target-failed", "error", ["192.0.2.1:80: the kernel says failed"], target(attempt("failed"))),
    ("target-failed", "error", ["SourcePool", "dport = :80"], target(attempt("no-source-port"))),
    ("target-failed", "warning", ["192.0.2.1:80"], target(attempt("failed"), CONNECTED)),
    ("target-slow", "warning", ["192.0.2.1:80 after 1.04 s"], target(attempt("connected", seconds=1.04))),
    ("target-exposed", "warning", ["127.0.0.1:40000 is exposed", "move it"], target(OWN, exposed=EXPOSED)),
    ("target-exposed", "info", ["127.0.0.1:40001 is exposed"], target(OWN, exposed=PREVENTED)),
    ("target-answers", "ok", ["192.0.2.2:80 after 1 ms"], target(attempt("refused"), CONNECTED)),
    (
        "source-ports-exhausted",
        "error",
        ["28000 of 28232 source ports from 192.0.2.9 to 192.0.2.1:80 are taken (99 %)", "SourcePool", "ss -tn dst"],
        busy(28000),
    ),
    (
        "source-ports-exhausted",
        "error",
        ["tcp_tw_reuse=1", "28000 of them are in TIME_WAIT"],
        busy(28232, in_time_wait=28000),
    ),
    ("source-ports-exhausted", "error", ["0 of 0 source ports"], busy(0, available=0)),
    ("source-ports-exhausted", "error", ["[2001:db8::1]:80"], busy(28232, peer="2001:db8::1")),
    (
        "source-ports-exhausted",
        "error",
        ['or widen the range, as root: sysctl -w net.ipv4.ip_local_port_range="32768 60999"'],
        busy(99, available=100, source_ports={"usable": 100, "first": 40000, "last": 40099}),
    ),
    ("source-ports-filling", "warning", ["15000 of 28232", "(53 %)", "by safeconnect"], busy(15000)),
    ("source-ports-filling", "warning", ["20000 of 28232"], busy(20000, in_time_wait=1000)),
    (
        "range-tiny",
        "error",
        ["4 ports to choose from: 40000-40003", 'ip_local_port_range="32768 60999"'],
        ports(40000, 40003),
    ),
    ("range-tiny", "error", ["0 ports", "less the reserved ports 40000-40099"], ports(40000, 40099, "40000-40099", 0)),
    ("range-small", "warning", ["64 ports", "1 new connections a second"], ports(40000, 40063)),
    ("range-small", "warning", ["4095 ports", "68 new connections a second"], ports(40000, 44094)),
    ("range-covers-servers", "warning", ["holds 1433, 1521", "ip_local_reserved_ports=1433,1521,"], ports(1024, 60999)),
    ("range-covers-servers", "warning", ["holds 27017", "ip_local_reserved_ports=7,27017"], ports(27001, 60999, "7")),
    (
        "listener-in-range",
        "warning",
        ["0.0.0.0:40000", "ip_local_reserved_ports=40000"],
        listeners(at(40000), at(40001)),
    ),
    ("listener-in-range", "info", ["0.0.0.0:40001", "below 32768"], listeners(at(40001))),
    ("listener-in-range", "warning", ["and 1 more"], listeners(*map(at, range(40000, 40012, 2)))),
    (
        "listener-in-range",
        "warning",
        ["0.0.0.0:50001", "startport=50001"],
        listeners(at(50001), host={"platform": "win32"}, source_ports={"preferred_parity": None}),
    ),
    (
        "connection-tracking-full",
        "error",
        ["262144 of 262144", "nf_conntrack_max=524288"],
        change(host={"tracked_connections": 262144}),
    ),
    (
        "connection-tracking-full",
        "warning",
        ["80 of 100"],
        change(host={"tracked_connections": 80, "tracked_connections_at_most": 100}),
    ),
    ("descriptors-exhausted", "warning", ["15 free of 20000"], change(host={"descriptors_free": 15})),
    ("descriptors-exhausted", "error", ["0 free of 20000", "ulimit"], change(host={"descriptors_free": 0})),
    ("descriptors-few", "warning", ["256 descriptors", "ulimit -n 20000"], change(host={"descriptors": 256})),
    ("descriptors-few", "warning", ["ulimit -n 65536"], change(host={"descriptors": 256, "descriptors_at_most": None})),
    ("descriptors-few", "warning", ["LimitNOFILE="], change(host={"descriptors": 256, "descriptors_at_most": 256})),
    ("localhost-elsewhere", "warning", ["127.0.0.1, 192.0.2.5", "hosts file"], localhost("127.0.0.1", "192.0.2.5")),
    ("localhost-elsewhere", "warning", ["cannot be looked up: no such name"], localhost()),
    (
        "ipv6-loopback-missing",
        "warning",
        ["::1, 127.0.0.1", "disable_ipv6=0"],
        localhost("::1", "127.0.0.1", ipv6_loopback=False),
    ),
    ("ipv6-loopback-missing", "info", ["connect to 127.0.0.1"], localhost("127.0.0.1", "::1", ipv6_loopback=False)),
    ("lookup-slow", "warning", ["here, IPv4, took 5.01 s", "dig @SERVER here"], names(looked_up("IPv4", 5.01))),
    ("lookup-slow", "warning", ["took 3 s and failed (timed-out)"], names(looked_up("IPv4", 3.0, "timed-out"))),
    (
        "aaaa-lookup-slow",
        "warning",
        ["took 250 ms", "1 ms for IPv4", "resolution_delay=0.05"],
        names(looked_up("IPv6", 0.25), looked_up("IPv4", 0.001)),
    ),
    (
        "accept-queue-full",
        "warning",
        ["127.0.0.1:8080 of python (process 7), where 129 wait by a backlog of 128"],
        listeners(FULL),
    ),
    (
        "listen-overflows",
        "warning",
        ["5 met a full accept queue; listeners have lost 7", "nstat"],
        change(listening={"overflows": 5, "drops": 7}),
    ),
    ("listen-overflows", "warning", ["5 met a full accept queue"], change(listening={"overflows": 5, "drops": None})),
    ("abort-on-overflow", "warning", ["tcp_abort_on_overflow=0"], change(listening={"abort_on_overflow": True})),
    ("somaxconn-small", "warning", ["is 128", "somaxconn=4096"], change(listening={"somaxconn": 128})),
    (
        "syn-backlog-small",
        "warning",
        ["is 127", "tcp_max_syn_backlog=2048"],
        change(listening={"max_syn_backlog": 127, "syncookies": 0}),
    ),
    ("syncookies-off", "warning", ["tcp_syncookies=1"], change(listening={"syncookies": 0})),
    (
        "close-wait-piling-up",
        "warning",
        ["50 connections", "python (process 7) has 40", "peer_closed"],
        close_wait(50, Holder(Owner(7, "python"), 40), Holder(None, 10)),
    ),
    (
        "time-wait-at-server",
        "warning",
        [
            "127.0.0.1:8080 of python (process 7) has 1000 connections in TIME_WAIT",
            "tcp_max_tw_buckets lets 65536 be so in all",
            "let the client close first",
        ],
        closed_first(1000, 5),
    ),
    ("time-wait-at-server", "warning", ["has 3000 connections"], closed_first(3000, max_tw_buckets=None)),
    (
        "keepalive-default",
        "info",
        ["2 h 11 min (7200 + 9 x 75 s)", "KeepAlive.detecting"],
        change(timers={"keepalive_time_seconds": 7200, "keepalive_intvl_seconds": 75, "keepalive_probes": 9}),
    ),
    ("data-timeout-long", "info", ["15 min 25 s", "UserTimeout(30)"], change(timers={"retries2": 15})),
    ("connect-timeout-long", "info", ["2 min 11 s", "timeout=5"], change(timers={"syn_retries": 6})),
    ("connect-timeout-long", "info", ["2 min 7 s"], change(timers={"syn_retries": 6, "syn_linear_timeouts": None})),
    ("range-parity", "info", ["32768-61000", 'ip_local_port_range="32768 60999"'], ports(32768, 61000)),
    ("tw-reuse-off", "info", ["tcp_tw_reuse=2"], change(timers={"tw_reuse": 0})),
    ("no-per-socket-range", "info", ["linux, 6.18", "6.3 and later"], change(source_ports={"per_socket_range": False})),
    (
        "user-namespaces-off",
        "info",
        ["not allowed", "kernel.apparmor_restrict_unprivileged_userns=0"],
        change(host={"user_namespaces": False}),
    ),
    (
        "user-namespaces-off",
        "info",
        ["EPERM"],
        change(host={"user_namespaces": False, "no_user_namespaces_because": "EPERM"}),
    ),
]

# What lies just beside it.
PASSED_OVER = [
    ("target-unknown", target(lookup=HANGS)),
    ("target-lookup-failed", target(lookup=UNKNOWN)),
    ("target-lookup-failed", target(CONNECTED)),
    ("target-refused", target(attempt("silent"))),
    ("target-port-held", held(ITSELF_BEFORE, ACCEPTED)),
    ("target-port-held", held()),
    ("target-port-in-time-wait", held(ITSELF, ELSEWHERE)),
    ("target-silent", target(attempt("refused"))),
    ("target-unreachable", target(attempt("failed"))),
    ("target-failed", target(attempt("unreachable"))),
    ("target-slow", target(attempt("connected", seconds=0.9))),
    ("target-slow", target(attempt("silent", seconds=3.0))),
    ("target-exposed", target(OWN, exposed=SAFE)),
    ("target-answers", target(attempt("refused"))),
    ("source-ports-exhausted", busy(27000)),
    ("source-ports-exhausted", busy(28232, in_time_wait=28000, peer="127.0.0.1")),  # they can be used again
    ("source-ports-exhausted", busy(28232, in_time_wait=28000, peer="::1")),
    ("source-ports-exhausted", busy(28232, in_time_wait=28000, timers={"tw_reuse": 1})),
    ("source-ports-filling", busy(14116)),
    ("source-ports-filling", busy(28232)),
    ("source-ports-filling", busy(20000, in_time_wait=10000, timers={"tw_reuse": 1})),
    ("range-tiny", ports(40000, 40063)),
    ("range-small", ports(40000, 40062)),
    ("range-small", ports(40000, 44095)),
    ("range-covers-servers", ports(27018, 60999)),
    ("range-covers-servers", ports(27016, 60999, "27017")),
    ("listener-in-range", listeners(at(32767), at(61000))),
    ("listener-in-range", listeners(at(40000), source_ports={"reserved": "40000"})),
    ("connection-tracking-full", change(host={"tracked_connections": 79, "tracked_connections_at_most": 100})),
    ("connection-tracking-full", change(host={"tracked_connections": 0, "tracked_connections_at_most": 0})),
    ("descriptors-exhausted", change(host={"descriptors_free": 16})),
    ("descriptors-exhausted", change(host={"descriptors_free": None})),
    ("descriptors-few", change(host={"descriptors": 1024})),
    ("descriptors-few", change(host={"descriptors": None})),
    ("localhost-elsewhere", localhost("127.0.1.1", "::1")),
    ("ipv6-loopback-missing", localhost("127.0.0.1", ipv6_loopback=False)),
    ("lookup-slow", names(looked_up("IPv4", 0.99))),
    ("aaaa-lookup-slow", names(looked_up("IPv6", 0.24), looked_up("IPv4", 0.001))),
    ("aaaa-lookup-slow", names(looked_up("IPv6", 0.3), looked_up("IPv4", 0.1))),
    ("aaaa-lookup-slow", names(looked_up("IPv6", 3.0))),
    ("accept-queue-full", listeners(type(SERVER)("::", 80, 128, 128), type(SERVER)("::", 80, 128, None))),
    ("listen-overflows", change(listening={"overflows": 0, "drops": 5})),
    ("abort-on-overflow", change(listening={"abort_on_overflow": None})),
    ("somaxconn-small", change(listening={"somaxconn": 129})),
    ("syn-backlog-small", change(listening={"max_syn_backlog": 128, "syncookies": 0})),
    ("syn-backlog-small", change(listening={"max_syn_backlog": 16})),
    ("syncookies-off", change(listening={"syncookies": 2})),
    ("close-wait-piling-up", close_wait(49)),
    ("time-wait-at-server", closed_first(999, 999)),
    ("keepalive-default", change(timers={"keepalive_time_seconds": 3539})),  # + 4 x 15 s
    ("data-timeout-long", change(timers={"retries2": 9})),  # 204.6 s; 10 are 324.6 s
    ("connect-timeout-long", change(timers={"syn_retries": 4})),  # 35 s; 5 are 67 s
    ("range-parity", ports(32767, 61000)),
    ("range-parity", ports(40000, 40000)),
    ("tw-reuse-off", change(timers={"tw_reuse": 1})),
    ("no-per-socket-range", change(source_ports={"per_socket_range": None})),
    ("user-namespaces-off", change(host={"user_namespaces": False, "platform": "darwin"})),
]

"""Every fact about this machine, against its source, read here in another way than `gather` reads it."""

import dataclasses
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from safeconnect.doctor import facts, gather
from safeconnect.testing import namespaces_unavailable

from .. import support
from ..support import linux_only

pytestmark = linux_only


@pytest.fixture(scope="module")
def snapshot():
    return gather()


def sysctl(name):
    """A setting as the kernel prints it; None where this kernel has no such thing."""
    path = Path("/proc/sys", *name.split("."))
    return path.read_text().strip() if path.exists() else None


def number(name):
    text = sysctl(name)
    return None if text is None else int(text)


def in_range_and_not_reserved():
    first, last = map(int, sysctl("net.ipv4.ip_local_port_range").split())
    reserved = set()
    for part in filter(None, sysctl("net.ipv4.ip_local_reserved_ports").split(",")):
        low, _, high = part.partition("-")
        reserved |= set(range(int(low), int(high or low) + 1))
    return len(set(range(first, last + 1)) - reserved)


def has_port_range():
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, support.IP_LOCAL_PORT_RANGE, 0)
        except OSError:
            return False
    return True


def limit(which):
    import resource  # on Windows, where these tests are skipped, there is none

    value = resource.getrlimit(resource.RLIMIT_NOFILE)[which]
    return None if value == resource.RLIM_INFINITY else value


def rto_max():
    milliseconds = number("net.ipv4.tcp_rto_max_ms")
    return None if milliseconds is None else milliseconds / 1000


TIMERS = {
    "keepalive_time_seconds": "tcp_keepalive_time",
    "keepalive_intvl_seconds": "tcp_keepalive_intvl",
    "keepalive_probes": "tcp_keepalive_probes",
    "retries1": "tcp_retries1",
    "retries2": "tcp_retries2",
    "syn_retries": "tcp_syn_retries",
    "syn_linear_timeouts": "tcp_syn_linear_timeouts",
    "synack_retries": "tcp_synack_retries",
    "fin_timeout_seconds": "tcp_fin_timeout",
    "tw_reuse": "tcp_tw_reuse",
}

SOURCES = {
    "host": {
        "platform": lambda: sys.platform,
        "release": lambda: os.uname().release,
        "user_namespaces": lambda: namespaces_unavailable() is None,
        "no_user_namespaces_because": namespaces_unavailable,
        "descriptors": lambda: limit(0),
        "descriptors_at_most": lambda: limit(1),
        "tracked_connections_at_most": lambda: number("net.netfilter.nf_conntrack_max"),
    },
    "source_ports": {
        "first": lambda: int(sysctl("net.ipv4.ip_local_port_range").split()[0]),
        "last": lambda: int(sysctl("net.ipv4.ip_local_port_range").split()[1]),
        "reserved": lambda: sysctl("net.ipv4.ip_local_reserved_ports"),
        "usable": in_range_and_not_reserved,
        "preferred_parity": lambda: "odd" if int(sysctl("net.ipv4.ip_local_port_range").split()[0]) % 2 else "even",
        "per_socket_range": has_port_range,
    },
    "timers": {name: lambda source=source: number(f"net.ipv4.{source}") for name, source in TIMERS.items()}
    | {"rto_max_seconds": rto_max},
    "listening": {
        "somaxconn": lambda: number("net.core.somaxconn"),
        "max_syn_backlog": lambda: number("net.ipv4.tcp_max_syn_backlog"),
        "abort_on_overflow": lambda: number("net.ipv4.tcp_abort_on_overflow") == 1,
        "syncookies": lambda: number("net.ipv4.tcp_syncookies"),
        "max_tw_buckets": lambda: number("net.ipv4.tcp_max_tw_buckets"),
    },
    "names": {"ipv6_loopback": support.has_ipv6},
}

# These change while the tests run; they have tests of their own below, or in a namespace (test_broken).
MOVING = {
    "host": {"tracked_connections", "descriptors_free"},
    "listening": {"overflows", "drops", "listeners"},
    "names": {"localhost", "lookups"},
    "timers": set(),
    "source_ports": set(),
}

KINDS = {
    "host": facts.Host,
    "source_ports": facts.SourcePorts,
    "timers": facts.Timers,
    "listening": facts.Listening,
    "names": facts.Names,
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in SOURCES.items() for name in names])
def test_each_fact_is_what_its_source_says(part, name, snapshot):
    assert getattr(getattr(snapshot, part), name) == SOURCES[part][name]()


@pytest.mark.parametrize("part", KINDS)
def test_no_fact_is_without_a_test(part):
    assert {field.name for field in dataclasses.fields(KINDS[part])} == SOURCES[part].keys() | MOVING[part]


def test_settings_are_those_that_the_sysctl_program_prints(snapshot):
    names = [f"net.ipv4.{name}" for name in TIMERS.values() if sysctl(f"net.ipv4.{name}") is not None]
    try:
        done = subprocess.run(["/sbin/sysctl", "-n", *names], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("the program sysctl (procps) is not installed")
    told = [getattr(snapshot.timers, name) for name in TIMERS]
    assert [value for value in told if value is not None] == list(map(int, done.stdout.split()))


def counter(name):
    """A counter of the kernel's by the column that its name stands in."""
    rows = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines() if line.startswith("TcpExt")]
    return int(rows[1][rows[0].index(name)])


def test_the_kernels_counters():
    before = counter("ListenOverflows"), counter("ListenDrops")
    listening = gather().listening
    after = counter("ListenOverflows"), counter("ListenDrops")
    assert before[0] <= listening.overflows <= after[0]
    assert before[1] <= listening.drops <= after[1]


def test_tracked_connections(snapshot):
    if sysctl("net.netfilter.nf_conntrack_count") is None:
        assert snapshot.host.tracked_connections is None
    else:
        assert 0 <= snapshot.host.tracked_connections <= snapshot.host.tracked_connections_at_most


def test_localhost_is_what_getaddrinfo_says(snapshot):
    found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    assert snapshot.names.localhost.addresses == tuple(dict.fromkeys(row[4][0] for row in found))
    assert snapshot.names.localhost.failure is None
    assert snapshot.names.localhost.seconds >= 0


def test_lookups_are_of_this_hosts_name_for_each_family(snapshot):
    v4, v6 = snapshot.names.lookups
    assert (v4.name, v6.name) == (platform.node(), platform.node())
    for lookup, family in [(v4, socket.AF_INET), (v6, socket.AF_INET6)]:
        try:
            found, error = socket.getaddrinfo(platform.node(), 0, family, socket.SOCK_STREAM), None
        except socket.gaierror as failure:
            found, error = [], failure.strerror
        assert lookup.addresses == tuple(dict.fromkeys(row[4][0] for row in found))
        assert lookup.error == error
        assert bool(lookup.failure) is bool(error)


def test_listeners_with_queue_backlog_and_process():
    with support.listening(backlog=7) as server, socket.create_connection(server.getsockname()) as sock:
        (found,) = [each for each in gather().listening.listeners if each.port == server.getsockname()[1]]
        support.reset(sock)
    me = facts.Owner(os.getpid(), psutil.Process().name())
    assert found == facts.Listener(*server_name(found), waiting=1, backlog=7, processes=(me,))
    assert not found.is_full


def server_name(listener):
    return "127.0.0.1", listener.port


def test_a_full_listener(hole):
    (found,) = [each for each in gather().listening.listeners if each.port == hole[1]]
    assert (found.waiting, found.backlog, found.is_full) == (1, 0, True)


def test_destinations_and_states():
    with support.listening() as server:
        held = [socket.create_connection(server.getsockname()) for _ in range(3)]
        accepted = [server.accept()[0] for _ in held]
        for sock in held:
            sock.close()
        support.wait_until(lambda: support.tcp_sockets(server.getsockname()[1]).count(0x08) == 3)
        table = gather().table
        ours = [each for each in table.close_wait if each.process and each.process.pid == os.getpid()]
        for sock in accepted:
            support.reset(sock)
    assert [each.sockets for each in ours] == [3]
    assert table.states["CLOSE_WAIT"] >= 3
    assert table.states["LISTEN"] >= 1
    assert set(table.states) <= {
        *("LISTEN", "ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2"),
        *("TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "CLOSING"),
    }


class TestDerivedTimes:
    """The arithmetic is tested in test_detection; here, that it is given the right numbers."""

    def test_with_the_usual_settings(self):
        timers = facts.Timers(7200, 75, 9, 3, 15, 120.0, 6, 4, 5, 60, 2)
        assert timers.vanished_peer_noticed_after_seconds == 7875
        assert timers.unacknowledged_data_given_up_after_seconds == 924.6
        assert timers.unanswered_connect_given_up_after_seconds == 131

    def test_before_linux_6_5_and_6_15(self):
        timers = facts.Timers(retries2=8, syn_retries=6)
        assert timers.vanished_peer_noticed_after_seconds is None
        assert timers.unacknowledged_data_given_up_after_seconds == 102.2
        assert timers.unanswered_connect_given_up_after_seconds == 127

    def test_a_shorter_maximum(self):
        timers = facts.Timers(retries2=3, rto_max_seconds=1.0)
        assert timers.unacknowledged_data_given_up_after_seconds == 2.4
        assert timers.unanswered_connect_given_up_after_seconds is None

    def test_they_are_in_the_json(self, snapshot):
        timers = snapshot.as_dict()["timers"]
        assert [name for name in timers if name.endswith("_after_seconds")] == list(facts.Timers.DERIVED)
        assert timers["unanswered_connect_given_up_after_seconds"] > 0

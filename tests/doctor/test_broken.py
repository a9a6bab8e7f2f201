"""Broken environments, each in a network namespace of its own: the doctor finds what is wrong, and nothing else."""

import ast
import gzip
import shutil
import textwrap
from pathlib import Path

import pytest

from .. import namespace

pytestmark = pytest.mark.slow

# What every machine of these tests has, whatever else is done to it: the kernel's defaults.
USUAL = {"keepalive-default", "data-timeout-long", "connect-timeout-long"}
# What a busy machine may show besides.
SLOW = {"lookup-slow", "aaaa-lookup-slow", "target-slow"}

HEAD = """
from pathlib import Path
import socket
from safeconnect.doctor import examine, gathering
gathering._no_user_namespaces_because = lambda: None  # takes a while, and is not what these tests are about

def sysctl(name, value):
    Path("/proc/sys/net", name).write_text(str(value))

def show(target=None, **arguments):
    report = examine(target, **arguments)
    print([(each.code, each.severity, each.detail) for each in report.findings])
    return report
"""


def found_in(code, **arguments):
    """The findings that a script in a namespace shows, by their codes; and its last line."""
    lines = namespace.run(HEAD + textwrap.dedent(code), **arguments).splitlines()
    found = ast.literal_eval(lines[0])
    return {code: (severity, detail) for code, severity, detail in found if code not in USUAL | SLOW}, lines[-1]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        (None, {}),
        ("40000 40003", {"range-tiny": ("error", "connect() has 4 ports to choose from: 40000-40003")}),
        (
            "20000 23000",
            {"range-small": ("warning", " ports to choose from: 20000-23000"), "range-parity": ("info", "")},
        ),
        ("1024 65535", {"range-covers-servers": ("warning", "5432")}),
    ],
)
def test_ranges_of_source_ports(ports, expected):
    found, worst = found_in("print(show().worst)", ports=ports)
    assert {code: severity for code, (severity, _) in found.items()} == {
        code: severity for code, (severity, _) in expected.items()
    }
    assert all(said in found[code][1] for code, (_, said) in expected.items())
    assert (worst == "error") is (ports == "40000 40003")


def test_a_range_that_is_all_reserved():
    code = """
        sysctl("ipv4/ip_local_reserved_ports", "40000-49999")
        print(show(("127.0.0.1", 7)).snapshot.target.attempts[0].outcome)
    """
    found, outcome = found_in(code, ports="40000 49999")
    assert found["range-tiny"] == (
        "error",
        "connect() has 0 ports to choose from: 40000-49999, less the reserved ports 40000-49999",
    )
    assert found["target-failed"][0] == "error"
    assert outcome == "no-source-port"


def test_a_range_over_everything():
    found, _ = found_in("show()", ports="1024 65535")
    assert set(found) == {"range-covers-servers"}
    assert "5432" in found["range-covers-servers"][1]


def test_an_overflowed_accept_queue():
    code = """
        server = socket.socket()
        server.bind(("127.0.0.1", 8080))
        server.listen(0)
        clients = []
        while gathering._listening().overflows == 0:  # the second one's SYN is dropped
            clients.append(socket.socket())
            clients[-1].settimeout(0)
            clients[-1].connect_ex(server.getsockname())
        show(server.getsockname(), timeout=0.2)
        print(len(clients))
    """
    found, clients = found_in(code)
    assert found["listen-overflows"][0] == "warning"
    assert found["accept-queue-full"][0] == "warning"
    assert found["accept-queue-full"][1].endswith("where 1 wait by a backlog of 0")
    severity, detail = found["target-silent"]
    assert severity == "error"
    assert "127.0.0.1:8080: no answer in 200 ms; 127.0.0.1:8080 of " in detail
    assert detail.endswith("has a full accept queue")
    assert set(found) == {"listen-overflows", "accept-queue-full", "target-silent"}
    assert int(clients) >= 2


def test_source_ports_exhausted():
    code = """
        server = socket.create_server(("127.0.0.1", 7), backlog=200)
        held = []
        try:
            while True:
                held.append(socket.create_connection(server.getsockname()))
        except OSError:
            pass
        show(server.getsockname())
        print(len(held))
    """
    found, held = found_in(code, ports="40000 40127")
    assert held == "128"
    assert found["source-ports-exhausted"] == (
        "error",
        "128 of 128 source ports from 127.0.0.1 to 127.0.0.1:7 are taken (100 %)",
    )
    assert found["target-failed"][0] == "error"
    assert "all 128 source ports toward 127.0.0.1:7 are taken" in found["target-failed"][1]
    assert set(found) == {"source-ports-exhausted", "target-failed", "range-small"}


def test_source_ports_half_taken():
    code = """
        server = socket.create_server(("127.0.0.1", 7), backlog=200)
        held = [socket.create_connection(server.getsockname()) for _ in range(65)]
        show()
    """
    found, _ = found_in(code, ports="40000 40127")
    assert found["source-ports-filling"] == (
        "warning",
        "65 of 128 source ports from 127.0.0.1 to 127.0.0.1:7 are taken (51 %)",
    )


def test_source_ports_in_time_wait():
    """They count where the kernel will not use them again, and only there."""
    code = """
        sysctl("ipv4/tcp_tw_reuse", 0)
        server = socket.create_server(("127.0.0.1", 7), backlog=200)
        for _ in range(128):
            client = socket.create_connection(server.getsockname())
            peer = server.accept()[0]
            client.close()
            peer.recv(1)
            peer.close()
        while gathering.gather().table.states.get("TIME_WAIT") != 128:
            pass
        show()
        sysctl("ipv4/tcp_tw_reuse", 1)
        print(sorted(each.code for each in examine().findings))
    """
    found, with_reuse = found_in(code, ports="40000 40127")
    assert found["source-ports-exhausted"] == (
        "error",
        "128 of 128 source ports from 127.0.0.1 to 127.0.0.1:7 are taken (100 %); 128 of them are in TIME_WAIT",
    )
    assert found["tw-reuse-off"][0] == "info"
    assert "source-ports" not in with_reuse


def test_settings_that_lose_connects():
    code = """
        for name, value in {"core/somaxconn": 16, "ipv4/tcp_max_syn_backlog": 16, "ipv4/tcp_abort_on_overflow": 1,
                            "ipv4/tcp_syncookies": 0, "ipv4/tcp_tw_reuse": 0}.items():
            sysctl(name, value)
        show()
    """
    found, _ = found_in(code)
    assert {code: severity for code, (severity, _) in found.items()} == {
        "somaxconn-small": "warning",
        "syn-backlog-small": "warning",
        "abort-on-overflow": "warning",
        "syncookies-off": "warning",
        "tw-reuse-off": "info",
    }


def test_patience_as_advised():
    """What the advice says to write makes the finding go away."""
    code = """
        for each in examine().findings:
            for advice in each.advice:
                line = advice.partition("sysctl -w ")[2].partition(" (and")[0]
                for setting in line.split():
                    name, _, value = setting.partition("=")
                    sysctl(name.removeprefix("net.").replace(".", "/"), value)
        sysctl("ipv4/tcp_retries2", 8)
        sysctl("ipv4/tcp_syn_retries", 3)
        print(*[each.code for each in examine().findings])
    """
    assert set(namespace.run(HEAD + textwrap.dedent(code)).split()) <= SLOW


def test_a_range_widened_as_advised():
    code = """
        sysctl("ipv4/ip_local_reserved_ports", "8000")
        report = show()
        for finding in report.findings:
            if finding.code in ("range-tiny", "listener-in-range"):
                line = finding.advice[0].partition("sysctl -w ")[2].partition(" (and")[0]
                name, _, value = line.partition("=")
                sysctl(name.removeprefix("net.").replace(".", "/"), value.strip('"'))
        print(*{each.code for each in examine().findings})
    """
    found, after = found_in(code, ports="40000 40003")
    assert "range-tiny" in found
    assert set(after.split()) - SLOW == USUAL


def test_a_server_inside_the_range():
    code = """
        servers = [socket.create_server(("0.0.0.0", port)) for port in (40000, 40001, 80)]
        show()
        reserved = next(each for each in examine().findings if each.code == "listener-in-range").advice[1]
        sysctl("ipv4/ip_local_reserved_ports", reserved.partition("reserved_ports=")[2].partition(" ")[0])
        print({each.code: each.severity for each in examine().findings if each.code == "listener-in-range"})
    """
    found, after = found_in(code)
    severity, detail = found["listener-in-range"]
    assert severity == "warning"
    assert detail.startswith("0.0.0.0:40000 of ")
    assert ":40001" not in detail, "connect() takes that parity last"
    assert after == "{'listener-in-range': 'info'}", "40001 is left"


def test_connections_that_are_never_closed():
    code = """
        server = socket.create_server(("127.0.0.1", 80), backlog=200)
        held = []
        for _ in range(50):
            with socket.create_connection(server.getsockname()):
                held.append(server.accept()[0])
        while gathering.gather().table.states.get("CLOSE_WAIT") != 50:
            pass
        show()
    """
    found, _ = found_in(code)
    severity, detail = found["close-wait-piling-up"]
    assert severity == "warning"
    assert detail.startswith("50 connections are in CLOSE_WAIT; ")
    assert detail.endswith(") has 50")


def test_no_way_there():
    found, _ = found_in("show(('192.0.2.77', 80))")
    assert found["target-unreachable"] == ("error", "192.0.2.77:80: Network is unreachable")


def test_no_ipv6_loopback_though_localhost_says_so():
    code = """
        sysctl("ipv6/conf/lo/disable_ipv6", 1)
        plain = socket.getaddrinfo
        def getaddrinfo(host, *rest):
            if host == "localhost":
                return plain("::1", *rest) + plain("127.0.0.1", *rest)
            return plain(host, *rest)
        socket.getaddrinfo = getaddrinfo
        show(("localhost", 80))
    """
    found, _ = found_in(code)
    assert found["ipv6-loopback-missing"] == ("warning", "localhost is ::1, 127.0.0.1")
    assert found["target-unreachable"][1].startswith("[::1]:80: ")
    assert found["target-refused"] == ("error", "127.0.0.1:80: nobody on this machine listens on port 80")


def test_a_target_that_can_only_meet_itself():
    """With the per-socket range there is no source port left; without it the connect meets itself."""
    code = """
        from safeconnect._sockets import kernel
        kernel.missing.add(kernel.IP_LOCAL_PORT_RANGE)
        show(("127.0.0.1", 40000))
    """
    found, _ = found_in(code, ports="40000 40000")
    assert found["target-refused"] == ("error", "127.0.0.1:40000: nobody on this machine listens on port 40000")
    assert found["target-exposed"][0] == "warning"
    assert found["no-per-socket-range"][0] == "info"


# Each comes from a port of its own: a second connection from one would take the place of what is in TIME_WAIT.
TIME_WAITS = """
    server = socket.create_server(("{host}", 7), backlog=64)
    for port in range(20000, 20000 + {count}):
        with socket.create_connection(("127.0.0.1", 7), source_address=("127.0.0.1", port)) as sock:
            peer = server.accept()[0]
            {first}.close()
            {second}.close()
    print(show().snapshot.table.closed_first)
"""


def test_a_server_that_closes_first():
    code = TIME_WAITS.format(host="0.0.0.0", count=1000, first="peer", second="sock")
    found, told = found_in(code)
    severity, detail = found.pop("time-wait-at-server")
    assert severity == "warning"
    assert " has 1000 connections in TIME_WAIT; net.ipv4.tcp_max_tw_buckets lets " in detail
    assert detail.startswith("0.0.0.0:7 of ")
    assert found == {}
    assert "sockets=1000" in told


def test_clients_that_close_first():
    found, told = found_in(TIME_WAITS.format(host="127.0.0.1", count=1100, first="sock", second="peer"))
    assert found == {}
    assert told == "()"


def test_a_port_that_a_connection_comes_from():
    code = """
        server = socket.create_server(("127.0.0.1", 7))
        sock = socket.create_connection(server.getsockname(), source_address=("127.0.0.1", 40000))
        show(("127.0.0.1", 40000))
    """
    found, _ = found_in(code)
    severity, detail = found["target-port-held"]
    assert severity == "warning"
    assert "ESTABLISHED, connected to 127.0.0.1:7 (127.0.0.1:40000)" in detail
    assert found["target-refused"][1].endswith("port 40000, and something has that port still")


def test_a_port_of_a_server_that_has_been_stopped():
    code = """
        with socket.create_server(("127.0.0.1", 40001)) as server:
            with socket.create_connection(server.getsockname()) as sock:
                server.accept()[0].close()
        show(("127.0.0.1", 40001))
        socket.create_server(("127.0.0.1", 40001))  # which sets SO_REUSEADDR
        print("served")
    """
    found, last = found_in(code)
    severity, detail = found["target-port-in-time-wait"]
    assert (severity, last) == ("warning", "served")
    assert detail.startswith("port 40001 is in TIME_WAIT for up to 60 s, once connected to 127.0.0.1:")


def test_the_advice_frees_the_port_at_once():
    config = Path("/proc/config.gz")
    options = gzip.decompress(config.read_bytes()) if config.exists() else b""
    if shutil.which("ss") is None or b"CONFIG_INET_DIAG_DESTROY=y" not in options:
        pytest.skip("ss (iproute2) is not installed, or the kernel is not known to have CONFIG_INET_DIAG_DESTROY")
    code = """
        import subprocess
        for is_over in (False, True):
            sock = socket.create_connection(("127.0.0.1", 40000))
            if is_over:
                sock.close()
            finding = examine(("127.0.0.1", 40000)).findings[0]
            (advice,) = [line for line in finding.advice if "ss -K" in line]
            command = advice.partition("as root: ")[2].partition(" (")[0]
            subprocess.run(command, shell=True, check=True, capture_output=True)
            socket.create_server(("127.0.0.1", 40000)).close()
            print(finding.code)
    """
    printed = namespace.run(HEAD + textwrap.dedent(code), ports="40000 40000")
    assert printed.split() == ["target-port-held", "target-port-in-time-wait"]

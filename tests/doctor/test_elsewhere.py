"""Other platforms, and systems that hide things: facts are None where they are not told, and nothing fails."""

import errno
import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from safeconnect._host import sock_diag, tcp_table
from safeconnect._sockets import other_systems
from safeconnect.doctor import examine, gather, gathering
from safeconnect.doctor.facts import Listening, SourcePorts, Timers

from .. import support
from ..support import linux_only


@pytest.fixture
def no_psutil(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_what_is_not_told_is_none(platform, on_platform, no_psutil, monkeypatch):
    monkeypatch.setattr(other_systems, "_run", lambda *command: "")
    gathering._no_user_namespaces_because()  # on this platform, before it is another
    with support.listening() as server:
        on_platform(platform)
        report = examine(server.getsockname(), timeout=5)
    snapshot = report.snapshot
    assert snapshot.host.platform == platform
    assert snapshot.source_ports == SourcePorts(per_socket_range=False)
    assert snapshot.timers == Timers()
    assert snapshot.listening == Listening()
    assert snapshot.table is None
    assert snapshot.no_table_because == f"listing TCP sockets on {platform} needs psutil: pip install psutil"
    assert (snapshot.host.tracked_connections, snapshot.host.tracked_connections_at_most) == (None, None)
    assert (snapshot.host.descriptors is None) is (platform == "win32")
    assert snapshot.target.listeners is None
    assert snapshot.target.attempts[0].outcome == "connected"
    assert "target-answers" in [finding.code for finding in report.findings]
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


def test_the_range_of_macos(on_platform, no_psutil, monkeypatch):
    monkeypatch.setattr(other_systems, "_run", lambda *command: "49152\n49160\n")
    on_platform("darwin")
    report = examine()
    assert report.snapshot.source_ports == SourcePorts(49152, 49160, "", 9, None, per_socket_range=False)
    (tiny,) = [finding for finding in report.findings if finding.code == "range-tiny"]
    assert "net.inet.ip.portrange.first=49152" in tiny.advice[0]


def test_with_psutil_sockets_are_told_everywhere(on_platform):
    assert psutil.__version__
    with support.listening() as server:
        on_platform("darwin")
        snapshot = gather(server.getsockname())
    assert snapshot.table.states["LISTEN"] >= 1
    (listener,) = snapshot.target.listeners
    assert (listener.port, listener.waiting, listener.backlog) == (server_port(snapshot), None, None)
    assert not listener.is_full


def server_port(snapshot):
    return snapshot.target.port


@linux_only
class TestSandboxes:
    def test_without_proc(self, monkeypatch, tmp_path):
        monkeypatch.setattr(gathering, "_SYS", str(tmp_path))
        monkeypatch.setattr(gathering, "_NETSTAT", str(tmp_path / "netstat"))
        monkeypatch.setattr(tcp_table, "_PROC", str(tmp_path))
        snapshot = gather()
        assert snapshot.timers == Timers()
        assert snapshot.listening == Listening()
        assert snapshot.table is None
        assert snapshot.no_table_because == "No such file or directory"

    @pytest.mark.parametrize(
        "text",
        [
            "nonsense",
            "TcpExt: ListenOverflows ListenDrops\n",
            "TcpExt: ListenOverflows ListenDrops\nTcpExt: 5\n",
            "TcpExt: ListenOverflows ListenDrops\nTcpExt: x y\n",
            "TcpExt: Other\nTcpExt: 5\n",
        ],
    )
    def test_counters_that_cannot_be_read(self, text, monkeypatch, tmp_path):
        path = tmp_path / "netstat"
        path.write_text(text)
        monkeypatch.setattr(gathering, "_NETSTAT", str(path))
        listening = gather().listening
        assert (listening.overflows, listening.drops) == (None, None)

    @pytest.mark.parametrize("text", ["", "nonsense", "1 2", "-1"])
    def test_settings_that_are_no_number(self, text, monkeypatch, tmp_path):
        path = tmp_path / "net/ipv4/tcp_retries2"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        monkeypatch.setattr(gathering, "_SYS", str(tmp_path))
        assert gather().timers.retries2 is None

    def test_without_sock_diag_the_backlog_is_not_told(self, server, monkeypatch):
        monkeypatch.setattr(sock_diag, "_NETLINK_SOCK_DIAG", 31)  # there is no such family
        (listener,) = gather(server.getsockname()).target.listeners
        assert (listener.waiting, listener.backlog) == (0, None)

    def test_sock_diag_that_refuses(self, monkeypatch):
        monkeypatch.setattr(sock_diag, "_SOCK_DIAG_BY_FAMILY", 0x7F)  # not a kind of message it knows
        assert tcp_table.backlogs() == {}

    def test_without_user_namespaces(self, monkeypatch):
        monkeypatch.setattr(gathering, "_no_user_namespaces_because", lambda: "they are switched off")
        report = examine()
        assert report.snapshot.host.user_namespaces is False
        assert "they are switched off" in [finding.detail for finding in report.findings]

    def test_a_probe_of_namespaces_that_hangs(self, monkeypatch):
        def hang():
            raise subprocess.TimeoutExpired("python", 60)

        monkeypatch.setattr("safeconnect.testing.namespaces_unavailable", hang)
        assert "timed out after 60 seconds" in gather().host.no_user_namespaces_because

    def test_no_limit_of_descriptors(self, monkeypatch):
        import resource

        monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        host = gather().host
        assert (host.descriptors, host.descriptors_at_most) == (None, None)

    def test_a_kernel_without_ipv6(self, monkeypatch):
        class Refusing(socket.socket):
            def __init__(self, family=socket.AF_INET, *rest, **more):
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
                super().__init__(family, *rest, **more)

        monkeypatch.setattr(socket, "socket", Refusing)
        assert gather().names.ipv6_loopback is False


@linux_only
def test_backlogs_are_those_of_listen_up_to_somaxconn():
    cap = int(Path("/proc/sys/net/core/somaxconn").read_text())
    with support.listening(backlog=3) as small, support.listening(backlog=10**6) as large:
        rows = {each.local[1]: each.inode for each in tcp_table.sockets() if each.listens}
        found = tcp_table.backlogs()
        assert found[rows[small.getsockname()[1]]] == 3
        assert found[rows[large.getsockname()[1]]] == cap

"""Hosts of their own: what befalls the clients in there, and where there are none. See test_namespaces_programs.py."""

import errno
import importlib
import json
import shutil
import socket
import subprocess
import sys

import pytest

from safeconnect.testing import _namespaces as namespaces
from safeconnect.testing import dead_peer, exposed_host, namespaces_unavailable
from tests import support


class TestExposedHost:
    CONNECT = """
        import socket, sys
        sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
        assert sock.getsockname() == sock.getpeername()
        sock.sendall(b"to myself")
        print(sock.recv(100).decode())
    """

    def test_a_plain_connect_meets_itself_at_the_first_try(self, available):
        ports = set()
        for _ in range(4):
            with exposed_host() as host:
                assert host.run_python(self.CONNECT, host.host, str(host.port), check=True).stdout == "to myself\n"
                ports.add(host.port)
        assert len(ports) > 1
        assert min(ports) >= 32768
        assert max(ports) <= 60999

    @pytest.mark.parametrize("port", [1, 80, 1023, 1024, 40001, 65535])
    def test_any_port(self, port, available):
        with exposed_host(port) as host:
            assert host.address == (host.host, host.port) == ("127.0.0.1", port)
            assert host.family == socket.AF_INET
            assert repr(host) == f"<ExposedHost with 127.0.0.1:{port}, held by process {host.pid}>"
            for address in ("127.0.0.1", *(["::1"] if support.has_ipv6() else [])):
                done = host.run_python(self.CONNECT, address, str(port))
                assert (done.stdout, done.stderr) == ("to myself\n", "")

    def test_safeconnect_does_not(self, host):
        code = """
            import sys
            from safeconnect import create_connection
            try:
                create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
            except OSError as error:
                print(type(error).__name__)
        """
        done = host.run_python(code, str(host.port))
        assert done.stdout in ("SelfConnectError\n", "ConnectionRefusedError\n"), done.stderr

    @pytest.mark.parametrize(
        "probe",
        [
            ["nc", "-z", "127.0.0.1"],
            # As wait-for-it.sh does.
            ["bash", "-c", '(echo -n > "/dev/tcp/127.0.0.1/$0") 2>/dev/null'],
        ],
        ids=["nc", "bash"],
    )
    def test_probes_are_fooled(self, probe, host):
        if not shutil.which(probe[0]):
            pytest.skip(f"{probe[0]} is not installed")
        assert host.run([*probe, "1"], check=False).returncode == 1, "nobody listens there"
        assert host.run([*probe, str(host.port)]).returncode == 0, "nor there"

    def test_one_at_a_time(self, host):
        """As the docstring says, so that nobody wonders."""
        code = """
            import errno, socket, sys
            address = "127.0.0.1", int(sys.argv[1])
            first = socket.create_connection(address)
            for _ in range(2):
                print(errno.errorcode[socket.socket().connect_ex(address)])
                first.close()
        """
        assert host.run_python(code, str(host.port)).stdout.split() == ["EADDRNOTAVAIL"] * 2

    @pytest.mark.parametrize(
        ("port", "kind", "words"),
        [(0, ValueError, "port must be 1-65535, not 0"), (65536, ValueError, "65536"), ("80", TypeError, "an int")],
    )
    def test_wrong_ports(self, port, kind, words):
        with pytest.raises(kind, match=words):
            exposed_host(port)


class TestDeadPeer:
    CLIENT = """
        import errno, json, select, socket, sys, time
        from safeconnect import KeepAlive, create_connection
        from safeconnect._inspect.connection import tcp_state

        def echoed(sock, data):
            sock.sendall(data)
            return sock.recv(100).decode()

        address = "127.0.0.1", int(sys.argv[1])
        kept, idle, sending = (
            create_connection(address, timeout=20, options=options) for options in ([KeepAlive(1, 1, 3)], [], [])
        )
        answers = [echoed(sock, b"before") for sock in (kept, idle, sending)]
        began = time.monotonic()
        print(json.dumps(answers), flush=True)
        sys.stdin.readline()
        sending.sendall(b"meanwhile")
        poll = select.poll()
        poll.register(idle)  # for all that can be
        poll.register(sending, select.POLLIN)
        try:
            error = kept.recv(1)
        except OSError as caught:
            error = errno.errorcode[caught.errno]
        took = time.monotonic() - began
        seen = [poll.poll(0) == [(idle.fileno(), select.POLLOUT)], tcp_state(sending)]
        new = socket.socket()
        new.settimeout(0.3)
        seen.append(errno.errorcode[new.connect_ex(address)])
        print(json.dumps([error, took, *seen, tcp_state(kept)]), flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        answers = [echoed(idle, b"after"), sending.recv(100).decode(), echoed(create_connection(address), b"new")]
        print(json.dumps([*answers, time.monotonic() - began]), flush=True)
    """

    @pytest.mark.slow
    def test_vanishes_and_comes_back(self, peer):
        client = peer.popen_python(self.CLIENT, str(peer.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert json.loads(client.stdout.readline()) == ["before"] * 3
        assert not peer.vanished
        for _ in range(2):
            peer.vanish()
            assert peer.vanished
        client.stdin.write("vanished\n")
        client.stdin.flush()
        error, took, only_writable, state, new, kept = json.loads(client.stdout.readline())
        assert error == "ETIMEDOUT"
        assert 4 - 0.02 <= took < 5, "measured: 4.08 to 4.11 s"
        assert only_writable, "the idle connection can be written to, and nothing has come on the other"
        assert (state, new, kept) == ("ESTABLISHED", "EAGAIN", "CLOSED")
        for _ in range(2):
            peer.heal()
            assert not peer.vanished
        output, _ = client.communicate("healed\n", timeout=30)
        *answers, took = json.loads(output)
        assert answers == ["after", "meanwhile", "new"]
        assert took < 7, "about as long as the silence was, at most"
        assert client.returncode == 0

    def test_somebody_else_has_healed_it(self, available, monkeypatch):
        with dead_peer() as peer:
            peer.vanish()
            peer._tell("heal")
            with pytest.raises(OSError, match="blackhole"):
                peer.heal()
        assert peer._holder.returncode == 0

    def test_the_server_cannot_start(self, available, monkeypatch):
        monkeypatch.setattr(namespaces, "_LOOPBACK", "192.0.2.1")  # no address of the new host
        with pytest.raises(OSError, match="echo") as caught:
            dead_peer()
        assert caught.value.errno == errno.EADDRNOTAVAIL

    def test_clients_may_break_off_or_not_read(self, peer):
        code = """
            import socket, struct, sys
            address = "127.0.0.1", int(sys.argv[1])
            rude, greedy = socket.create_connection(address), socket.create_connection(address)
            greedy.setblocking(False)
            try:
                while greedy.send(bytes(1 << 20)):
                    pass
            except BlockingIOError:
                pass
            rude.sendall(b"x" * 100)
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.close()
            polite = socket.create_connection(address)
            polite.sendall(b"still there")
            print(polite.recv(100).decode())
        """
        assert peer.run_python(code, str(peer.port), timeout=20).stdout == "still there\n"


class TestWhereThereAreNone:
    def test_forbidden(self, host):
        code = """
            from pathlib import Path
            from safeconnect.testing import namespaces_unavailable
            Path("/proc/sys/user/max_user_namespaces").write_text("0")
            print(namespaces_unavailable())
        """
        reason = "user and network namespaces are not to be had here: [Errno 28] No space left on device: 'unshare'\n"
        assert host.run_python(code).stdout == reason

    def test_another_platform(self, on_platform):
        here = namespaces_unavailable()
        on_platform("darwin")
        assert namespaces_unavailable() == "network namespaces exist on Linux only"
        for function in (exposed_host, dead_peer):
            with pytest.raises(OSError, match="Linux only") as caught:
                function()
            assert caught.value.errno == errno.ENOSYS
        on_platform("linux")
        assert namespaces_unavailable() == here, "it is not remembered that there are none elsewhere"

    @support.linux_only
    @pytest.mark.parametrize("name", ["_namespace_script"])
    def test_helpers_on_another_platform(self, name, on_platform, monkeypatch):
        importlib.import_module(f"safeconnect.testing.{name}")  # does nothing by itself
        monkeypatch.delitem(sys.modules, f"safeconnect.testing.{name}")
        on_platform("darwin")
        with pytest.raises(ImportError, match="Linux only"):
            importlib.import_module(f"safeconnect.testing.{name}")

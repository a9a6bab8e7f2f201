"""The table of TCP sockets: against psutil, which reads it in its own way, and against sockets made here."""

import errno
import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import psutil  # before any test pretends to be on another platform
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet
from safeconnect._host import holders, tcp_table
from safeconnect._host.tcp_rows import Owner, SourceUse, TcpSocket, listening_on, named, source_use, takes
from safeconnect._sockets.endpoint import written

from .. import namespace, support
from ..support import LOOPBACK, both_families, linux_only, needs_ipv6

STATES = {
    "ESTABLISHED": "ESTABLISHED",
    "LISTEN": "LISTEN",
    "CLOSE_WAIT": "CLOSE_WAIT",
    "FIN_WAIT_2": "FIN_WAIT2",
    "TIME_WAIT": "TIME_WAIT",
}


def of_port(port):
    return [each for each in tcp_table.sockets() if port in (each.local[1], each.peer and each.peer[1])]


@linux_only
class TestRows:
    @both_families
    def test_a_listener_and_both_ends_of_a_connection(self, family):
        with support.listening(family) as server, socket.create_connection(server.getsockname()[:2]) as sock:
            sock.sendall(b"12345")
            address, client = server.getsockname()[:2], sock.getsockname()[:2]
            support.wait_until(lambda: 5 in {each.receive_queue for each in of_port(address[1])})
            by = {(each.local, each.state): each for each in of_port(address[1])}
            support.reset(sock)
        ipv6 = family == socket.AF_INET6
        assert by[address, "LISTEN"].peer is None
        assert by[address, "LISTEN"].listens
        assert by[address, "LISTEN"].receive_queue == 1, "nobody has accepted it"
        assert by[address, "ESTABLISHED"].peer == client
        assert by[address, "ESTABLISHED"].receive_queue == 5, "nobody has read it"
        assert by[client, "ESTABLISHED"].peer == address
        assert [each.ipv6 for each in by.values()] == [ipv6] * 3

    def test_the_number_and_the_user_are_those_of_the_descriptor(self, server):
        (row,) = of_port(server.getsockname()[1])
        status = os.fstat(server.fileno())
        assert (row.inode, row.uid) == (status.st_ino, status.st_uid)

    @needs_ipv6
    def test_mapped_addresses_are_written_as_ipv4(self):
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as sock:
                rows = {(each.local, each.state): each for each in of_port(port)}
                own = sock.getsockname()
                support.reset(sock)
        assert rows[("::", port), "LISTEN"].ipv6
        accepted = rows[("127.0.0.1", port), "ESTABLISHED"]
        assert (accepted.peer, accepted.ipv6) == (own, True)
        assert not rows[own, "ESTABLISHED"].ipv6

    def test_a_connection_that_is_over(self, server):
        with socket.create_connection(server.getsockname()) as sock:
            name = sock.getsockname()
            peer = server.accept()[0]
        assert peer.recv(1) == b""
        with peer:
            support.wait_until(lambda: {each.state for each in of_port(name[1])} == {"FIN_WAIT_2", "CLOSE_WAIT"})
            assert {each.local for each in of_port(name[1])} == {name, server.getsockname()}
        (rest,) = of_port(name[1])
        assert (rest.local, rest.peer, rest.state) == (name, server.getsockname(), "TIME_WAIT")
        assert rest.inode == 0
        assert tcp_table.owners([rest]) == {rest: ()}

    def test_all_of_a_namespace_as_psutil_has_it(self):
        code = """
            import os, socket, psutil
            from safeconnect._host import holders, tcp_table
            held = []
            for family, host in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "0.0.0.0")]:
                server = socket.create_server((host, 0), family=family)
                for _ in range(3):
                    held.append(socket.create_connection(server.getsockname()[:2]))
                    held.append(server.accept()[0])
                held.append(server)
                held.pop(-3).close()
            while "FIN_WAIT_1" in {row.state for row in tcp_table.sockets()}:
                pass  # until the end of each third connection is acknowledged
            names = {"FIN_WAIT2": "FIN_WAIT_2"}
            theirs = sorted((*row.laddr, *row.raddr, names.get(row.status, row.status)) for row in
                            psutil.net_connections("tcp"))
            rows = tcp_table.sockets()
            ours = sorted((*row.local, *(row.peer or ()), row.state) for row in rows)
            print(ours == theirs, len(ours), *sorted({row[-1] for row in ours}))
            print({tuple(owner.pid for owner in found) for row, found in tcp_table.owners(rows).items()} ==
                  {(os.getpid(),), ()})
        """
        first, second = namespace.run(code).splitlines()
        assert first == "True 21 CLOSE_WAIT ESTABLISHED FIN_WAIT_2 LISTEN"
        assert second == "True"

    def test_a_kernel_without_ipv6_and_a_row_that_comes_twice(self, monkeypatch, tmp_path):
        (tmp_path / "net").mkdir()
        head = Path("/proc/net/tcp").read_text().splitlines()[0]
        row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 777 1 0 100 0"
        (tmp_path / "net/tcp").write_text(f"{head}\n{row}\n{row}\n", "ascii")  # busy kernels give some rows again
        monkeypatch.setattr(tcp_table, "_PROC", str(tmp_path))
        if sys.byteorder == "little":
            expected = TcpSocket(
                ("127.0.0.1", 8080), None, "LISTEN", ipv6=False, receive_queue=2, send_queue=0, uid=1000, inode=777
            )
            assert tcp_table.sockets() == [expected]

    def test_without_proc_it_is_an_error(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tcp_table, "_PROC", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="net/tcp"):
            tcp_table.sockets()


@linux_only
class TestOwners:
    def test_this_process(self, server):
        (row,) = of_port(server.getsockname()[1])
        assert tcp_table.owners([row]) == {row: (Owner(os.getpid(), psutil.Process().name()),)}

    def test_all_that_share_it(self, server):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[server.fileno()])
        with child:
            (row,) = of_port(server.getsockname()[1])
            (found,) = tcp_table.owners([row]).values()
        assert sorted(owner.pid for owner in found) == sorted([os.getpid(), child.pid])
        assert Owner(child.pid, "cat") in found

    def test_none_is_asked_for(self, monkeypatch):
        monkeypatch.setattr(tcp_table, "_PROC", "/nonexistent")
        assert tcp_table.owners([]) == {}

    def test_a_long_name_is_whole(self, server, tmp_path):
        program = tmp_path / "a-program-with-a-long-name"
        program.symlink_to("/bin/cat")
        child = subprocess.Popen([program], stdin=subprocess.PIPE, pass_fds=[server.fileno()])
        with child:
            (row,) = of_port(server.getsockname()[1])
            (found,) = tcp_table.owners([row]).values()
        assert Owner(child.pid, program.name) in found

    def test_a_process_that_has_ended_has_no_name(self):
        child = subprocess.Popen(["true"])
        child.wait()
        assert tcp_table._name(child.pid) is None


class TestElsewhere:
    def test_by_psutil(self, on_platform):
        rows = []

        def are_there():
            """A busy kernel may leave rows out of its table, which psutil reads here."""
            pairs = {(name, None), (name, own), (own, name)}  # others may connect from that port to elsewhere
            rows[:] = [each for each in tcp_table.sockets() if (each.local, each.peer) in pairs]
            return len(rows) == 3

        with support.listening() as server, socket.create_connection(server.getsockname()) as sock:
            name, own = server.getsockname(), sock.getsockname()
            with server.accept()[0]:
                on_platform("darwin")
                support.wait_until(are_there)
            support.reset(sock)
        assert {(each.local, each.peer, each.state) for each in rows} == {
            (name, None, "LISTEN"),
            (name, own, "ESTABLISHED"),
            (own, name, "ESTABLISHED"),
        }
        assert {each.pid for each in rows} == {os.getpid()}
        assert set(tcp_table.owners(rows).values()) == {(Owner(os.getpid(), psutil.Process().name()),)}

    @pytest.mark.parametrize(("name", "psutils"), [*STATES.items(), ("SYN_RECEIVED", "SYN_RECV"), ("CLOSED", "NONE")])
    def test_states_have_the_standards_names(self, name, psutils, monkeypatch, on_platform):
        row = types.SimpleNamespace(
            family=socket.AF_INET6, laddr=("::ffff:127.0.0.1", 80), raddr=(), status=psutils, pid=None
        )
        monkeypatch.setattr(psutil, "net_connections", lambda kind: [row])
        on_platform("win32")
        (found,) = tcp_table.sockets()
        assert found == TcpSocket(("127.0.0.1", 80), None, name, ipv6=True)
        assert tcp_table.owners([found]) == {found: ()}

    def test_without_psutil(self, monkeypatch, on_platform):
        monkeypatch.setitem(sys.modules, "psutil", None)
        on_platform("darwin")
        with pytest.raises(OSError, match=r"on darwin needs psutil: pip install psutil") as caught:
            tcp_table.sockets()
        assert caught.value.errno == errno.EOPNOTSUPP

    @pytest.mark.parametrize(
        ("error", "kind", "words"),
        [
            (psutil.AccessDenied(), PermissionError, "may not be listed by this user"),
            (psutil.Error("broken"), OSError, "psutil could not list"),
        ],
    )
    def test_when_psutil_may_not_look(self, error, kind, words, monkeypatch, on_platform):
        def refuse(_):
            raise error

        monkeypatch.setattr(psutil, "net_connections", refuse)
        on_platform("darwin")
        with pytest.raises(kind, match=words):
            tcp_table.sockets()

    def test_a_process_that_has_ended_has_no_name(self):
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        assert tcp_table._name_by_psutil(child.pid) is None


class TestNotes:
    """What the errors say of a connection that stands in the way; tests of bind and connect have the rest."""

    def test_a_table_that_cannot_be_read(self, server, monkeypatch, on_platform):
        monkeypatch.setitem(sys.modules, "psutil", None)
        with socket.create_connection(server.getsockname()) as sock:
            own = written(sock.getsockname())
            on_platform("darwin")
            error = OSError(errno.EADDRNOTAVAIL, "taken")
            holders.tell_connection(error, sock, server.getsockname())
            support.reset(sock)
        there = written(server.getsockname())
        assert error.__notes__ == [f"there is a connection from {own} to {there} already, or was a moment ago"]

    @linux_only
    def test_whose_it_is(self, server):
        with socket.create_connection(server.getsockname()) as sock:
            error = OSError(errno.EADDRNOTAVAIL, "taken")
            holders.tell_connection(error, sock, server.getsockname())
            support.reset(sock)
        assert error.__notes__[0].endswith(f"(process {os.getpid()}), ESTABLISHED")

    def test_sockets_without_a_name(self):
        error = OSError(errno.EADDRNOTAVAIL, "taken")
        with socket.socket() as sock:
            holders.tell_connection(error, sock, ("127.0.0.1", 7))
        holders.tell_connection(error, sock, ("127.0.0.1", 7))
        assert not hasattr(error, "__notes__")


def row(port, peer=("192.0.2.1", 80), state="ESTABLISHED", local="10.0.0.1"):
    return TcpSocket((local, port), peer, state, ipv6=False)


class TestSourceUse:
    def test_each_pair_of_addresses_by_itself(self):
        rows = [
            *(row(port) for port in (40000, 40001, 40002)),
            row(40003, state="TIME_WAIT"),
            row(40000, peer=("192.0.2.1", 443)),
            row(40000, local="10.0.0.2"),
            row(50000),  # no source port
        ]
        found = source_use(rows, PortSet(PortRange(40000, 40009)))
        assert found == [
            SourceUse("10.0.0.1", ("192.0.2.1", 80), 4, 1, 10),
            SourceUse("10.0.0.1", ("192.0.2.1", 443), 1, 0, 10),
            SourceUse("10.0.0.2", ("192.0.2.1", 80), 1, 0, 10),
        ]
        assert found[0].share == 0.4

    def test_ports_that_servers_listen_on_are_not_to_be_had(self):
        server = TcpSocket(("0.0.0.0", 40000), None, "LISTEN", ipv6=False)
        accepted = [row(40000, peer=("192.0.2.9", port)) for port in (1, 2)]
        found = source_use([server, *accepted, row(40001)], PortSet(PortRange(40000, 40003)))
        assert found == [SourceUse("10.0.0.1", ("192.0.2.1", 80), 1, 0, 3)]

    def test_no_ports_at_all(self):
        assert source_use([row(40000)], PortSet()) == []
        assert SourceUse("10.0.0.1", ("192.0.2.1", 80), 0, 0, 0).share == 1

    @given(
        st.lists(
            st.builds(
                row,
                st.integers(1, 12),
                st.sampled_from([None, ("a", 1), ("a", 2)]),
                st.sampled_from(["ESTABLISHED", "TIME_WAIT"]),
                st.sampled_from(["x", "y"]),
            )
        ),
        st.sets(st.integers(1, 10)),
    )
    def test_like_a_count_by_hand(self, rows, ports):
        free = ports - {each.local[1] for each in rows if each.peer is None}
        pairs = {(each.local[0], each.peer) for each in rows if each.peer}
        counted = {
            pair: len({each.local[1] for each in rows if (each.local[0], each.peer) == pair} & free) for pair in pairs
        }
        found = source_use(rows, PortSet(ports))
        assert {(use.local, use.peer): use.taken for use in found} == {k: n for k, n in counted.items() if n}
        assert [use.taken for use in found] == sorted((use.taken for use in found), reverse=True)
        assert all(use.in_time_wait <= use.taken <= use.available == len(free) for use in found)

    def test_of_real_connections(self):
        code = """
            import socket
            from safeconnect._host.tcp_rows import source_use
            from safeconnect._sockets import kernel
            from safeconnect._host import tcp_table
            inside = socket.create_server(("127.0.0.1", 40009))
            server = socket.create_server(("127.0.0.1", 7))
            held = [socket.create_connection(server.getsockname()) for _ in range(5)]
            print(source_use(tcp_table.sockets(), kernel.source_ports()))
        """
        expected = [SourceUse("127.0.0.1", ("127.0.0.1", 7), 5, 0, 9)]
        assert namespace.run(code, ports="40000 40009").strip() == str(expected)


@pytest.mark.parametrize(
    ("listener", "hosts", "answer"),
    [
        ("127.0.0.1", ["127.0.0.1"], True),
        ("127.0.0.1", ["127.0.0.2", "::1"], False),
        ("0.0.0.0", ["127.0.0.2"], True),
        ("0.0.0.0", ["::1"], False),
        ("::", ["::1"], True),
        ("::", ["127.0.0.1"], True),
        ("::1", ["127.0.0.1"], False),
    ],
)
def test_who_takes_connects(listener, hosts, answer):
    server = TcpSocket((listener, 80), None, "LISTEN", ipv6=":" in listener)
    assert takes(listener, hosts) is answer
    assert listening_on([server, row(80), row(81)], 80) == [server]
    assert listening_on([server], 81) == []


def test_processes_as_they_are_written():
    workers = [Owner(n, "nginx") for n in (7, 8, 9)]
    assert named(()) == "a process that is gone or may not be seen"
    assert named([Owner(5, None)]) == "process 5"
    assert named(workers) == "nginx (process 7), nginx (process 8), nginx (process 9)"
    assert named([*workers, Owner(10, "nginx"), Owner(11, "nginx")]) == named(workers) + " and 2 more"


def test_loopback_addresses_are_written_as_sockets_write_them():
    for family, host in LOOPBACK.items():
        packed = socket.inet_pton(family, host)
        words = (packed[at : at + 4] for at in range(0, len(packed), 4))
        digits = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
        assert tcp_table._host(digits) == host

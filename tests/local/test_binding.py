"""Reservations and bound sockets, on the real kernel."""

import errno
import os
import re
import socket
import subprocess
import sys

import psutil
import pytest

from safeconnect import PortRange, PortSet, create_connection
from safeconnect._local.binding import Reservation, bind_socket, reserve_port

from .. import namespace, support
from ..support import linux_only, needs_ipv6


class TestReservation:
    def test_says_what_it_holds(self):
        with reserve_port() as held:
            assert isinstance(held, Reservation)
            assert held.address == ("127.0.0.1", held.port)
            assert held.addresses == (held.address,)
            assert int(held) == held.port == held.socket.getsockname()[1]
            assert held.fileno() == held.socket.fileno()
            assert repr(held) == f"<Reservation of 127.0.0.1:{held.port}, held>"
        assert repr(held) == f"<Reservation of 127.0.0.1:{held.port}, released>"
        held.release()

    @linux_only
    def test_connects_are_refused_at_once(self):
        with reserve_port() as held, pytest.raises(ConnectionRefusedError):
            create_connection(held.address, 5)

    def test_is_exclusive(self):
        with reserve_port() as held:
            with pytest.raises(OSError, match=f"port {held.port} of 127.0.0.1 is taken") as caught:
                reserve_port(port=held.port)
            assert caught.value.errno == errno.EADDRINUSE
            assert caught.value.__suppress_context__, "a traceback shows one failure once"
            assert caught.value.__notes__ == [f"port {held.port} is held by a socket that is bound and no more"]
            with socket.socket() as plain, pytest.raises(OSError, match="in use"):
                plain.bind(held.address)
        reserve_port(port=held.port).release()

    @linux_only
    def test_a_server_starts_while_it_is_held(self):
        with reserve_port() as held, socket.create_server(held.address) as server:
            held.release()
            with create_connection(held.address, 5), server.accept()[0]:
                pass

    def test_is_handed_over_without_a_gap(self):
        with reserve_port() as held:
            server = held.listen()
            assert server is held.socket
            with create_connection(held.address, 5) as sock, server.accept()[0] as peer:
                sock.sendall(b"x")
                assert peer.recv(1) == b"x"

    def test_cannot_listen_once_released(self):
        held = reserve_port()
        held.release()
        with pytest.raises(OSError, match=r"closed|Bad file descriptor") as caught:
            held.listen()
        assert caught.value.__notes__ == [f"while listening on 127.0.0.1:{held.port}: the reservation was released"]

    @linux_only
    def test_a_child_process_holds_it_too(self):
        code = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.listen(); print('up', flush=True)"
        code += "; input()"
        with reserve_port() as held:
            child = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", code, str(held.fileno())],
                pass_fds=(held.fileno(),),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        with child:
            assert child.stdout.readline() == "up\n"
            create_connection(held.address, 5).close()
            child.communicate("\n")

    @needs_ipv6
    def test_of_one_port_at_two_hosts(self):
        with reserve_port(["127.0.0.1", "::1"]) as held:
            assert [address[:2] for address in held.addresses] == [("127.0.0.1", held.port), ("::1", held.port)]
            held.listen()
            for host in ("127.0.0.1", "::1"):
                create_connection((host, held.port), 5).close()

    @pytest.mark.parametrize(
        ("hosts", "addresses"),
        [
            (["127.0.0.1", "127.0.0.1"], ["127.0.0.1"]),
            (["127.0.0.2", "127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"]),
            (["127.0.0.1", "127.1"], ["127.0.0.1"]),
            (["127.0.0.1", "0.0.0.0"], ["0.0.0.0"]),
            pytest.param(["::1", "0:0::1", "127.0.0.1"], ["::1", "127.0.0.1"], marks=needs_ipv6),
            pytest.param(["::1", "::", "127.0.0.1"], ["::", "127.0.0.1"], marks=needs_ipv6),
            pytest.param(["127.0.0.1", "::ffff:127.0.0.1"], ["127.0.0.1"], marks=needs_ipv6),
        ],
    )
    def test_of_hosts_that_stand_for_one_address(self, hosts, addresses):
        for port in (0, PortSet.parse("20000-29999")):
            with reserve_port(hosts, port) as held:
                assert [address[0] for address in held.addresses] == addresses
                assert {address[1] for address in held.addresses} == {held.port}

    def test_of_names_that_stand_for_one_address(self):
        with reserve_port(["localhost", "127.0.0.1"], family=socket.AF_INET) as held:
            assert [address[0] for address in held.addresses] == ["127.0.0.1"]

    @needs_ipv6
    def test_of_an_ipv4_address_in_ipv6(self):
        with bind_socket(("::ffff:127.0.0.1", 0, 0, 0)) as sock:
            assert sock.family == socket.AF_INET
            assert sock.getsockname()[0] == "127.0.0.1"

    @needs_ipv6
    def test_of_one_port_at_two_hosts_where_one_is_taken(self):
        with reserve_port(["127.0.0.1", "::1"]) as held:
            held.sockets[0].close()
            with pytest.raises(OSError, match=f"port {held.port} of 127.0.0.1 or ::1 is taken"):
                reserve_port(["127.0.0.1", "::1"], held.port)
            reserve_port("127.0.0.1", held.port).release()

    @pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)])
    def test_of_a_name(self, family):
        host = "localhost" if family == socket.AF_INET else "::1"
        with reserve_port(host, family=family) as held:
            assert held.socket.family == family

    def test_of_every_address(self):
        with reserve_port("0.0.0.0") as held:
            assert held.address[0] == "0.0.0.0"

    def test_from_a_set(self):
        with reserve_port() as first, reserve_port() as second:
            free = second.port
            second.release()
            ports = PortSet([first.port, free])
            with reserve_port(port=ports) as held:
                assert held.port == free
                with pytest.raises(OSError, match=r"all 2 ports of .* are taken at 127\.0\.0\.1") as caught:
                    reserve_port(port=str(ports))
                assert caught.value.errno == errno.EADDRINUSE

    def test_in_random_order(self):
        taken = set()
        for _ in range(40):
            with reserve_port(port=PortRange(30000, 30999)) as held:
                taken.add(held.port)
        assert len(taken) > 30

    @pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this platform has no SO_REUSEPORT")
    def test_for_servers_that_share_the_port(self):
        with (
            reserve_port(reuse_port=True) as held,
            bind_socket(held.address, reuse_port=True) as one,
            bind_socket(held.address, reuse_port=True) as two,
        ):
            one.listen()
            two.listen()

    @pytest.mark.parametrize(
        ("arguments", "kind", "words"),
        [
            ({"port": 65536}, ValueError, "0-65535"),
            ({"port": -1}, ValueError, "0-65535"),
            ({"port": 1.5}, TypeError, "port must be a PortSet"),
            ({"port": True}, TypeError, "port must be a PortSet"),
            ({"port": PortSet()}, ValueError, "port holds no port"),
            ({"port": "nonsense"}, ValueError, "not a port"),
            ({"host": 5}, TypeError, "host must be a str"),
            ({"host": []}, TypeError, "host must be a str"),
            ({"host": "192.0.2.1"}, OSError, "assign requested address"),
        ],
    )
    def test_wrong_arguments(self, arguments, kind, words):
        with pytest.raises(kind, match=words):
            reserve_port(**arguments)

    @pytest.mark.parametrize("host", ["192.0.2.1", ["127.0.0.1", "192.0.2.1"]])
    def test_an_address_of_another_host_is_named(self, host):
        with pytest.raises(OSError, match="assign requested address") as caught:
            reserve_port(host, "20000-29999")
        (note,) = caught.value.__notes__
        assert re.fullmatch(r"while binding to 192\.0\.2\.1, port 2\d{4}", note)

    def test_an_unknown_name(self, monkeypatch):
        def unknown(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        for call in (lambda: reserve_port(host="name.test"), lambda: bind_socket(("name.test", 80))):
            with pytest.raises(socket.gaierror, match="not known") as caught:
                call()
            assert caught.value.__notes__ == ["while looking up host 'name.test'"]

    @pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this platform has no SO_REUSEPORT")
    @pytest.mark.parametrize("platform", ["linux", "darwin"])
    def test_shares_on_every_platform_and_only_once_it_is_bound(self, on_platform, monkeypatch, platform):
        flags = []

        class Recorder(socket.socket):
            def bind(self, address):
                flags.append(self.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
                super().bind(address)

        monkeypatch.setattr(socket, "socket", Recorder)
        on_platform(platform)
        with reserve_port(reuse_port=True) as held:
            flags.append(held.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        assert flags == [0, 1]

    def test_no_reuse_port_on_this_platform(self, monkeypatch):
        monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
        with pytest.raises(ValueError, match="no SO_REUSEPORT"):
            reserve_port(reuse_port=True)

    def test_without_psutil_the_note_says_how_to_find_out(self, monkeypatch, on_platform):
        monkeypatch.setitem(sys.modules, "psutil", None)
        with reserve_port() as held:
            on_platform("darwin")
            with pytest.raises(OSError, match="is taken") as caught:
                reserve_port(port=held.port)
        assert caught.value.__notes__ == [
            f"who holds port {held.port}? listing TCP sockets on darwin needs psutil: pip install psutil"
        ]


class TestBindSocket:
    def test_a_chosen_port_is_nobody_elses(self):
        with (
            bind_socket(("127.0.0.1", 0), ports="21500") as sock,
            reserve_port(port="21501", reuse_port=hasattr(socket, "SO_REUSEPORT")),
        ):
            assert sock.getsockname()[1] == 21500
            for port in ("21500", "21501"):
                with pytest.raises(OSError, match=r"taken|in use"):
                    bind_socket(("127.0.0.1", 0), ports=port)
            with pytest.raises(OSError, match="taken"):
                reserve_port(port="21501", reuse_port=True)

    def test_any_port(self):
        with bind_socket(("127.0.0.1", 0)) as sock:
            assert sock.getsockname()[0] == "127.0.0.1"
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    def test_a_given_port_in_time_wait(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            sock = create_connection(address, 5)
            server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
            assert sock.recv(1) == b""
            sock.close()
        with bind_socket(address) as sock:
            sock.listen()
        if sys.platform == "linux":
            with pytest.raises(OSError, match="in use"):
                bind_socket(address, reuse_address=False)

    def test_options_come_first(self):
        with bind_socket(("127.0.0.1", 0), options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def test_taken(self):
        with support.listening() as server:
            port = server.getsockname()[1]
            with pytest.raises(OSError, match="in use") as caught:
                bind_socket(("127.0.0.1", port))
            me = f"127.0.0.1:{port} is held by {psutil.Process().name()} (process {os.getpid()}), LISTEN"
            assert caught.value.__notes__ == [me, f"while binding to 127.0.0.1, port {port}"]

    def test_from_a_set(self):
        with reserve_port() as first, reserve_port() as second:
            second.release()
            with bind_socket(("127.0.0.1", 0), ports=PortSet([first.port, second.port]), reuse_address=False) as sock:
                assert sock.getsockname()[1] == second.port
                with pytest.raises(OSError, match="all 2 ports"):
                    bind_socket(("127.0.0.1", 0), ports=PortSet([first.port, second.port]), reuse_address=False)

    @needs_ipv6
    def test_a_full_ipv6_address(self):
        with bind_socket(("::1", 0, 0, 0)) as sock:
            assert sock.getsockname()[0] == "::1"

    @linux_only
    def test_to_a_device(self):
        with bind_socket(("127.0.0.1", 0), device="lo") as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"

    @linux_only
    def test_transparent(self):
        code = """
            import socket
            from safeconnect._local.binding import bind_socket
            for address in [("192.0.2.9", 7), ("2001:db8::9", 7)]:
                with bind_socket(address, transparent=True) as sock:
                    print(sock.getsockname()[0])
        """
        assert namespace.run(code).split() == ["192.0.2.9", "2001:db8::9"]

    @pytest.mark.parametrize(
        ("address", "arguments", "kind", "words"),
        [
            ("127.0.0.1", {}, TypeError, "address must be"),
            (("127.0.0.1",), {}, TypeError, "address must be"),
            (("127.0.0.1", 7), {"ports": "8000-8010"}, ValueError, "either ports or a port"),
            (("127.0.0.1", 70000), {}, ValueError, "0-65535"),
            (("127.0.0.1", 0), {"device": ""}, ValueError, "name must be"),
            (("127.0.0.1", 0), {"options": [7]}, TypeError, "options must be"),
            (("192.0.2.1", 0), {}, OSError, "assign requested address"),
        ],
    )
    def test_wrong_arguments(self, address, arguments, kind, words):
        with pytest.raises(kind, match=words):
            bind_socket(address, **arguments)

    def test_windows_holds_exclusively_and_never_lets_others_steal(self, monkeypatch):
        asked = []

        class Recorder(socket.socket):
            def setsockopt(self, *option):
                asked.append(option[1])

        monkeypatch.setattr(socket, "socket", Recorder)
        monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
        monkeypatch.setattr(sys, "platform", "win32")
        bind_socket(("127.0.0.1", 0), reuse_address=True).close()
        reserve_port().release()
        assert asked == [-5, -5]

    def test_transparent_is_linuxs(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(ValueError, match="IP_TRANSPARENT"):
            bind_socket(("127.0.0.1", 0), transparent=True)

"""Source ports that run out, are reserved, or change their range."""

import errno
import socket

import pytest

import safeconnect
from safeconnect import PortsExhaustedError, create_connection

from .. import namespace
from ..support import closed_port, needs_port_range


class TestExhaustion:
    @pytest.mark.parametrize(
        ("target", "connect", "settings"),
        [
            ("7", "blocking", ""),
            ("40002", "blocking", ""),
            ("7", "blocking", "trace=lambda _: None"),
            ("7", "on_asyncio", ""),
            ("7", "on_trio", ""),
        ],
    )
    def test_all_ports_are_used_and_then_the_error_says_so(self, target, connect, settings):
        code = f"""
            import socket, safeconnect
            from tests import drivers
            server = socket.create_server(("127.0.0.1", {target}))
            held, error = [], None
            while not error:
                try:
                    held.append(drivers.{connect}(server.getsockname(), 5, {settings}))
                except safeconnect.PortsExhaustedError as caught:
                    error = caught
            print(sorted(sock.getsockname()[1] for sock in held), error.errno, error, sep="|")
            for sock in held:
                sock.close()
        """
        printed = namespace.run(code, ports="40000 40005")
        used, number, message = printed.strip().split("|")
        expected = [port for port in range(40000, 40006) if str(port) != target]
        assert used == str(expected)
        assert int(number) == errno.EADDRNOTAVAIL
        assert f"all {len(expected)} source ports toward 127.0.0.1:{target} are taken (40000-40005)" in message

    def test_range_that_changes_is_followed(self):
        code = """
            import socket, safeconnect
            from pathlib import Path
            server = socket.create_server(("127.0.0.1", 7))
            held = [safeconnect.create_connection(server.getsockname(), 5) for _ in range(4)]
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50003")
            held += [safeconnect.create_connection(server.getsockname(), 5) for _ in range(4)]
            print(*sorted(sock.getsockname()[1] for sock in held), safeconnect.ephemeral_ports())
        """
        expected = [*range(40000, 40004), *range(50000, 50004), "50000-50003"]
        assert namespace.run(code, ports="40000 40003").split() == list(map(str, expected))

    def test_reserved_ports_are_not_used(self):
        code = """
            import socket, safeconnect
            from pathlib import Path
            Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("40001-40062")
            server = socket.create_server(("127.0.0.1", 7))
            held = [safeconnect.create_connection(server.getsockname(), 5) for _ in range(2)]
            print(*sorted(sock.getsockname()[1] for sock in held), safeconnect.reserved_ports())
        """
        assert namespace.run(code, ports="40000 40063").split() == ["40000", "40063", "40001-40062"]

    def test_a_host_whose_ports_are_all_reserved(self):
        code = """
            import safeconnect
            from pathlib import Path
            Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("40000-40063")
            try:
                safeconnect.create_connection(("127.0.0.1", 7), 5)
            except safeconnect.PortsExhaustedError as error:
                print(error)
        """
        assert "every port of 40000-40063 is reserved" in namespace.run(code, ports="40000 40063")

    @needs_port_range
    def test_windows_drawn_from_a_range_that_has_changed_meanwhile_are_dropped(self):
        code = """
            import socket, safeconnect
            from pathlib import Path
            from safeconnect._sockets import port_window, kernel
            server = socket.create_server(("127.0.0.1", 7))
            side_by_side = port_window._side_by_side
            def overtaken(ports):
                # Another thread reads the new range while this one still draws from the old.
                port_window._side_by_side = side_by_side
                Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50999")
                kernel.source_ports(refresh=True)
                return side_by_side(ports)
            port_window._side_by_side = overtaken
            ports = [safeconnect.create_connection(server.getsockname(), 5).getsockname()[1] for _ in range(3)]
            with socket.socket() as sock:
                print(all(50000 <= port <= 50999 for port in ports))
                print(port_window.choose(sock, ("127.0.0.1", 7))[1] >= 50000)
        """
        assert namespace.run(code, ports="40000 40999") == "True\nTrue\n"

    def test_a_given_source_port_is_not_exhaustion(self, server):
        port = closed_port()
        reuse = [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]
        with create_connection(server.getsockname(), 5, ("127.0.0.1", port), options=reuse) as sock:
            with pytest.raises(OSError, match=r".") as caught:
                create_connection(server.getsockname(), 5, ("127.0.0.1", port), options=reuse)
            safeconnect._sockets.lifecycle.reset(sock)
        assert caught.value.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE)
        assert not isinstance(caught.value, PortsExhaustedError)

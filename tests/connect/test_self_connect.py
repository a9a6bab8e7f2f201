"""The main promise: no socket that is connected to itself, and nothing left behind where one had to be reset."""

import errno
import os
import socket

import pytest

from safeconnect import SelfConnectError, create_connection, is_self_connected
from safeconnect._sockets import kernel, lifecycle

from .. import namespace
from ..support import (
    LOOPBACK,
    TIME_WAIT,
    both_families,
    closed_port,
    linux_only,
    needs_ipv6,
    needs_port_range,
    one_port,
    serve_plainly,
    tcp_sockets,
)

# 300,000 is what the acceptance of a release asks for; the suite itself makes do with fewer.
TRIES = int(os.environ.get("SAFECONNECT_TRIES", "20000"))

# linux/in6.h: with it, getpeername() tells the flow label and getsockname() does not.
FLOWINFO_SEND = (socket.IPPROTO_IPV6, 33, 1)

# A connect alone, and one that the state machine makes.
WAYS = [pytest.param({}, id="alone"), pytest.param({"trace": lambda _: None}, id="traced")]

# How the standard library's socket meets itself with certainty, by the address it connects to.
TARGETS = [
    pytest.param("127.0.0.1", id="IPv4"),
    pytest.param("::1", id="IPv6", marks=needs_ipv6),
    pytest.param("::ffff:127.0.0.1", id="v4-mapped", marks=needs_ipv6),
    pytest.param("0.0.0.0", id="any IPv4"),
    pytest.param("::", id="any IPv6", marks=needs_ipv6),
    pytest.param("::ffff:0.0.0.0", id="any v4-mapped", marks=needs_ipv6),
]


@pytest.fixture
def no_prevention(monkeypatch):
    monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE, kernel.IP_BIND_ADDRESS_NO_PORT})


def meet(address, options=()):
    """A plain socket connected to itself."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    for option in (one_port(address[1]), *options):
        sock.setsockopt(*option)
    sock.connect(address)
    return sock


def assert_free(port, host="127.0.0.1"):
    assert tcp_sockets(port) == []
    serve_plainly(port, host, socket.AF_INET6 if ":" in host else socket.AF_INET)


@needs_port_range
@linux_only
class TestRecognition:
    @pytest.mark.parametrize("host", TARGETS)
    def test_of_every_way_to_meet_oneself(self, host):
        port = closed_port()
        sock = meet((host, port))
        assert is_self_connected(sock)
        lifecycle.reset(sock)
        assert tcp_sockets(port) == []

    @needs_ipv6
    def test_with_a_flow_label(self):
        sock = meet(("::1", closed_port(), 74565, 0), [FLOWINFO_SEND])
        assert sock.getsockname() != sock.getpeername(), "the names differ, which fools a plain comparison"
        assert is_self_connected(sock)
        lifecycle.reset(sock)

    def test_by_binding_first(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            assert not is_self_connected(sock)
            sock.connect(sock.getsockname())
            assert is_self_connected(sock)
            lifecycle.reset(sock)
            with pytest.raises(OSError, match="Bad file descriptor"):
                is_self_connected(sock)

    def test_of_a_datagram_socket(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            assert is_self_connected(sock)

    @both_families
    def test_not_of_an_ordinary_connection(self, family):
        with (
            socket.create_server((LOOPBACK[family], 0), family=family) as server,
            create_connection(server.getsockname()[:2]) as sock,
            server.accept()[0] as accepted,
        ):
            assert not is_self_connected(sock)
            assert not is_self_connected(accepted)
            lifecycle.reset(accepted)
            assert not is_self_connected(sock), "a peer that is gone is no sign of a self-connect"

    def test_not_of_unix_sockets(self):
        left, right = socket.socketpair()
        with left, right:
            assert not is_self_connected(left)


@linux_only
class TestDetectionAlone:
    """As right where the kernel cannot prevent it: each of these connects really meets itself."""

    @needs_port_range
    @pytest.mark.parametrize("host", TARGETS)
    def test_ends_in_an_error_and_frees_the_port(self, no_prevention, host):
        port = closed_port()
        with pytest.raises(SelfConnectError) as caught:
            create_connection((host, port), 5, options=[one_port(port)])
        assert caught.value.errno == errno.ECONNREFUSED
        assert isinstance(caught.value, ConnectionRefusedError)
        assert "the socket connected to itself (16 of 16 tries)" in str(caught.value)
        assert_free(port)

    @needs_ipv6
    @needs_port_range
    def test_with_a_flow_label(self, no_prevention):
        port = closed_port()
        with pytest.raises(SelfConnectError):
            create_connection(("::1", port, 74565, 0), 5, options=[one_port(port), FLOWINFO_SEND])
        assert_free(port, "::1")

    @pytest.mark.parametrize("settings", WAYS)
    @pytest.mark.parametrize("prevention", [True, False])
    @both_families
    def test_source_equal_to_target_fails_at_once(self, request, settings, prevention, family):
        if not prevention:
            request.getfixturevalue("no_prevention")
        address = (LOOPBACK[family], closed_port())
        with pytest.raises(SelfConnectError, match="its source address is the target"):
            create_connection(address, 5, source_address=address, **settings)
        assert_free(address[1], address[0])

    @needs_port_range
    def test_a_range_of_the_users_own_is_left_alone(self):
        port = closed_port()
        with pytest.raises(SelfConnectError):
            create_connection(("127.0.0.1", port), 5, options=[one_port(port)])
        assert_free(port)

    @needs_port_range
    def test_goes_on_to_the_server_when_another_port_can_be_had(self, no_prevention, monkeypatch, server):
        # The first socket is made to meet itself: it is told to connect to its own name, as the kernel might have it.
        met = []

        class MeetsItselfOnce(socket.socket):
            def connect(self, address):
                if met:
                    return super().connect(address)
                met.append(self)
                self.bind(("127.0.0.1", 0))
                super().connect(self.getsockname())
                self.getpeername = self.getsockname = lambda: address
                return None

        monkeypatch.setattr(socket, "socket", MeetsItselfOnce)
        with create_connection(server.getsockname(), 5) as sock:
            assert sock.getpeername() == server.getsockname()
        assert met[0].fileno() == -1, "the socket that met itself must be closed"

    @needs_port_range
    def test_is_reset_even_where_the_connect_does_not_wait(self):
        port = closed_port()
        with pytest.raises(BlockingIOError):
            create_connection(("127.0.0.1", port), 0, options=[one_port(port)])
        assert_free(port)

    def test_own_addresses_that_are_not_loopback(self):
        code = """
            import socket, safeconnect
            from safeconnect._sockets import kernel
            from tests.support import serve_plainly, tcp_sockets
            kernel.missing.add(kernel.IP_LOCAL_PORT_RANGE)
            for host in ("192.0.2.1", "127.0.0.1"):
                try:
                    safeconnect.create_connection((host, 40000), 5)
                except safeconnect.SelfConnectError as error:
                    print(host, tcp_sockets(40000))
                serve_plainly(40000, host)
        """
        printed = namespace.run(code, ports="40000 40000", address="192.0.2.1")
        assert printed.splitlines() == ["192.0.2.1 []", "127.0.0.1 []"]

    @pytest.mark.parametrize("settings", WAYS)
    def test_einval_on_macos_counts_as_one(self, monkeypatch, on_platform, settings):
        class RefusesItself(socket.socket):
            def connect(self, address):
                raise OSError(self.connect_ex(address), "Invalid argument")

            def connect_ex(self, address):
                self.getsockname = lambda: address
                return errno.EINVAL

        monkeypatch.setattr(socket, "socket", RefusesItself)
        with pytest.raises(OSError, match="Invalid argument"):
            create_connection(("127.0.0.1", 40000), 5, **settings)
        on_platform("darwin")
        with pytest.raises(SelfConnectError):
            create_connection(("127.0.0.1", 40000), 5, **settings)


@linux_only
class TestPrevention:
    @needs_port_range
    @both_families
    def test_never_in_many_tries_and_the_port_is_free_right_after(self, family):
        port = closed_port()
        for _ in range(TRIES):
            with pytest.raises(ConnectionRefusedError) as caught:
                create_connection((LOOPBACK[family], port))
            assert type(caught.value) is ConnectionRefusedError, "it met itself, which the window was to prevent"
        assert_free(port, LOOPBACK[family])

    @needs_port_range
    def test_the_target_is_in_no_window(self, monkeypatch):
        port = closed_port()
        windows = []

        class Recorder(socket.socket):
            def setsockopt(self, level, name, value):
                if name == kernel.IP_LOCAL_PORT_RANGE:
                    windows.append((value & 0xFFFF, value >> 16 & 0xFFFF))
                super().setsockopt(level, name, value)

        monkeypatch.setattr(socket, "socket", Recorder)
        monkeypatch.setattr(kernel, "_remembered", {"source": kernel.PortSet(range(port - 40, port + 41))})
        kernel._tell()
        for _ in range(300):
            with pytest.raises(ConnectionRefusedError):
                create_connection(("127.0.0.1", port))
        kernel.forget()
        assert len(windows) >= 300
        assert all(not first <= port <= last for first, last in windows)

    @pytest.mark.slow
    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1"])
    def test_a_host_whose_only_source_port_is_the_target(self, host):
        code = f"""
            import errno, socket, safeconnect
            from tests.support import descriptors, serve_plainly, tcp_sockets
            before = descriptors()
            for _ in range(200):
                try:
                    sock = safeconnect.create_connection(({host!r}, 40000), 5)
                except OSError as error:
                    assert error.errno in (errno.ECONNREFUSED, errno.EADDRNOTAVAIL), error
                else:
                    raise SystemExit(f"handed back {{sock}}")
                assert tcp_sockets(40000) == []
                serve_plainly(40000)
            assert descriptors().keys() == before.keys()
            print("never")
        """
        assert namespace.run(code, ports="40000 40000") == "never\n"

    def test_nothing_stays_in_time_wait_where_a_naive_client_leaves_it(self):
        code = """
            import errno, socket, safeconnect
            from tests.support import TIME_WAIT, serve_plainly, tcp_sockets
            try:
                safeconnect.create_connection(("127.0.0.1", 40000), 5)
            except ConnectionRefusedError:
                print(tcp_sockets(40000))
            socket.create_connection(("127.0.0.1", 40000), 5).close()
            print(tcp_sockets(40000) == [TIME_WAIT])
            try:
                serve_plainly(40000)
            except OSError as error:
                print(error.errno == errno.EADDRINUSE)
        """
        assert namespace.run(code, ports="40000 40000").splitlines() == ["[]", "True", "True"]

    @both_families
    def test_a_source_address_leaves_the_port_to_connect(self, monkeypatch, family):
        # IP_BIND_ADDRESS_NO_PORT: without it, bind() would take a port that may be the target's own.
        port = closed_port()
        seen = []

        class Recorder(socket.socket):
            def connect(self, address):
                seen.append(self.getsockname()[1])
                super().connect(address)

        monkeypatch.setattr(socket, "socket", Recorder)
        with pytest.raises(ConnectionRefusedError):
            create_connection((LOOPBACK[family], port), 5, (LOOPBACK[family], 0))
        assert seen == [0]


@needs_port_range
@linux_only
def test_time_wait_is_what_the_tests_would_see():
    """The checks above see it where there is one: a control."""
    port = closed_port()
    meet(("127.0.0.1", port)).close()
    assert tcp_sockets(port) == [TIME_WAIT]
    with pytest.raises(OSError, match="in use"):
        serve_plainly(port)

"""Every fault, seen from a client; what it logs, and what it leaves behind."""

import contextlib
import errno
import os
import select
import socket
import statistics
import threading
import time

import pytest

import safeconnect
from safeconnect import SelfConnectError, testing
from safeconnect.testing import Peer

from .. import support
from ..support import SOON, linux_only, needs_ipv6

ROUNDS = int(os.environ.get("SAFECONNECT_ROUNDS", "10"))  # 500 is what each fault is meant to bear


def connect(fault, timeout=5.0):
    return socket.create_connection(fault.address[:2], timeout)


def connect_and_read(fault):
    with connect(fault) as sock:
        return sock.recv(1)


def ask(connection, word, timeout):
    with connection.exchange(timeout) as exchange:
        exchange.sendall(word)
        return exchange.recv(1)


@pytest.fixture(params=["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def host(request):
    return request.param


class TestBehaviour:
    def test_refused(self, host):
        with testing.refused(host=host) as fault:
            for _ in range(3):
                support.ran_into(ConnectionRefusedError, connect, fault)
            with socket.socket(fault.family) as other, pytest.raises(OSError, match="in use"):
                other.bind(fault.address)
        support.serve_plainly(fault.port, host, fault.family)

    def test_blackhole(self, host):
        with testing.blackhole(host=host) as fault:
            support.ran_into(TimeoutError, connect, fault, 0.02)
            support.ran_into(TimeoutError, connect, fault, 0.02)

    def test_blackhole_where_the_length_of_the_queue_is_not_told(self, monkeypatch):
        monkeypatch.setattr("safeconnect.testing._listeners._is_full", lambda listener: False)
        with testing.blackhole() as fault, socket.socket() as sock:
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.connect(fault.address)

    def test_blackhole_that_heals(self):
        with testing.blackhole() as fault, socket.socket() as waiting:
            waiting.settimeout(0)
            assert waiting.connect_ex(fault.address) == errno.EINPROGRESS
            fault.heal()
            assert select.select([], [waiting], [], 10)[1]  # with its next SYN
            waiting.settimeout(5)
            waiting.sendall(b"ping")
            assert waiting.recv(10) == b"ping"

    def test_late_listener(self, host):
        with testing.late_listener(host=host) as fault:
            support.ran_into(ConnectionRefusedError, connect, fault)
            fault.start()
            fault.start()
            with connect(fault) as sock:
                sock.sendall(b"ping")
                assert sock.recv(10) == b"ping"

    def test_echo(self, host):
        with testing.echo(host=host) as fault, connect(fault) as sock:
            sock.sendall(b"ping")
            assert sock.recv(10) == b"ping"
            (connection,) = fault.wait_for_connections(1)
            assert connection.received == b"ping"
            assert connection.peer == sock.getsockname()
            assert connection.accepted_at <= connection.received_at[0][0] <= time.monotonic()
            assert connection.received_at[0][1] == 4
            assert connection.ended_at is None
            assert repr(connection) == f"<Connection 1 from {host}:{sock.getsockname()[1]}, 4 bytes, open>"

    def test_silent(self):
        with testing.silent() as fault, connect(fault, 0.02) as sock:
            sock.sendall(b"hello?")
            support.ran_into(TimeoutError, sock.recv, 1)
            (connection,) = fault.wait_for_connections(1)
            support.wait_until(lambda: connection.received == b"hello?")

    def test_never_reads(self):
        with testing.never_reads() as fault, connect(fault, 0.05) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            support.ran_into(TimeoutError, sock.sendall, bytes(2**20))
            assert fault.wait_for_connections(1)[0].received == b""

    def test_resets_at_accept(self):
        with testing.resets() as fault:
            support.ran_into(ConnectionResetError, connect_and_read, fault)

    def test_resets_at_the_first_byte(self):
        with testing.resets("first_byte") as fault, connect(fault) as sock:
            assert not select.select([sock], [], [], 0.02)[0]
            sock.sendall(b"x")
            support.ran_into(ConnectionResetError, sock.recv, 1)

    def test_resets_when_told(self):
        with testing.resets("manual") as fault, connect(fault) as sock:
            sock.sendall(b"ping")
            assert sock.recv(10) == b"ping"
            fault.reset()
            support.ran_into(ConnectionResetError, sock.recv, 1)

    def test_any_server_can_be_told_to_reset(self):
        with testing.silent() as fault, connect(fault) as sock:
            fault.wait_for_connections(1)
            fault.reset()
            support.ran_into(ConnectionResetError, sock.recv, 1)

    def test_half_closes(self):
        with testing.half_closes(b"bye") as fault, connect(fault) as sock:
            assert (sock.recv(10), sock.recv(10)) == (b"bye", b"")
            sock.sendall(b"still there")
            support.wait_until(lambda: fault.connections[0].received == b"still there")

    def test_drips(self):
        def pieces(sock, size):
            found = []
            while sum(map(len, found)) < size:
                found.append(sock.recv(10))
            return found

        def drip():
            with testing.drips(0.01, 2, data=b"abcde") as fault, connect(fault) as sock:
                yield pieces(sock, 5)
                sock.sendall(b"xyz")
                yield pieces(sock, 3)

        # Who is slow to read gets two pieces at once.
        support.wait_until(lambda: list(drip()) == [[b"ab", b"cd", b"e"], [b"xy", b"z"]])

    def test_slow_accept(self):
        with testing.slow_accept(0.4) as fault, connect(fault) as sock:
            sock.sendall(b"ping")
            assert not select.select([sock], [], [], 0.02)[0]
            assert sock.recv(10) == b"ping"

    def test_crossed_replies(self):
        """What a careless client makes of it: it takes the first reply for the second."""
        with testing.crossed_replies(0.5) as fault, connect(fault, 0.02) as sock:
            sock.sendall(b"1")
            support.ran_into(TimeoutError, sock.recv, 1)
            sock.settimeout(5)
            sock.sendall(b"2")
            assert sock.recv(1) == b"1"
        with testing.crossed_replies(0.5) as fault, safeconnect.PersistentConnection(fault.address) as connection:
            support.ran_into(TimeoutError, ask, connection, b"1", 0.02)
            assert ask(connection, b"2", 5) == b"2"

    def test_serve(self):
        def shout(peer: Peer):
            while data := peer.recv():
                peer.sendall(data.upper() + b"%d" % peer.number)

        with testing.serve(shout) as fault:
            for number in (1, 2):
                with connect(fault) as sock:
                    sock.sendall(b"hey")
                    assert sock.recv(10) == b"HEY%d" % number

    def test_tls(self):
        with testing.tls() as fault:
            with fault.client_context.wrap_socket(connect(fault), server_hostname="localhost") as sock:
                sock.sendall(b"ping")
                assert sock.recv(10) == b"ping"
            with fault.client_context.wrap_socket(connect(fault), server_hostname="127.0.0.1") as sock:
                assert sock.getpeercert()
            assert fault.authority.startswith(b"-----BEGIN CERTIFICATE-----")
            assert fault.wait_for_connections(2)[0].received == b"ping"

    def test_tls_with_a_context_of_ones_own(self):
        with testing.tls() as one, testing.tls(one.context) as other:
            with one.client_context.wrap_socket(connect(other), server_hostname="localhost") as sock:
                assert sock.version()
            assert other.client_context is None


class TestFlaky:
    def test_one_step_after_the_other(self):
        with testing.flaky(["reset", "close", "silent", "serve"]) as fault:
            support.ran_into(ConnectionResetError, connect_and_read, fault)
            with connect(fault) as sock:
                assert sock.recv(1) == b""
            with connect(fault, 0.02) as sock:
                support.ran_into(TimeoutError, sock.recv, 1)
            for _ in range(2):  # the last step stays
                with connect(fault) as sock:
                    sock.sendall(b"ping")
                    assert sock.recv(10) == b"ping"
            assert len(fault.connections) == 5

    def test_refuses_until_told(self):
        with testing.flaky(["refuse", "serve"], refuse_for=100) as fault:
            for _ in range(3):
                support.ran_into(ConnectionRefusedError, connect, fault)
            fault.advance()
            safeconnect.create_connection(fault.address, 5, retry=safeconnect.Retry(attempts=None)).close()

    def test_refuses_for_a_while(self):
        with testing.flaky(["refuse", "serve"], refuse_for=0.5) as fault:
            support.ran_into(ConnectionRefusedError, connect, fault)
            safeconnect.create_connection(fault.address, 5, retry=safeconnect.Retry(attempts=None)).close()

    def test_refuses_between(self):
        """The connect after one that was accepted finds nobody, though nothing waits in between."""
        with testing.flaky(["close", "refuse", "serve"], refuse_for=100) as fault:
            with connect(fault) as sock:
                assert sock.recv(1) == b""
            support.ran_into(ConnectionRefusedError, connect, fault)
            fault.advance()
            safeconnect.create_connection(fault.address, 5, retry=safeconnect.Retry(attempts=None)).close()

    def test_a_function_as_a_step(self):
        with testing.flaky([lambda peer: peer.sendall(b"mine"), "serve"]) as fault, connect(fault) as sock:
            assert sock.recv(10) == b"mine"


class TestSelfConnecting:
    def test_the_standard_library(self):
        with testing.self_connecting() as fault:
            for _ in range(3):
                sock = connect(fault)
                assert sock.getsockname() == sock.getpeername()
                sock.sendall(b"ping")
                assert sock.recv(10) == b"ping"
                support.reset(sock)
            assert fault.meetings == 3

    def test_ours(self):
        with testing.self_connecting() as fault:
            error = support.ran_into(SelfConnectError, safeconnect.create_connection, fault.address, 5)
            assert "connected to itself" in str(error)
        support.serve_plainly(fault.port)

    def test_others_go_their_own_ways(self, server):
        with testing.self_connecting(), connect_to(server) as sock:
            assert sock.getsockname() != sock.getpeername()

    @linux_only
    def test_without_the_range(self, monkeypatch):
        from safeconnect._sockets import kernel

        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        with testing.self_connecting() as fault:
            sock = connect(fault)
            assert sock.getsockname() == sock.getpeername()
            support.reset(sock)

    def test_nothing_is_left_patched(self):
        before = socket.socket.connect, socket.socket.connect_ex
        with testing.self_connecting(), testing.self_connecting():
            assert socket.socket.connect is not before[0]
        assert (socket.socket.connect, socket.socket.connect_ex) == before


def connect_to(server):
    return socket.create_connection(server.getsockname(), 5)


class TestLog:
    def test_all_closed(self):
        with testing.echo() as fault:
            with connect(fault):
                fault.wait_for_connections(1)
            fault.assert_all_closed()

    def test_left_open(self):
        with testing.echo() as fault, connect(fault) as first, connect(fault) as second:
            fault.wait_for_connections(2)
            first.close()
            support.wait_until(lambda: fault.connections[0].ended_at is not None)
            error = support.ran_into(AssertionError, fault.assert_all_closed, 0.05)
            port = second.getsockname()[1]
            assert str(error) == f"the client has left open: <Connection 2 from 127.0.0.1:{port}, 0 bytes, open>"

    def test_closed_in_time(self):
        with testing.silent() as fault, connect(fault) as sock:
            fault.wait_for_connections(1)
            timer = threading.Timer(0.02, sock.close)
            timer.start()
            fault.assert_all_closed(5)
            timer.join()

    def test_connections_that_do_not_come(self):
        with testing.echo() as fault, pytest.raises(AssertionError, match=r"0 connections came in 10 ms, not 1"):
            fault.wait_for_connections(1, 0.01)


EVERY = [
    testing.refused,
    testing.blackhole,
    testing.late_listener,
    testing.echo,
    testing.silent,
    testing.never_reads,
    testing.resets,
    testing.half_closes,
    testing.drips,
    testing.crossed_replies,
    testing.tls,
    testing.self_connecting,
]


@pytest.mark.parametrize("make", EVERY, ids=lambda make: make.__name__)
def test_the_end_is_quick_and_leaves_nothing(make):
    """With a client that is in the middle of something; descriptors and threads are checked after each test."""
    sock = None
    with make() as fault:
        with contextlib.suppress(OSError):
            sock = connect(fault, 0.02)
            sock.sendall(bytes(300_000))
        began = time.monotonic()
    took = time.monotonic() - began
    if sock is not None:
        support.reset(sock)
    assert took < SOON
    if make is not testing.self_connecting:
        support.serve_plainly(fault.port)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: testing.resets("never"), "when must be 'accept', 'first_byte' or 'manual', not 'never'"),
        (lambda: testing.drips(-1), "delay must be 0 or more"),
        (lambda: testing.drips(size=0), "size must be 1 or more"),
        (lambda: testing.slow_accept(-1), "delay must be 0 or more"),
        (lambda: testing.crossed_replies(-1), "delay must be 0 or more"),
        (lambda: testing.flaky([]), "script must have steps"),
        (lambda: testing.flaky(["explode"]), "not \\['explode'\\]"),
        (lambda: testing.dual_stack(v6="explode").__enter__(), "v6 must be the name of a fault"),
    ],
)
def test_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_port_that_is_taken(server):
    with pytest.raises(OSError, match="in use"):
        testing.echo(port=server.getsockname()[1])


def use(fault):
    """Do as a client does, whatever comes of it."""
    try:
        with connect(fault, 0.005) as sock:
            sock.sendall(b"ping")
            sock.recv(10)
    except OSError:
        return


@pytest.mark.parametrize(
    "make", [*EVERY, lambda: testing.flaky(["reset", "refuse", "serve"])], ids=lambda make: make.__name__
)
def test_round_after_round(make):
    threads = threading.active_count()
    ends = []
    for _ in range(ROUNDS):
        with make() as fault:
            use(fault)
            began = time.monotonic()
        ends.append(time.monotonic() - began)
        assert threading.active_count() <= threads
    print(f"{make.__name__}: the end takes {statistics.median(ends) * 1e3:.1f} ms, {max(ends) * 1e3:.1f} at most")
    assert statistics.median(ends) < support.SOON

"""One suite for all drivers: the same outcomes, errors, notes and traces."""

import errno
import socket
import threading
import time

import pytest

import safeconnect
from safeconnect import (
    Backoff,
    ConnectMemory,
    Connector,
    Retry,
    SelfConnectError,
    is_self_connected,
)
from safeconnect._sockets import kernel, lifecycle
from safeconnect._sockets.endpoint import written
from safeconnect.events import Abandon, Connected, Failed, Resolve, Start

from .. import support
from ..drivers import DRIVERS, each_driver
from ..support import (
    SOON,
    closed_port,
    linux_only,
    needs_ipv6,
    needs_port_range,
    notes_of,
    one_port,
    ran_into,
    resolver,
    timed,
)

REFUSED = "[Errno 111] Connection refused"


@each_driver
class TestConnected:
    def test_to_a_literal(self, connect, server):
        with connect(server.getsockname(), 5) as sock:
            assert sock.getpeername() == server.getsockname()

    @linux_only
    def test_a_second_connect_leaves_it_where_it_is(self, connect, server):
        with support.listening() as other, connect(server.getsockname(), 5) as sock:
            first = sock.connect_ex(other.getsockname())
            # 0 is the answer to the first connect, which only one driver leaves to be asked for.
            assert first == (0 if connect is DRIVERS[0] else errno.EISCONN)
            assert sock.connect_ex(other.getsockname()) == errno.EISCONN
            assert sock.connect_ex(server.getsockname()) == errno.EISCONN
            assert sock.getpeername() == server.getsockname()

    @needs_ipv6
    def test_to_a_full_ipv6_address(self, connect):
        with support.listening(socket.AF_INET6) as server, connect(server.getsockname(), 5) as sock:
            assert sock.getpeername() == server.getsockname()

    def test_to_a_name(self, connect, server):
        with connect(("localhost", server.getsockname()[1]), 5) as sock:
            assert sock.getpeername() == server.getsockname()

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", b"localhost"])
    @pytest.mark.parametrize("settings", [{}, {"retry": Retry()}, {"family": socket.AF_INET}])
    def test_to_a_literal_or_localhost_without_a_thread(self, connect, server, host, settings, monkeypatch):
        monkeypatch.setattr("safeconnect._sockets.lookups.start", lambda *_: pytest.fail("a thread was started"))
        with connect((host, server.getsockname()[1]), 5, **settings) as sock:
            assert sock.getpeername() == server.getsockname()

    def test_to_the_second_address_when_the_first_refuses(self, connect, server):
        names = resolver(("127.0.0.1", closed_port(1)), server.getsockname())
        sock, seconds = timed(lambda: connect(("name", 1), 30, resolver=names, happy_eyeballs_delay=10))
        with sock:
            assert sock.getpeername() == server.getsockname()
        assert seconds < SOON

    @linux_only
    def test_to_the_second_address_when_the_first_is_silent(self, connect, hole, server):
        names = resolver(hole, server.getsockname())
        sock, seconds = timed(lambda: connect(("name", 1), 5, resolver=names))
        with sock:
            assert sock.getpeername() == server.getsockname()
        assert 0.25 <= seconds < SOON

    @linux_only
    def test_once_the_black_hole_heals(self, connect, hole):
        # The first SYN again comes after a second, when there is room.
        with socket.socket(fileno=_listener_of(hole)) as listener:

            def tell(message):
                if isinstance(message, Start):
                    listener.accept()[0].close()

            with connect(hole, 10, trace=tell) as sock:
                assert sock.getpeername() == hole

    def test_with_socket_options(self, connect, server):
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        with connect(server.getsockname(), 5, options=options) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def test_by_a_connector(self, connect, server):
        trace = []
        connector = Connector(timeout=5, trace=trace.append, resolver=resolver(server.getsockname()))
        with connect(("name", 1), 7, connector=connector) as sock:
            assert sock.getpeername() == server.getsockname()
        assert trace

    @linux_only
    def test_with_memory_at_once_the_second_time(self, connect, hole, server):
        connector = Connector(timeout=5, memory=ConnectMemory(), resolver=resolver(hole, server.getsockname()))
        connect(("name", 1), 5, connector=connector).close()
        trace = []
        again = {"memory": connector.memory, "resolver": connector.resolver, "trace": trace.append}
        connect(("name", 1), 5, **again).close()
        assert [message.candidate[4] for message in trace if isinstance(message, Start)] == [server.getsockname()]

    def test_after_retries(self, connect):
        with support.held_port() as held:
            address = held.getsockname()

            trace = []

            def tell(message):
                trace.append(type(message))
                if isinstance(message, Failed) and message.attempt == 2:
                    held.listen()

            retry = Retry(attempts=None, backoff=Backoff(initial=0.01, jitter="none"))
            with connect(address, 10, retry=retry, trace=tell) as sock:
                assert sock.getpeername() == address
            assert trace.count(Failed) == 2

    def test_when_one_family_of_answers_hangs(self, connect, server):
        release = threading.Event()

        def names(host, port, family=0, *rest):
            if family == socket.AF_INET6:
                release.wait(10)
                return []
            return resolver(server.getsockname())(host, port, family, *rest)

        try:
            trace = []
            settings = {"resolver": names, "resolution_delay": 0.05, "trace": trace.append}
            sock, seconds = timed(lambda: connect(("name", 1), 5, **settings))
            with sock:
                assert sock.getpeername() == server.getsockname()
            assert 0.05 <= seconds < SOON
            assert trace[:2] == [Resolve("AAAA"), Resolve("A")]
        finally:
            release.set()


def _listener_of(hole):
    """A descriptor of the listener that this process has at the address."""
    for number, what in support.descriptors().items():
        if what.startswith("socket:"):
            with socket.socket(fileno=number) as sock:
                is_listener = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                found = is_listener and sock.family == socket.AF_INET and sock.getsockname() == hole
                twin = sock.dup().detach() if found else None
                sock.detach()
            if twin is not None:
                return twin
    raise LookupError(hole)


@each_driver
class TestErrors:
    def test_refused(self, connect):
        address = ("127.0.0.1", closed_port(1))
        error = ran_into(ConnectionRefusedError, connect, address, 5)
        assert error.errno == errno.ECONNREFUSED
        assert notes_of(error) == [f"{written(address)}: failed after ..."]

    def test_all_addresses_refused(self, connect):
        addresses = [("127.0.0.1", closed_port(1)), ("127.0.0.2", closed_port(1))]
        error = ran_into(ConnectionRefusedError, connect, ("name", 1), 5, resolver=resolver(*addresses))
        assert notes_of(error) == [f"{written(address)}: {REFUSED} after ..." for address in addresses]

    def test_all_errors(self, connect):
        addresses = [("127.0.0.1", closed_port(1)), ("127.0.0.2", closed_port(1))]
        names = resolver(*addresses)
        group = ran_into(ExceptionGroup, connect, ("name", 1), 5, resolver=names, all_errors=True)
        assert [type(error) for error in group.exceptions] == [ConnectionRefusedError] * 2
        assert [notes_of(error) for error in group.exceptions] == [
            [f"{written(address)}: failed after ..."] for address in addresses
        ]

    @linux_only
    def test_silence(self, connect, hole):
        began = time.monotonic()
        error = ran_into(TimeoutError, connect, hole, 0.3)
        assert 0.3 <= time.monotonic() - began < SOON
        assert error.args == ("timed out",)
        assert notes_of(error) == [f"{written(hole)}: failed after ..."]

    @linux_only
    def test_an_answer_counts_more_than_silence(self, connect, hole):
        closed = ("127.0.0.1", closed_port(1))
        names = resolver(closed, hole)
        began = time.monotonic()
        error = ran_into(TimeoutError, connect, ("name", 1), 0.5, resolver=names)
        assert 0.5 <= time.monotonic() - began < SOON
        assert notes_of(error) == [f"{written(closed)}: {REFUSED} after ...", f"{written(hole)}: timed out after ..."]

    def test_resolver_hangs(self, connect):
        release = threading.Event()
        began = time.monotonic()
        try:
            error = ran_into(TimeoutError, connect, ("name", 7), 0.2, resolver=lambda *_: release.wait(10) or [])
        finally:
            release.set()
        assert 0.2 <= time.monotonic() - began < SOON
        assert error.args == ("timed out",)
        assert error.__notes__ == ["while looking up host 'name', port 7"]

    def test_resolver_fails(self, connect):
        def names(*_):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        error = ran_into(socket.gaierror, connect, ("name", 7), 5, resolver=names)
        assert error.errno == socket.EAI_NONAME
        assert error.__notes__ == ["while looking up host 'name', port 7"]

    def test_resolver_knows_no_address(self, connect):
        error = ran_into(OSError, connect, ("name", 7), 5, resolver=lambda *_: [])
        assert str(error) == "getaddrinfo returns an empty list"

    def test_resolver_is_broken(self, connect):
        error = ran_into(ZeroDivisionError, connect, ("name", 7), 5, resolver=lambda *_: 1 / 0)
        assert "division" in str(error)

    @pytest.mark.parametrize("kind", [Resolve, Connected])
    def test_a_listener_to_the_trace_is_broken(self, connect, server, kind):
        def tell(message):
            if isinstance(message, kind):
                raise KeyError(message)

        ran_into(KeyError, connect, server.getsockname(), 5, trace=tell)

    def test_option_that_cannot_be_set(self, connect, server):
        with pytest.raises(OSError, match=r"."):
            connect(server.getsockname(), 5, options=[(socket.SOL_SOCKET, 9999, 1)])


@each_driver
@linux_only
@needs_port_range
class TestSelfConnect:
    def test_never_wins_a_race(self, connect, server):
        port = closed_port()
        names = resolver(("127.0.0.1", port), server.getsockname())
        with connect(("name", 1), 5, resolver=names, options=[one_port(port)]) as sock:
            assert sock.getpeername() == server.getsockname()
            lifecycle.reset(sock)
        assert support.tcp_sockets(port) == []

    def test_ends_in_an_error_and_frees_the_port(self, connect, monkeypatch):
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        address = ("127.0.0.1", closed_port())
        trace = []
        error = ran_into(SelfConnectError, connect, address, 5, options=[one_port(address[1])], trace=trace.append)
        assert len([message for message in trace if isinstance(message, Abandon) and message.reset]) == 16
        assert error.errno == errno.ECONNREFUSED
        assert "the socket connected to itself (16 of 16 tries)" in str(error)
        assert support.tcp_sockets(address[1]) == []
        support.serve_plainly(address[1])

    @pytest.mark.parametrize("settings", [{}, {"retry": Retry()}], ids=["alone", "retry"])
    def test_may_be_allowed(self, connect, settings):
        port = closed_port()
        with connect(("127.0.0.1", port), 5, options=[one_port(port)], allow_self_connect=True, **settings) as sock:
            assert is_self_connected(sock)
            safeconnect._sockets.lifecycle.reset(sock)


@linux_only
def test_all_drivers_leave_the_same_trace(server):
    """Attempt by attempt; what differs is when each driver looks."""
    names = resolver(("127.0.0.1", closed_port(1)), ("127.0.0.2", closed_port(1)), server.getsockname())
    streams = []
    for driver in DRIVERS:
        connect = getattr(driver, "values", (driver,))[0]
        if any(mark.args[0] for mark in getattr(driver, "marks", ())):
            continue  # a reason is told by the tests above
        trace = []
        connect(("name", 1), 5, resolver=names, trace=trace.append).close()
        streams.append([type(message).__name__ for message in trace if type(message).__name__ != "Tick"])
    assert len(streams) >= 4
    assert all(stream == streams[0] for stream in streams)
    assert streams[0].count("Failed") == 2
    assert streams[0][-1] == "Keep"

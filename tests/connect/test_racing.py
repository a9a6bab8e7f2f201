"""The race on real sockets: black holes, refusals, hanging resolvers, retries, and nothing left over."""

import contextlib
import errno
import logging
import random
import socket
import threading
import time
from collections import Counter

import pytest

import safeconnect
from safeconnect import Backoff, ConnectMemory, Connector, Retry, SelfConnectError, create_connection
from safeconnect._connect.state_machine import Dial
from safeconnect._sockets import kernel
from safeconnect.events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, Start, Tick

from .. import support
from ..support import SOON, black_hole, closed_port, linux_only, needs_ipv6, needs_port_range, one_port, resolver, timed


class TestFailover:
    @linux_only
    def test_from_a_black_hole_after_the_attempt_delay(self, hole, server):
        names = resolver(hole, server.getsockname())
        sock, seconds = timed(lambda: create_connection(("name", 1), 5, resolver=names))
        with sock:
            assert sock.getpeername() == server.getsockname()
            assert sock.gettimeout() == 5
            assert 0.25 <= seconds < SOON

    @linux_only
    def test_with_memory_only_once(self, hole, server):
        connector = Connector(timeout=5, memory=ConnectMemory(), resolver=resolver(hole, server.getsockname()))
        trace = []
        connector.connect(("name", 1)).close()
        again = Connector(timeout=5, memory=connector.memory, resolver=connector.resolver, trace=trace.append)
        again.connect(("name", 1)).close()
        assert [message.candidate[4] for message in trace if isinstance(message, Start)] == [server.getsockname()]

    def test_from_a_refusal_at_once(self, server):
        names = resolver(("127.0.0.1", closed_port(1)), server.getsockname())
        sock, seconds = timed(lambda: create_connection(("name", 1), 30, resolver=names, happy_eyeballs_delay=10))
        with sock:
            assert sock.getpeername() == server.getsockname()
            assert seconds < 5

    @pytest.mark.slow
    @linux_only
    def test_past_20_black_holes_within_the_deadline(self, server):
        with black_hole(20) as holes:
            names = resolver(*holes, server.getsockname())
            with create_connection(("name", 1), 10, resolver=names) as sock:
                assert sock.getpeername() == server.getsockname()

    @linux_only
    def test_one_after_the_other(self, hole, server):
        names = resolver(hole, server.getsockname())
        sock, seconds = timed(lambda: create_connection(("name", 1), 4.5, resolver=names, happy_eyeballs_delay=None))
        with sock:
            assert sock.getpeername() == server.getsockname()
            assert 2.25 <= seconds < 4.5

    @linux_only
    def test_the_deadline_ends_it(self, hole):
        names = resolver(hole, ("127.0.0.1", closed_port(1)))
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out") as caught:
            create_connection(("name", 1), 1, resolver=names, happy_eyeballs_delay=0.01)
        assert 1 <= time.monotonic() - began < SOON
        silent, refused = (
            caught.value.__notes__ if "refused" in caught.value.__notes__[1] else caught.value.__notes__[::-1]
        )
        assert "timed out after" in silent
        assert "Connection refused after" in refused

    @needs_ipv6
    def test_families_take_turns(self, server):
        closed = closed_port(1)
        trace = []
        addresses = [("127.0.0.1", closed), ("127.0.0.2", closed), ("::1", closed, 0, 0), server.getsockname()]
        create_connection(("name", 1), 5, resolver=resolver(*addresses), trace=trace.append).close()
        tried = [message.candidate[4] for message in trace if isinstance(message, Start)]
        assert tried == [addresses[0], addresses[2], addresses[1], addresses[3]]

    def test_without_a_deadline(self, server):
        names = resolver(("127.0.0.1", closed_port(1)), server.getsockname())
        with create_connection(("name", 1), resolver=names) as sock:
            assert sock.gettimeout() is None

    def test_default_timeout_of_the_process_is_the_deadline(self, server):
        socket.setdefaulttimeout(3)
        try:
            names = resolver(("127.0.0.1", closed_port(1)), server.getsockname())
            with create_connection(("name", 1), resolver=names) as sock:
                assert sock.gettimeout() == 3
        finally:
            socket.setdefaulttimeout(None)

    def test_a_socket_that_need_not_wait_is_not_raced(self, server):
        names = resolver(server.getsockname(), server.getsockname())
        with pytest.raises(BlockingIOError) as caught:
            create_connection(("name", 1), 0, resolver=names)
        assert caught.value.errno == errno.EINPROGRESS


class TestNoMachine:
    @pytest.fixture(autouse=True)
    def forbidden(self, monkeypatch):
        monkeypatch.setattr("safeconnect._connect.driver.Dial", lambda *_: pytest.fail("a machine was built"))

    def test_for_a_literal(self, server):
        create_connection(server.getsockname(), 5).close()
        with pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", closed_port(1)), 5)

    @pytest.mark.parametrize("timeout", [None, 5])
    def test_for_a_name_with_one_address(self, server, timeout):
        create_connection(("name", 1), timeout, resolver=resolver(server.getsockname())).close()

    def test_for_a_first_address_that_is_connected_at_once(self, server):
        names = resolver(server.getsockname(), ("127.0.0.1", closed_port(1)))
        with create_connection(("name", 1), 5, resolver=names) as sock:
            assert sock.gettimeout() == 5

    def test_unless_it_has_met_itself(self, monkeypatch, server):
        built = []
        monkeypatch.setattr("safeconnect._connect.driver.Dial", lambda *args: built.append(args) or Dial(*args))
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        port = closed_port()
        names = resolver(("127.0.0.1", port), server.getsockname())
        with create_connection(("name", 1), 5, resolver=names, options=[one_port(port)]) as sock:
            assert sock.getpeername() == server.getsockname()
            safeconnect._sockets.sockets.reset(sock)
        assert built


class TestRetry:
    def test_until_the_server_is_there(self):
        with support.held_port() as held:
            address = held.getsockname()
            trace = []

            def tell(message):
                trace.append(message)
                if isinstance(message, Failed) and message.attempt == 2:
                    held.listen()

            retry = Retry(attempts=None, backoff=Backoff(initial=0.01, jitter="none"))
            with create_connection(address, 10, retry=retry, trace=tell) as sock:
                assert sock.getpeername() == address
        assert [type(message) for message in trace].count(Failed) == 2

    def test_gives_up_before_a_pause_that_would_outlast_the_deadline(self):
        retry = Retry(attempts=None, backoff=Backoff(initial=30, maximum=30, jitter="none"))
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", closed_port(1)), 5, retry=retry)
        assert time.monotonic() - began < SOON

    def test_says_how_often(self):
        retry = Retry(attempts=3, backoff=Backoff(initial=0.001))
        with pytest.raises(ConnectionRefusedError) as caught:
            create_connection(("127.0.0.1", closed_port(1)), retry=retry)
        assert [note.endswith("(3 times)") for note in caught.value.__notes__] == [True]

    def test_not_what_is_permanent(self):
        trace = []
        with pytest.raises(OSError, match=r"."):
            create_connection(
                ("127.0.0.1", 1), 5, ("192.0.2.1", 0), retry=Retry(on=lambda _: False), trace=trace.append
            )
        assert [type(message) for message in trace].count(Start) == 1


class TestSelfConnect:
    @needs_port_range
    @linux_only
    def test_never_wins_a_race(self, server):
        port = closed_port()
        names = resolver(("127.0.0.1", port), server.getsockname())
        # Whatever the range, the second address can be reached from that one port, too.
        with create_connection(("name", 1), 5, resolver=names, options=[one_port(port)]) as sock:
            assert sock.getpeername() == server.getsockname()
            safeconnect._sockets.sockets.reset(sock)
        assert support.tcp_sockets(port) == []

    @needs_port_range
    @linux_only
    def test_ends_in_an_error_after_16_meetings(self, monkeypatch):
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        port = closed_port()
        trace = []
        with pytest.raises(SelfConnectError, match="16 tries out of 16"):
            create_connection(("127.0.0.1", port), 5, options=[one_port(port)], trace=trace.append)
        resets = [message for message in trace if isinstance(message, Abandon) and message.reset]
        assert len(resets) == 16
        assert support.tcp_sockets(port) == []
        support.serve_plainly(port)

    @needs_port_range
    @linux_only
    def test_may_be_allowed(self):
        port = closed_port()
        settings = {"options": [one_port(port)], "allow_self_connect": True, "retry": Retry()}
        with create_connection(("127.0.0.1", port), 5, **settings) as sock:
            assert safeconnect.is_self_connected(sock)
            safeconnect._sockets.sockets.reset(sock)

    def test_source_equal_to_target_fails_on_the_first(self):
        address = ("127.0.0.1", closed_port())
        with pytest.raises(SelfConnectError, match="its source address is the target"):
            create_connection(address, 5, source_address=address, trace=lambda _: None)

    def test_einval_on_macos_counts_as_one(self, monkeypatch, on_platform):
        class RefusesItself(socket.socket):
            def connect_ex(self, address):
                self.getsockname = lambda: address
                return errno.EINVAL

        monkeypatch.setattr(socket, "socket", RefusesItself)
        on_platform("darwin")
        with pytest.raises(SelfConnectError):
            create_connection(("127.0.0.1", 40000), 5, trace=lambda _: None)


class TestTrace:
    def test_is_the_stream_of_events_and_orders(self, server):
        trace = []
        sock = create_connection(server.getsockname(), 5, trace=trace.append)
        candidate = (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
        assert trace == [
            Resolve("both"),
            Resolved("both", (candidate,)),
            Start(1, candidate),
            Connected(1, sock.getsockname(), server.getsockname()),
            Keep(1),
        ]
        sock.close()

    def test_the_logger_gets_the_same_at_debug(self, caplog):
        with caplog.at_level(logging.DEBUG, "safeconnect"), pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", closed_port(1)), 5)
        kinds = [type(record.args[0]) if record.args else None for record in caplog.records]
        assert kinds == [Resolve, Resolved, Start, Failed, GiveUp]
        assert {record.levelno for record in caplog.records} == {logging.DEBUG}

    def test_the_logger_is_silent_otherwise(self, caplog, server):
        with caplog.at_level(logging.INFO, "safeconnect"):
            create_connection(server.getsockname(), 5).close()
            create_connection(server.getsockname(), 5, retry=Retry()).close()
        assert caplog.records == []

    def test_an_error_of_the_listener_ends_the_race_and_leaves_nothing(self, server):
        def fails(message):
            if isinstance(message, Connected):
                raise KeyError("listener")

        with pytest.raises(KeyError):
            create_connection(server.getsockname(), 5, trace=fails)


@linux_only
class TestNothingIsLeftOver:
    @pytest.mark.slow
    def test_after_10000_races_with_random_outcomes(self, server):
        done = threading.Event()
        outcomes = Counter()

        def accept():
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    server.accept()[0].close()

        def race(addresses):
            for _ in range(1250):
                names = resolver(*random.choices(addresses, k=random.randint(1, 4)))
                try:
                    sock = create_connection(("localhost", 1), 0.01, resolver=names, happy_eyeballs_delay=0.002)
                except (TimeoutError, ConnectionRefusedError) as error:
                    outcomes[type(error)] += 1
                else:
                    outcomes["connected"] += 1
                    safeconnect._sockets.sockets.reset(sock)

        with black_hole(3) as holes:
            server.settimeout(0.05)
            before = support.descriptors().keys()
            addresses = [*holes, ("127.0.0.1", closed_port(1)), server.getsockname()]
            racers = [threading.Thread(target=race, args=[addresses]) for _ in range(8)]
            accepter = threading.Thread(target=accept)
            for thread in (*racers, accepter):
                thread.start()
            for thread in racers:
                thread.join()
            done.set()
            accepter.join()
            assert support.descriptors().keys() == before
        assert outcomes.total() == 10000
        assert min(outcomes[kind] for kind in (TimeoutError, ConnectionRefusedError, "connected")) > 50, outcomes

    def test_after_an_interrupt(self, hole):
        ticks = []

        def interrupt(message):
            ticks.append(message)
            if isinstance(message, Tick):
                raise KeyboardInterrupt

        before = support.descriptors().keys()
        names = resolver(hole, hole)
        with pytest.raises(KeyboardInterrupt):
            create_connection(("name", 1), 0.1, resolver=names, trace=interrupt)
        assert any(isinstance(message, Start) for message in ticks)
        assert support.descriptors().keys() == before

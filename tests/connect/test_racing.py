"""The race on real sockets: names under a deadline, what is traced, and nothing left over."""

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
from safeconnect import Backoff, Retry, create_connection
from safeconnect._connect.state_machine import Dial
from safeconnect._sockets import kernel
from safeconnect.events import Connected, Failed, GiveUp, Keep, Resolve, Resolved, Start, Tick

from .. import support
from ..support import black_hole, closed_port, linux_only, needs_ipv6, needs_port_range, one_port, resolver


class TestFailover:
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
        monkeypatch.setattr("safeconnect._connect.shared.Dial", lambda *_: pytest.fail("a machine was built"))

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

    @needs_port_range
    def test_unless_it_has_met_itself(self, monkeypatch, server):
        built = []
        monkeypatch.setattr("safeconnect._connect.shared.Dial", lambda *args: built.append(args) or Dial(*args))
        monkeypatch.setattr(kernel, "missing", {kernel.IP_LOCAL_PORT_RANGE})
        port = closed_port()
        names = resolver(("127.0.0.1", port), server.getsockname())
        with create_connection(("name", 1), 5, resolver=names, options=[one_port(port)]) as sock:
            assert sock.getpeername() == server.getsockname()
            safeconnect._sockets.lifecycle.reset(sock)
        assert built


class TestNames:
    def test_time_spent_on_the_name_is_gone(self, server):
        def slow(*_):
            time.sleep(0.05)  # the subject: a lookup that takes time
            return resolver(server.getsockname())("name", 1)

        with create_connection(("name", 1), 5, resolver=slow) as sock:
            assert sock.gettimeout() == 5, "the socket keeps what the caller asked for"

    @pytest.mark.parametrize(
        "error", [socket.gaierror(socket.EAI_NONAME, "no such name"), OSError("odd"), UnicodeError("odd")]
    )
    @pytest.mark.parametrize("timeout", [None, 5])
    @pytest.mark.parametrize(
        "settings", [{}, {"retry": Retry(attempts=2)}, {"resolution_delay": 0.05}], ids=["plain", "retry", "apart"]
    )
    def test_an_error_of_the_resolver_arrives(self, error, timeout, settings):
        def fails(*_):
            raise error

        with pytest.raises(type(error), match=str(error.args[-1])):
            create_connection(("name", 1), timeout, resolver=fails, **settings)

    @needs_ipv6
    def test_families_apart_late_answers_join(self, server):
        closed = ("::1", closed_port(1), 0, 0)
        asked = threading.Barrier(2)
        refused = threading.Event()

        def getaddrinfo(host, port, family, kind):
            asked.wait()
            if family == socket.AF_INET:
                refused.wait()  # until the other family's attempt has failed
                return resolver(server.getsockname())(host, port, family, kind)
            return resolver(closed)(host, port, family, kind)

        def tell(message):
            if isinstance(message, Failed):
                refused.set()

        with create_connection(("name", 1), 5, resolver=getaddrinfo, resolution_delay=0.05, trace=tell) as sock:
            assert sock.getpeername() == server.getsockname()

    def test_families_apart_without_a_deadline(self, server):
        with create_connection(("name", 1), resolver=resolver(server.getsockname()), resolution_delay=0.05) as sock:
            assert sock.getpeername() == server.getsockname()

    def test_a_literal_is_not_looked_up_apart(self, server):
        trace = []
        create_connection(server.getsockname(), 5, resolution_delay=0.05, trace=trace.append).close()
        assert trace[0] == Resolve("both")

    def test_the_resolver_is_asked_anew_each_round(self, server):
        closed = ("127.0.0.1", closed_port(1))
        answers = iter([[closed], [server.getsockname()]])

        def changing(*question):
            return resolver(*next(answers))(*question)

        settings = {"resolver": changing, "retry": Retry(backoff=Backoff(initial=0.01))}
        with create_connection(("name", 1), 5, **settings) as sock:
            assert sock.getpeername() == server.getsockname()


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
                    safeconnect._sockets.lifecycle.reset(sock)

        with black_hole(3) as holes:
            server.settimeout(0.05)
            before = support.descriptors().keys()
            addresses = [*holes, ("127.0.0.1", closed_port(1)), server.getsockname()]
            with support.meanwhile(accept):
                support.in_threads(race, [addresses] * 8)
                done.set()
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

"""Names under a deadline: resolvers that hang, fail, or answer for one family late."""

import socket
import threading
import time

import pytest

from safeconnect import Backoff, Retry, create_connection
from safeconnect.events import Failed, Resolve

from ..support import closed_port, needs_ipv6, resolver


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

    def test_nothing_is_looked_up_in_a_thread_for_literals_and_localhost(self, server, monkeypatch):
        def no_thread(*_):
            pytest.fail("a thread was started")

        monkeypatch.setattr("safeconnect._sockets.lookups.start", no_thread)
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost", b"localhost"):
            for settings in ({}, {"retry": Retry()}):
                create_connection((host, port), 5, **settings).close()

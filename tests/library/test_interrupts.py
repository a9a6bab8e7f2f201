"""An exception between any two bytecodes of the public calls: nothing is left open, and later calls work as before.

SAFECONNECT_STEP=1 interrupts what has thousands of points at every one of them, and not at every fifth or so.
"""

import gc
import os
import socket
import ssl
import threading

import psutil
import pytest

import safeconnect
from safeconnect import Backoff, Connector, Retry, create_connection, testing
from safeconnect._connect import blocking, shared, state_machine, timing
from safeconnect._run import traces
from safeconnect._sockets import lookups

from .. import interrupting, support
from ..support import opened_since

pytestmark = [support.linux_only, pytest.mark.timeout(300)]
STEP = int(os.environ.get("SAFECONNECT_STEP", "7"))
each_kind = pytest.mark.parametrize("kind", ["lines", "calls"])


@pytest.fixture
def accepted():
    """A listener that closes what it accepts; its address."""
    with testing.serve(lambda _: None) as fault:
        yield fault.address


def name_of(*sockaddrs):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", sockaddr) for sockaddr in sockaddrs]
    return lambda *_: found


def check_descriptors(before):
    """Nothing but what was open before, once what was lost between two bytecodes has been collected."""
    if opened_since(before):
        gc.collect()
    # A server of a test may be closing a connection in its thread just now.
    support.wait_until(lambda: not opened_since(before))


def interrupt(operation, kind, check=lambda: None, allowed=(), step=1):
    """Interrupt the operation at every point; nothing is left, and ``check`` passes after each."""
    operation()
    before = support.descriptors()

    def look(_):
        check()
        check_descriptors(before)
        assert len(interrupting.lookup_threads()) <= lookups.MAX_THREADS

    assert interrupting.at_every_point(operation, look, kind=kind, allowed=allowed, step=step) > 0


@each_kind
class TestConnects:
    def test_a_literal(self, accepted, kind):
        interrupt(lambda: create_connection(accepted, 5).close(), kind)

    def test_a_refused_literal(self, kind):
        with testing.refused() as fault:
            interrupt(lambda: support.ran_into(ConnectionRefusedError, create_connection, fault.address, 5), kind)

    def test_a_silent_literal(self, kind, monkeypatch):
        """It waits in connect() first, then under the state machine, and then beside a second attempt."""
        monkeypatch.setattr(blocking, "_REGULAR_SYNS", 0)
        connector = Connector(timeout=0.04)
        Connector.patience.__set__(connector, 0.005)
        monkeypatch.setattr(shared, "_second_attempts", lambda _: timing.SecondAttempts(0.02, ()))
        with testing.blackhole() as fault:
            interrupt(lambda: support.ran_into(TimeoutError, connector.connect, fault.address), kind, step=STEP)

    def test_a_name_with_a_deadline(self, accepted, kind):
        connector = Connector(timeout=5, resolver=name_of(accepted))

        def connect():
            connector.connect(("db.example", accepted[1])).close()

        interrupt(connect, kind, check=connect, step=STEP)

    def test_a_race(self, accepted, kind):
        with testing.refused() as refused:
            connector = Connector(
                timeout=5,
                resolver=name_of(refused.address, accepted),
                happy_eyeballs_delay=0.01,
                memory=safeconnect.ConnectMemory(),
                retry=Retry(attempts=2, backoff=Backoff(initial=0)),
            )

            def connect():
                connector.connect(("db.example", accepted[1])).close()

            interrupt(connect, kind, check=connect, step=STEP)

    @pytest.mark.parametrize("file", ["trace", None], ids=["to a file", "to stderr"])
    def test_with_a_trace(self, accepted, kind, file, tmp_path, capfd):
        connector = Connector(timeout=5, trace=traces.Traces(file and str(tmp_path / file)))

        def connect():
            connector.connect(accepted).close()

        interrupt(connect, kind, check=connect, step=STEP)
        assert ("connected after" in capfd.readouterr().err) is (file is None)

    def test_writing_a_trace(self, kind, tmp_path):
        interrupt(lambda: traces.append(str(tmp_path / "trace"), b"a line\n"), kind)

    @pytest.mark.parametrize("settings", [{}, {"memory": safeconnect.ConnectMemory()}], ids=["alone", "in a race"])
    @support.needs_port_range
    def test_a_connect_to_itself(self, kind, settings, monkeypatch):
        """Whatever it is interrupted at, the port is free for a server at once."""
        monkeypatch.setattr(state_machine, "MAX_SELF_CONNECTS", 3)  # the third is as the sixteenth
        kind = {"lines": "steps"}.get(kind, kind)
        port = support.closed_port()

        def connect():
            create_connection(("127.0.0.1", port), 5, options=[support.one_port(port)], **settings)

        interrupt(
            lambda: support.ran_into(safeconnect.SelfConnectError, connect),
            kind,
            check=lambda: support.serve_plainly(port),
            step=max(STEP // 2, 1),
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one inside a destructor is lost
@each_kind
class TestOtherCalls:
    def test_reserve_port(self, kind):
        def reserve():
            with safeconnect.reserve_port(["127.0.0.1", "::1"] if support.has_ipv6() else "127.0.0.1"):
                pass

        interrupt(reserve, kind)

    def test_bind_socket(self, kind):
        interrupt(lambda: safeconnect.bind_socket(("127.0.0.1", 0), ports="20000-20100").close(), kind)

    def test_wait_for_port(self, accepted, kind):
        interrupt(lambda: safeconnect.wait_for_port(accepted, 5), kind)

    def test_wait_for_port_that_comes_late(self, kind):
        with testing.refused() as fault:
            interrupt(
                lambda: support.ran_into(TimeoutError, safeconnect.wait_for_port, fault.address, 0.01, interval=0.002),
                kind,
            )

    def test_close_gracefully(self, accepted, kind):
        interrupt(lambda: safeconnect.close_gracefully(socket.create_connection(accepted), 5), kind)

    def test_simultaneous_open(self, kind):
        a, b = ("127.0.0.1", support.closed_port()), ("127.0.0.1", support.closed_port())
        interrupt(
            lambda: support.ran_into(TimeoutError, safeconnect.simultaneous_open, a, b, timeout=0.01),
            kind,
            check=lambda: support.serve_plainly(a[1]),
        )

    def test_patched(self, kind):
        before = socket.create_connection
        with safeconnect.patched():
            pass  # what is imported at first is not the subject

        def patch():
            with safeconnect.patched():
                assert socket.create_connection is create_connection

        def check():
            assert socket.create_connection is before

        interrupt(patch, kind, check=check)

    def test_install(self, kind):
        before = socket.create_connection
        with safeconnect.patched():
            pass  # as above

        def install():
            safeconnect.install()
            safeconnect.uninstall()

        def check():
            safeconnect.uninstall()
            assert socket.create_connection is before

        interrupt(install, kind, check=check)


def dual_stack():
    if not support.has_ipv6():
        pytest.skip("no IPv6 here")
    return testing.dual_stack("refused", "echo")


FAULTS = {
    "refused": testing.refused,
    "echo": testing.echo,
    "silent": testing.silent,
    "resets": testing.resets,
    "half_closes": testing.half_closes,
    "late_listener": testing.late_listener,
    "never_reads": testing.never_reads,
    "drips": testing.drips,
    "slow_accept": lambda: testing.slow_accept(0.01),
    "crossed_replies": testing.crossed_replies,
    "self_connecting": testing.self_connecting,
    "blackhole": testing.blackhole,
    "flaky": lambda: testing.flaky(["refuse", "serve"]),
    "tls": lambda: testing.tls(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)),
    "names": lambda: testing.names({"db.test": "127.0.0.1"}),
    "dual_stack": dual_stack,
    "exposed_host": testing.exposed_host,
    "dead_peer": testing.dead_peer,
}


# Most are the same server with another handler: one of them stands for all, where every line is a point.
POINTS = [("calls", name) for name in FAULTS] + [("lines", name) for name in ("refused", "echo", "self_connecting")]


def threads():
    return sum(thread.is_alive() for thread in threading.enumerate())


def children():
    """The processes that this one has started and that have not ended."""
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one inside a destructor is lost
@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_fixtures(kind, name):
    fault = FAULTS[name]
    reason = testing.namespaces_unavailable() if name in {"exposed_host", "dead_peer"} else None
    if reason:
        pytest.skip(reason)
    before = threads(), children()
    functions = socket.socket.connect, socket.getaddrinfo

    def use():
        with fault():
            pass

    def check():
        if threads() > before[0] or (socket.socket.connect, socket.getaddrinfo) != functions:
            gc.collect()
        support.wait_until(lambda: threads() <= before[0])
        support.wait_until(lambda: children() == before[1])
        assert (socket.socket.connect, socket.getaddrinfo) == functions

    interrupt(use, kind, check=check, step=STEP)

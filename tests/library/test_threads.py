"""State that the process shares, used by 64 threads at once: what docs/limits.md promises with and without the GIL.

Where there is a GIL, threads are switched as often as the interpreter can.
"""

import contextlib
import queue
import random
import socket
import sys
import threading

import pytest

import safeconnect
from safeconnect import PersistentConnection, RetryBudget, SourcePool, create_connection, testing
from safeconnect._sockets import kernel, lookups, port_window

from .. import support
from ..interrupting import lookup_threads

pytestmark = support.linux_only
THREADS = 64


@pytest.fixture(autouse=True)
def switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work):
    """Call ``work(number)`` in 64 threads that begin together; return what the calls have returned."""
    barrier, results = threading.Barrier(THREADS), []

    def run(number):
        barrier.wait(30)
        results.append(work(number))

    support.in_threads(run, range(THREADS))
    assert len(results) == THREADS
    return results


@support.needs_port_range
class TestWindows:
    def test_none_has_the_targets_port(self):
        ports = kernel.source_ports()

        def choose(number):
            target = ("127.0.0.1", ports.nth(random.randrange(len(ports))))
            for turn in range(100):
                with socket.socket() as sock:
                    window = port_window.choose(sock, target)
                    assert window != port_window.ANY_PORT
                    assert not window[1] <= target[1] <= window[2]
                if turn % 10 == 0:
                    port_window.remember(ports.nth(number), target)
                if number == 0:
                    port_window._start_afresh()  # as when the kernel's ports change

        at_once(choose)

    def test_a_found_port_is_returned_to_so_often_and_no_more(self):
        target = ("127.0.0.1", 1)
        port_window.remember(kernel.source_ports().nth(100), target)
        found = port_window._stock.found

        def choose(_):
            with socket.socket() as sock:
                return port_window.choose(sock, target)

        chosen = at_once(choose)
        # Two threads may count one return for two, or the last one twice: never without an end.
        assert chosen.count(found.window) < THREADS
        assert at_once(choose).count(found.window) <= 1

    def test_connects(self):
        with testing.echo() as fault:

            def connect(number):
                for _ in range(5):
                    with create_connection(fault.address, 30) as sock:
                        assert sock.getsockname() != sock.getpeername()
                        sock.sendall(b"%d\n" % number)
                        assert sock.recv(10) == b"%d\n" % number

            at_once(connect)
            fault.assert_all_closed(10)
            assert [each.number for each in fault.connections] == list(range(1, 5 * THREADS + 1))
            assert len({each.peer for each in fault.connections}) == 5 * THREADS


def test_connect_memory_holds_its_size():
    memory = safeconnect.ConnectMemory(size=8)

    def use(number):
        for turn in range(200):
            host = (f"{(number + turn) % 16}.example", 80)
            memory.remember(host, (host[0], 80), seconds=0.1, now=0.0)
            assert memory.recall(host, now=1.0) in (None, ((host[0], 80), 0.2))
            assert len(memory) <= 9  # one more while it is being added

    at_once(use)
    assert len(memory) == 8


def test_retry_budget_loses_no_count():
    budget = RetryBudget(tokens=1_000_000, ratio=1)

    def use(_):
        for _ in range(300):
            budget.failed()
        for _ in range(200):
            budget.succeeded()

    at_once(use)
    assert budget.level == 1_000_000 - 100 * THREADS


def test_lookups_answer_each_caller():
    def answer(name):
        return [name]

    def look_up(number):
        for turn in range(20):
            name = f"{number if turn % 2 else 0}-{turn}.example"  # half of them are asked for by all at once
            outcomes = queue.SimpleQueue()
            kept = lookups.start(answer, (name,), lambda *outcome, to=outcomes: to.put(outcome))
            assert outcomes.get(timeout=30) == ([name], None)
            kept.cancel()

    at_once(look_up)
    assert len(lookup_threads()) <= lookups.MAX_THREADS_IN_ALL  # one that has answered may still be on its way back
    support.wait_until(lambda: not lookups._process.pool.queries and not lookups._process.pool.queue)


def test_lookups_that_callers_leave():
    may_end = threading.Event()

    def hang(_):
        may_end.wait(30)
        return []

    def look_up(number):
        for turn in range(5):
            lookups.start(hang, (f"{number % 4}-{turn}.example",), lambda *_: None).cancel()

    try:
        at_once(look_up)
        assert len(lookup_threads()) <= lookups.MAX_THREADS_IN_ALL
    finally:
        may_end.set()
    support.wait_until(lambda: not lookups._process.pool.queries)


def test_source_pool_offers_each_address_once():
    pool = SourcePool([f"127.0.0.{number}" for number in range(2, 10)])

    def use(number):
        for _ in range(50):
            offered = [address for address, _ in pool.turns(ipv6=False)]
            assert sorted(offered) == sorted(pool.addresses)
            pool.exhausted(offered[number % 8])

    at_once(use)


def test_persistent_connection_has_one_exchange_at_a_time():
    with testing.echo() as fault, PersistentConnection(fault.address) as connection:

        def ask(number):
            for turn in range(3):
                request = b"%03d-%03d" % (number, turn)
                with connection.exchange(60) as exchange:
                    exchange.sendall(request)
                    assert exchange.recv_exactly(len(request)) == request

        at_once(ask)
        assert len(fault.connections) == 1


def test_reserved_ports_are_distinct():
    with contextlib.ExitStack() as stack:
        reserved = [stack.enter_context(each) for each in at_once(lambda _: safeconnect.reserve_port())]
        assert len({each.port for each in reserved}) == THREADS


def test_patched_restores_the_functions():
    before = socket.create_connection

    def patch(_):
        for _ in range(5):
            with safeconnect.patched():
                assert socket.create_connection is create_connection

    at_once(patch)
    assert socket.create_connection is before


def test_names_are_loaded_once():
    code = f"""
        import threading
        import safeconnect
        names = [name for name in safeconnect.__all__ if name not in ("asyncio", "trio", "anyio")]
        barrier, found = threading.Barrier({THREADS}), []
        def look(number):
            barrier.wait()
            mine = names[number % len(names):] + names[:number % len(names)]
            found.append({{name: id(getattr(safeconnect, name)) for name in mine}})
        threads = [threading.Thread(target=look, args=[number]) for number in range({THREADS})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(found), all(each == found[0] for each in found))
    """
    assert support.python(code) == f"{THREADS} True\n"


def test_fixtures_begin_and_end():
    def use(number):
        with testing.echo() as fault, socket.create_connection(fault.address, 30) as sock:
            sock.sendall(b"%d" % number)
            assert sock.recv(10) == b"%d" % number

    at_once(use)

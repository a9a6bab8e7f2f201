"""PersistentConnection between threads and processes: turns, closing while it is used, forks."""

import asyncio
import errno
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import PersistentConnection

from .. import interrupting, replying, support
from ..replying import number_of, request
from .kit import AT_ONCE, SLOWLY
from .kit import ask_blocking as ask

pytestmark = support.linux_only


class Holder(threading.Thread):
    """Has an exchange under way until it is told to end it; ``result`` is what a read in it gave."""

    def __init__(self, connection, *, reads=False):
        super().__init__()
        self.connection = connection
        self.reads = reads
        self.has_it = threading.Event()
        self.may_end = threading.Event()
        self.result = None

    def run(self):
        with self.connection.exchange(10) as exchange:
            self.has_it.set()
            if self.reads:
                self.result = exchange.recv(1)
            assert self.may_end.wait(10)

    def __enter__(self):
        self.start()
        assert self.has_it.wait(10)
        return self

    def __exit__(self, *_):
        self.may_end.set()
        self.join()


def test_threads_take_turns(connection, server):
    replies = []
    support.in_threads(lambda _: replies.extend(ask(connection) for _ in range(50)), range(10))
    assert sorted(replies) == list(range(1, 501))
    assert server.requests == [(1, number) for number in range(1, 501)]


def test_no_turn_in_time(connection):
    with Holder(connection), pytest.raises(TimeoutError, match="timed out") as caught:
        ask(connection, timeout=0.02)
    assert caught.value.__notes__ == ["another exchange was under way all the time"]


def test_not_waiting_for_a_turn(connection):
    with Holder(connection), pytest.raises(BlockingIOError) as caught:
        ask(connection, wait=False)
    assert caught.value.errno == errno.EAGAIN
    assert ask(connection, wait=False) == 2


def test_closed_while_another_thread_reads(connection):
    with Holder(connection, reads=True) as holder:
        connection.close()
        holder.may_end.set()
        holder.join()
        assert holder.result == b""
    with pytest.raises(RuntimeError, match="is closed"):
        ask(connection)


def test_closed_while_it_waits_out_a_pause(server):
    connection = PersistentConnection(server.address, retry=SLOWLY)
    with pytest.raises(ConnectionResetError):
        ask(connection, replying.RESET)
    raised = []

    def work():
        try:
            ask(connection, timeout=None)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while connection._link.lock.holder is None:  # until the thread has its turn
        assert thread.is_alive()
    connection.close()
    thread.join(support.SOON)
    assert not thread.is_alive()
    assert "is closed" in str(raised[0])


def test_closed_at_any_moment(server):
    """Closing races with exchanges that begin and end: nothing is left open, whoever comes last."""
    for _ in range(200):
        connection = PersistentConnection(server.address, retry=AT_ONCE)
        began = threading.Event()

        def work(connection=connection, began=began):
            began.set()
            try:
                while True:
                    ask(connection)
            except (RuntimeError, OSError):
                return

        thread = threading.Thread(target=work)
        thread.start()
        assert began.wait(5)
        connection.close()
        thread.join(5)
        assert not thread.is_alive()
        assert connection._link.sock is None


class TestFork:
    def test_the_child_makes_a_connection_of_its_own(self, connection, server):
        assert ask(connection) == 1
        assert support.in_a_child(lambda: ask(connection) - 2) == 0
        assert ask(connection) == 2
        assert sorted(server.requests) == [(1, 1), (1, 2), (2, 2)]

    def test_while_another_thread_has_its_turn(self, connection, server):
        with Holder(connection):
            assert support.in_a_child(lambda: ask(connection) - 2) == 0
        assert ask(connection) == 2
        assert server.requests == [(2, 2), (1, 2)]

    def test_inside_an_exchange(self, connection, server):
        """The exchange is the parent's: the child can do nothing with it, and does not end it."""

        def work():
            with pytest.raises(RuntimeError, match="exchange 1 is over"):
                exchange.socket.fileno()
            return 0

        with connection.exchange(5) as exchange:
            assert support.in_a_child(work) == 0
            exchange.sendall(request(exchange.id))
            assert number_of(exchange.recv_exactly(8)) == 1

    def test_leaving_the_block_in_the_child(self, connection):
        def work():
            context.__exit__(None, None, None)
            return 0

        context = connection.exchange(5)
        exchange = context.__enter__()
        assert support.in_a_child(work) == 0
        exchange.sendall(request(exchange.id))
        assert number_of(exchange.recv_exactly(8)) == 1
        context.__exit__(None, None, None)


def test_the_asynchronous_ones_after_a_fork(server):
    """Forked inside an exchange, the child has a turn of its own."""

    async def ask_async(connection):
        async with connection.exchange(5) as exchange:
            await exchange.sendall(request(exchange.id))
            return number_of(await exchange.recv_exactly(8))

    async def main(connect, run):
        connection = connect(server.address)
        async with connection.exchange(5) as exchange:
            assert support.in_a_child(lambda: in_a_thread(run, ask_async, connection) - 2) == 0
            await exchange.sendall(request(exchange.id))
            assert number_of(await exchange.recv_exactly(8)) == 1
        connection.close()

    def asyncio_run(function, *arguments):
        return asyncio.run(function(*arguments))

    asyncio_run(main, safeconnect.asyncio.PersistentConnection, asyncio_run)
    trio.run(main, safeconnect.trio.PersistentConnection, trio.run)
    assert sorted(number for _, number in server.requests) == [1, 1, 2, 2]
    assert len({connection for connection, _ in server.requests}) == 4


def in_a_thread(run, function, connection):
    """A loop of its own, for the one of this thread is the parent's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run, function, connection).result()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a destructor
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # or lose a socket between two bytecodes
def test_interrupted_at_any_moment(connection):
    """Ctrl-C, wherever it strikes, costs the connection at most: never the turn."""
    draw = random.Random(0)
    for _ in range(200):
        with suppress(KeyboardInterrupt), interrupting.struck_after(draw.uniform(0.0001, 0.002)):
            until = time.monotonic() + 0.02  # one that strikes in a destructor is lost to us
            while time.monotonic() < until:
                ask(connection)
        assert ask(connection, timeout=5)
    with ThreadPoolExecutor(1) as pool:  # another thread gets its turn as well
        assert pool.submit(ask, connection).result()


def test_representation(connection, server):
    assert repr(connection) == f"<PersistentConnection to {server.address!r}>"
    ask(connection)
    assert repr(connection) == f"<PersistentConnection to {server.address!r}, connected>"
    connection.close()
    assert repr(connection) == f"<PersistentConnection to {server.address!r}, closed>"

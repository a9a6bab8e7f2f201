"""Exchanges that end elsewhere than they began, or never: in another thread, in a stopped loop, by a signal."""

import asyncio
import logging
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import safeconnect.asyncio

from .. import interrupting, replying, support
from ..replying import number_of, request
from .kit import ask_blocking as ask

pytestmark = support.linux_only
ROUNDS = int(os.environ.get("SAFECONNECT_EXCHANGES", "400"))
LOGIN = 999


def halves(connection):
    """A block that is suspended in the middle, as frameworks do with a request's resources."""
    with connection.exchange(5) as exchange:
        exchange.sendall(request(exchange.id))
        yield
        assert number_of(exchange.recv_exactly(8)) == exchange.id


class TestAnotherThread:
    def test_that_leaves_the_block(self, connection, server):
        with ThreadPoolExecutor(1) as first:
            generator = halves(connection)
            first.submit(next, generator).result()
        with ThreadPoolExecutor(1) as second, suppress(StopIteration):
            second.submit(next, generator, None).result()
        assert ask(connection) == 2
        with ThreadPoolExecutor(1) as third:
            assert third.submit(ask, connection).result() == 3
        assert server.requests == [(1, 1), (1, 2), (1, 3)]

    def test_that_collects_the_block(self, connection):
        generators = [halves(connection)]
        with ThreadPoolExecutor(1) as first:
            first.submit(next, generators[0]).result()
        with ThreadPoolExecutor(1) as second:
            second.submit(generators.clear).result()
        assert ask(connection) == 2

    def test_with_the_id_of_the_one_that_has_begun(self, connection):
        """Thread ids are used again: the next thread that gets one has to wait as every other."""
        generator = halves(connection)
        first = threading.Thread(target=next, args=[generator])
        first.start()
        first.join()

        def intrude():
            outcomes.append(
                (threading.get_ident() == first.ident, support.ran_into(BlockingIOError, ask, connection, wait=False))
            )

        outcomes = []
        for _ in range(20):
            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join()
        assert len(outcomes) == 20  # most of them with the id, as the system gives them out
        with suppress(StopIteration):
            next(generator)
        assert ask(connection) == 2


def test_threads_have_their_turns_in_the_order_in_which_they_came(connection):
    order = []

    def work(name):
        ask(connection)
        order.append(name)

    with connection.exchange(5):
        threads = [threading.Thread(target=work, args=[name]) for name in range(8)]
        for count, thread in enumerate(threads, 1):
            thread.start()
            support.wait_until(lambda count=count: len(connection._link.lock._waiting) == count)
    for thread in threads:
        thread.join()
    assert order == sorted(order)


def test_an_exchange_is_entered_once(connection):
    block = connection.exchange(5)
    with block:
        pass
    with pytest.raises(RuntimeError, match="call exchange\\(\\) again"), block:
        pass


class TestALoopThatWasStopped:
    @staticmethod
    async def log_in(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, request(LOGIN, milliseconds=500))
        assert number_of(await loop.sock_recv(sock, 8)) == LOGIN

    @staticmethod
    async def ask(connection, milliseconds=0):
        async with connection.exchange(5) as exchange:
            await exchange.sendall(request(exchange.id, milliseconds=milliseconds))
            assert number_of(await exchange.recv_exactly(8)) == exchange.id
            return exchange.id

    def test_in_on_connect(self, server):
        """The next loop does not use the half-prepared connection."""
        connection = safeconnect.asyncio.PersistentConnection(server.address, on_connect=self.log_in)
        self.stopped_after(1, self.ask(connection), server)
        assert asyncio.run(self.ask(connection)) == 1
        assert asyncio.run(self.ask(connection)) == 2
        connection.close()
        assert server.requests == [(1, LOGIN), (2, LOGIN), (2, 1), (2, 2)]

    def test_in_an_exchange_that_is_collected_later(self, server):
        """The end of what the first loop left behind does not end the connection of the next one."""
        connection = safeconnect.asyncio.PersistentConnection(server.address)
        left = self.ask(connection, milliseconds=500)
        self.stopped_after(1, left, server)

        async def main():
            async with connection.exchange(5) as exchange:
                left.close()
                await exchange.sendall(request(exchange.id))
                return number_of(await exchange.recv_exactly(8)) - exchange.id

        assert asyncio.run(main()) == 0
        connection.close()

    @staticmethod
    def stopped_after(count, coroutine, server):
        """Run a coroutine in a loop that is stopped when the server has got so many requests."""

        def look():
            if len(server.requests) >= count:
                loop.stop()
            else:
                loop.call_later(0.001, look)

        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of the task that is left
        loop = asyncio.new_event_loop()
        task = loop.create_task(coroutine)
        loop.call_soon(look)
        loop.run_forever()
        loop.close()
        assert not task.done()


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike in a destructor
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # or lose a socket between two bytecodes
def test_a_signal_while_a_timed_out_block_is_left(connection):
    """A handler that raises while an exchange ends in a timeout: the late reply never reaches the next exchange."""
    draw = random.Random(0)
    struck = 0
    for _ in range(ROUNDS):
        try:
            with interrupting.struck_after(draw.uniform(0.0018, 0.0026)), connection.exchange(0.002) as exchange:
                exchange.sendall(request(exchange.id, replying.ANSWER, 4))
                exchange.recv_exactly(8)
        except TimeoutError:
            pass
        except interrupting.Interrupt:
            struck += 1
        ask(connection)
    assert struck

"""PersistentConnection: errors that are caught inside a block, on_connect, pauses, turns."""

import asyncio
import os
import socket
import time

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Connector, Retry, RetryBudget

from .. import replying, support
from ..replying import number_of, request
from .kit import AT_ONCE, SLOWLY, ask

pytestmark = support.linux_only


class TestBlocks:
    async def test_a_timeout_that_is_caught_inside(self, connect, server):
        """The late reply would come to the next exchange."""
        async with connect(server.address, retry=AT_ONCE) as connection:
            async with connection.exchange(5) as exchange:
                await exchange.sendall(request(exchange.id, milliseconds=1000))
                await give_up_soon(exchange)
            assert await ask(connection) == 2
        # The first's connection was reset, and the request with it if the server was slow to read.
        assert [each for each in server.requests if each != (1, 1)] == [(2, 2)]

    async def test_an_error_of_ones_own_is_no_lost_connection(self, connect, server):
        async with connect(server.address, retry=SLOWLY) as connection:
            with pytest.raises(FileNotFoundError):
                await look_for_a_file(connection)
            assert await ask(connection) == 2  # without a pause

    async def test_all_errors_is_a_lost_connection(self, connect):
        connector = Connector(all_errors=True)
        async with connect(("127.0.0.1", support.closed_port()), connector=connector, retry=SLOWLY) as connection:
            with pytest.raises(ExceptionGroup):
                await ask(connection)
            with pytest.raises(TimeoutError, match="timed out"):
                await ask(connection)

    async def test_a_connect_is_charged_once(self, connect):
        budget = RetryBudget(tokens=10)

        retry = Retry(attempts=1, budget=budget)
        async with connect(("127.0.0.1", support.closed_port()), retry=retry) as connection:
            with pytest.raises(ConnectionRefusedError):
                await ask(connection)
        assert budget.level == 9

    @pytest.mark.parametrize("timeout", [float("inf"), 1e12])
    async def test_without_a_limit(self, connect, server, timeout):
        async with connect(server.address) as connection:
            assert await ask(connection, timeout=timeout) == 1


async def look_for_a_file(connection):
    async with connection.exchange(5):
        os.stat("/nonexistent")  # noqa: PTH116


async def give_up_soon(exchange):
    """Wait for the reply, 10 ms at most, whatever the library."""
    if hasattr(exchange, "exchange"):
        exchange.exchange._deadline = time.monotonic() + 0.01
        with pytest.raises(TimeoutError):
            await exchange.recv_exactly(8)
        exchange.exchange._deadline = None
    elif isinstance(exchange.socket, socket.socket):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await exchange.recv_exactly(8)
    else:
        with trio.move_on_after(0.01):
            await exchange.recv_exactly(8)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_close_ends_a_pause(kind, server):
    async def lose_and_wait(connection):
        with pytest.raises(ConnectionResetError):
            await ask(connection, replying.RESET)
        with pytest.raises(RuntimeError, match="is closed"):
            await ask(connection, timeout=None)

    async def on_asyncio():
        connection = safeconnect.asyncio.PersistentConnection(server.address, retry=SLOWLY)
        waiting = asyncio.create_task(lose_and_wait(connection))
        while connection._link.pause is None:
            await asyncio.sleep(0)
        connection.close()
        await waiting

    async def on_trio():
        connection = safeconnect.trio.PersistentConnection(server.address, retry=SLOWLY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose_and_wait, connection)
            while connection._link.reconnection.lost == 0 or connection._link.pause is None:
                await trio.lowlevel.checkpoint()
            connection.close()

    began = time.monotonic()
    if kind == "asyncio":
        asyncio.run(on_asyncio())
    else:
        trio.run(on_trio)
    assert time.monotonic() - began < support.SOON


def test_not_waiting_where_others_wait(server):
    """Between a release and the turn of whoever waits, nobody may slip in, nor wait who does not want to."""

    async def main():
        async with safeconnect.asyncio.PersistentConnection(server.address) as connection:

            async def queued():
                return await ask(connection)

            async with connection.exchange(5):
                waiting = asyncio.create_task(queued())
                await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                await ask(connection, wait=False)
            return await waiting

    assert asyncio.run(main()) == 2


def test_a_trio_connection_closed_outside_of_trio(server):
    connection = safeconnect.trio.PersistentConnection(server.address)
    trio.run(ask, connection)
    connection.close()
    assert connection._link.sock is None


def test_a_fork_leaves_every_connection(server):
    """One that cannot be closed in the ordinary way there, trio's, does not keep the others the parent's."""
    idle = safeconnect.trio.PersistentConnection(server.address)
    trio.run(ask, idle)
    others = [safeconnect.PersistentConnection(server.address) for _ in range(5)]
    for other in others:
        with other.exchange(5) as exchange:
            exchange.sendall(request(exchange.id))
            assert number_of(exchange.recv_exactly(8)) == 1
    assert support.in_a_child(lambda: sum(other._link.sock is not None for other in [idle, *others])) == 0
    for each in [idle, *others]:
        each.close()

"""PersistentConnection of each driver behind one asynchronous face, so that one scenario runs on all of them."""

import asyncio
import select
from contextlib import asynccontextmanager

import pytest
import trio

import safeconnect
import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Backoff, Retry

from .. import replying
from ..drivers import uvloop
from ..replying import number_of, request

AT_ONCE = Retry(backoff=Backoff(initial=0))
SLOWLY = Retry(attempts=1, backoff=Backoff(initial=100, maximum=100, jitter="none"))


def drive(coroutine):
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it waits for something")


class AdaptedExchange:
    def __init__(self, exchange):
        self.exchange = exchange
        self.verify = exchange.verify

    id = property(lambda self: self.exchange.id)
    socket = property(lambda self: self.exchange.socket)

    async def sendall(self, data):
        self.exchange.sendall(data)

    async def recv(self, size):
        return self.exchange.recv(size)

    async def recv_exactly(self, size):
        return self.exchange.recv_exactly(size)


class Adapted:
    """The blocking one."""

    def __init__(self, address, **settings):
        self.connection = safeconnect.PersistentConnection(address, **settings)
        self.close = self.connection.close

    @asynccontextmanager
    async def exchange(self, *arguments, **settings):
        with self.connection.exchange(*arguments, **settings) as exchange:
            yield AdaptedExchange(exchange)

    async def run(self, function, *arguments, **settings):
        return self.connection.run(lambda exchange: drive(function(AdaptedExchange(exchange))), *arguments, **settings)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()


def blocking(scenario):
    return drive(scenario(Adapted))


def on_asyncio(scenario, loop_factory=None):
    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(scenario(safeconnect.asyncio.PersistentConnection))


def on_uvloop(scenario):
    return on_asyncio(scenario, uvloop.new_event_loop)


def on_trio(scenario):
    return trio.run(scenario, safeconnect.trio.PersistentConnection)


RUNNERS = [
    blocking,
    on_asyncio,
    pytest.param(on_uvloop, marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows")),
    on_trio,
]
each_driver = pytest.mark.parametrize("run", RUNNERS)


async def ask(connection, what=replying.ANSWER, milliseconds=0, *, timeout=5.0, **settings):
    async with connection.exchange(timeout, **settings) as exchange:
        await exchange.sendall(request(exchange.id, what, milliseconds))
        reply = number_of(await exchange.recv_exactly(8))
        exchange.verify(reply)
    return reply


def ask_blocking(connection, what=replying.ANSWER, milliseconds=0, *, timeout=5.0, **settings):
    with connection.exchange(timeout, **settings) as exchange:
        exchange.sendall(request(exchange.id, what, milliseconds))
        reply = number_of(exchange.recv_exactly(8))
        exchange.verify(reply)
    return reply


def wait_for_data(sock):
    assert select.select([sock], [], [], 5)[0]

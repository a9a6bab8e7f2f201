"""A connection that is kept: every way in which an exchange can fail, in every driver.

The blocking one runs behind the asynchronous face of the drivers' suite, so that one scenario serves all.
"""

import pytest

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Connector, CrossedReplyError, Retry

from ..persistent.kit import Adapted, drive
from ..replying import ReplyingServer, number_of, request
from ..support import black_hole, held_port, linux_only
from .failing import AGAIN, two_refused
from .kit import drops, on_trio, with_asyncio

pytestmark = linux_only
ONCE = Retry(attempts=1)

# What may fail because of the persistent connections' own modules: the pause's error in `Link.pause_seconds`, and the
# timeout of an exchange on asyncio and trio.


def blocking(call, kind):
    drops(lambda: drive(call()), kind)


DRIVERS = [
    pytest.param(blocking, Adapted, id="blocking"),
    *with_asyncio(safeconnect.asyncio.PersistentConnection),
    pytest.param(on_trio, safeconnect.trio.PersistentConnection, id="trio"),
]
each_driver = pytest.mark.parametrize(("run", "connect"), DRIVERS)


async def exchange(connection, timeout=5, what=None):
    async with connection.exchange(timeout) as under_way:
        await (under_way.recv(1) if what is None else what(under_way))


async def ask(exchange):
    await exchange.sendall(request(exchange.id))
    await exchange.recv_exactly(8)


async def cross(exchange):
    await exchange.sendall(request(77))
    exchange.verify(number_of(await exchange.recv_exactly(8)))


async def fault(_):
    raise LookupError


def plainly_fault(_):
    raise LookupError


REFUSED = {
    "refused": (ConnectionRefusedError, {"retry": ONCE}),
    "refused, retry": (ConnectionRefusedError, {"retry": AGAIN}),
    "refused, all errors": (ExceptionGroup, {"retry": ONCE, "connector": Connector(all_errors=True)}),
}


@each_driver
@pytest.mark.parametrize("way", ["exchange", "run"])
@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(run, connect, name, way):
    kind, settings = REFUSED[name]
    with held_port() as held:
        fails(run, connect, kind, held.getsockname(), way=way, **settings)


def fails(run, connect, kind, address, *, way="exchange", timeout=5, what=ask, **settings):
    async def call():
        async with connect(address, **settings) as connection:
            if way == "run":
                await connection.run(what, timeout, idempotent=True)
            else:
                await exchange(connection, timeout, what)

    run(call, kind)


@each_driver
def test_a_refused_name(run, connect):
    with held_port() as held:
        connector = Connector(resolver=two_refused(held))
        fails(run, connect, ConnectionRefusedError, ("name.test", 80), connector=connector, retry=ONCE)


@each_driver
def test_no_connection_in_time(run, connect):
    with black_hole() as hole:
        fails(run, connect, TimeoutError, hole, timeout=0.05)


@each_driver
def test_the_pause_that_is_due_is_too_long(run, connect):
    with held_port() as held:

        async def call():
            async with connect(held.getsockname(), retry=Retry(attempts=1)) as connection:
                for _ in range(20):
                    try:
                        await exchange(connection, 0.005)
                    except ConnectionRefusedError:
                        continue

        run(call, TimeoutError)


EXCHANGES = {
    "no reply": (TimeoutError, {"timeout": 0.05, "what": lambda exchange: exchange.recv(1)}),
    "a fault in the block": (LookupError, {"what": fault}),
    "crossed": (CrossedReplyError, {"what": cross}),
    "negative": (ValueError, {"timeout": -1}),
    "text": (TypeError, {"timeout": "5"}),
}


@each_driver
@pytest.mark.parametrize("way", ["exchange", "run"])
@pytest.mark.parametrize("name", EXCHANGES)
def test_exchanges(run, connect, name, way):
    kind, settings = EXCHANGES[name]
    with ReplyingServer() as server:
        fails(run, connect, kind, server.address, way=way, **settings)


@each_driver
def test_on_connect_fails(run, connect):
    with ReplyingServer() as server:
        fails(run, connect, LookupError, server.address, on_connect=plainly_fault)


@each_driver
def test_the_peer_has_closed(run, connect):
    with ReplyingServer() as server:

        async def what(exchange):
            await ask(exchange)
            server.end_all(None)
            await exchange.recv_exactly(8)

        fails(run, connect, ConnectionResetError, server.address, what=what)


@each_driver
def test_closed(run, connect):
    async def call():
        connection = connect(("127.0.0.1", 80))
        connection.close()
        await exchange(connection)

    run(call, RuntimeError)


@each_driver
def test_no_turn(run, connect):
    with ReplyingServer() as server:

        async def call():
            async with connect(server.address) as connection, connection.exchange(5):
                await exchange(connection, 0.05)

        run(call, (RuntimeError, TimeoutError))


@each_driver
def test_a_resolver_with_a_fault(run, connect):
    def resolver(*_):
        raise LookupError

    fails(run, connect, LookupError, ("name.test", 80), connector=Connector(resolver=resolver))

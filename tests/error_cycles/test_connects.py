"""Every connect of every driver, in every way in which it can fail."""

from functools import partial

import anyio
import pytest

import safeconnect
import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio

from ..support import linux_only
from .failing import CASES
from .kit import drops, on_asyncio, on_trio, with_asyncio

pytestmark = linux_only  # where black holes are, and taken ports


@pytest.fixture(params=list(CASES))
def failing(request):
    with CASES[request.param]() as (address, kind, settings):
        yield address, kind, settings


def test_create_connection(failing):
    address, kind, settings = failing
    connector = settings.pop("connector", None)
    connect = safeconnect.create_connection if connector is None else connector.connect
    drops(lambda: connect(address, **settings), kind)


def apart(connect):
    """For one that takes a host and a port."""

    def connect_apart(address, **settings):
        if len(address) > 2 or (connect is safeconnect.trio.open_tcp_stream and not isinstance(address[1], int)):
            pytest.skip("it takes a host and a port, trio's a number")
        return connect(*address, **settings)

    return connect_apart


@pytest.mark.parametrize(
    ("run", "connect"),
    [
        *with_asyncio(safeconnect.asyncio.create_connection),
        (on_trio, safeconnect.trio.create_connection),
        (on_asyncio, safeconnect.asyncio.open_connection),
        (on_asyncio, partial(safeconnect.asyncio.connect_transport, anyio.abc.AsyncResource)),
        (on_trio, apart(safeconnect.trio.open_tcp_stream)),
        (on_asyncio, apart(safeconnect.anyio.connect_tcp)),
        (on_trio, apart(safeconnect.anyio.connect_tcp)),
    ],
)
def test_on_a_loop(run, connect, failing):
    address, kind, settings = failing

    async def call():
        await connect(address, **settings)

    run(call, kind)

"""Every connect of every driver, in every way in which it can fail."""

import anyio
import pytest

import safeconnect
import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio

from ..support import linux_only
from .failing import CASES
from .kit import ON_ASYNCIO, drops, on_asyncio, on_trio

pytestmark = linux_only  # where black holes are, and taken ports


@pytest.fixture(params=list(CASES))
def failing(request):
    with CASES[request.param]() as (address, kind, settings):
        yield address, kind, settings


def test_create_connection(failing):
    address, kind, settings = failing
    connector = settings.pop("connector", None)
    if connector is None:
        drops(lambda: safeconnect.create_connection(address, **settings), kind)
    else:
        drops(lambda: connector.connect(address, **settings), kind)


@pytest.mark.parametrize("run", [*ON_ASYNCIO])
def test_on_asyncio(run, failing):
    address, kind, settings = failing

    async def call():
        await safeconnect.asyncio.create_connection(address, **settings)

    run(call, kind)


def test_on_trio(failing):
    address, kind, settings = failing

    async def call():
        await safeconnect.trio.create_connection(address, **settings)

    on_trio(call, kind)


@pytest.mark.parametrize("name", ["open_connection", "connect_transport"])
def test_streams(name, failing):
    address, kind, settings = failing
    factory = () if name == "open_connection" else (anyio.abc.AsyncResource,)

    async def call():
        await getattr(safeconnect.asyncio, name)(*factory, address, **settings)

    on_asyncio(call, kind)


def test_open_tcp_stream(failing):
    address, kind, settings = failing
    if len(address) > 2 or not isinstance(address[1], int):
        pytest.skip("it takes a host and a number")

    async def call():
        await safeconnect.trio.open_tcp_stream(*address, **settings)

    on_trio(call, kind)


@pytest.mark.parametrize("run", [on_asyncio, on_trio])
def test_anyio(run, failing):
    address, kind, settings = failing
    if len(address) > 2:
        pytest.skip("it takes a host and a port")

    async def call():
        await safeconnect.anyio.connect_tcp(*address, **settings)

    run(call, kind)

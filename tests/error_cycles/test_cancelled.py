"""A call that is cancelled: what cancels it gets its error back, and nothing is held."""

import asyncio

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import ConnectMemory

from ..simultaneous.kit import A, B
from ..support import linux_only
from .kit import ON_ASYNCIO, on_trio

pytestmark = linux_only

CALLS = {
    "create_connection": lambda module, hole: module.create_connection(hole),
    "create_connection, memory": lambda module, hole: module.create_connection(hole, memory=ConnectMemory()),
    "wait_for_port": lambda module, hole: module.wait_for_port(hole, timeout=None),
    "simultaneous_open": lambda module, _: module.simultaneous_open(A, B, timeout=None),
}
each_call = pytest.mark.parametrize("name", list(CALLS))


@each_call
@pytest.mark.parametrize("run", ON_ASYNCIO)
def test_on_asyncio(run, name, hole):
    async def call():
        async with asyncio.timeout(0.05):
            await CALLS[name](safeconnect.asyncio, hole)

    run(call, TimeoutError)


@each_call
def test_on_trio(name, hole):
    async def call():
        with trio.move_on_after(0.05):
            await CALLS[name](safeconnect.trio, hole)
        raise LookupError

    on_trio(call, LookupError)

"""Each driver as a plain function: connect, and give the standard library's socket or raise."""

import asyncio
import socket
import sys

import pytest
import trio

import safeconnect
import safeconnect.asyncio
import safeconnect.trio

uvloop = None
if sys.platform != "win32":
    import uvloop

    uvloop.new_event_loop().close()  # libuv opens a pipe with the first loop and keeps it: not the fault of a test

EAGER = hasattr(asyncio, "eager_task_factory")  # Python 3.12


def blocking(address, timeout=None, **settings):
    connector = settings.pop("connector", None)
    if connector is not None:
        return connector.connect(address, timeout)
    sock = safeconnect.create_connection(address, timeout, **settings)
    assert sock.gettimeout() == timeout
    return sock


def on_asyncio(address, timeout=None, *, loop_factory=None, eager=False, **settings):
    async def main():
        if eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        sock = await asyncio.create_task(safeconnect.asyncio.create_connection(address, timeout, **settings))
        assert sock.gettimeout() == 0
        return sock

    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(main())


def on_eager_tasks(address, timeout=None, **settings):
    return on_asyncio(address, timeout, eager=True, **settings)


def on_uvloop(address, timeout=None, **settings):
    return on_asyncio(address, timeout, loop_factory=uvloop.new_event_loop, **settings)


class LoopWithoutWriters(asyncio.SelectorEventLoop):
    """One that cannot watch sockets, as Windows' ProactorEventLoop."""

    def add_writer(self, *_):
        raise NotImplementedError

    remove_writer = add_writer


def on_a_loop_without_writers(address, timeout=None, **settings):
    return on_asyncio(address, timeout, loop_factory=LoopWithoutWriters, **settings)


def on_trio(address, timeout=None, **settings):
    async def main():
        sock = await safeconnect.trio.create_connection(address, timeout, **settings)
        return _released(sock)

    return trio.run(main)


def _released(sock):
    """The standard library's socket in the place of trio's."""
    family, kind, proto = sock.family, sock.type, sock.proto
    return socket.socket(family, kind, proto, fileno=sock.detach())


DRIVERS = [
    blocking,
    on_asyncio,
    pytest.param(on_eager_tasks, marks=pytest.mark.skipif(not EAGER, reason="eager tasks came with Python 3.12")),
    pytest.param(on_uvloop, marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows")),
    on_a_loop_without_writers,
    on_trio,
]
each_driver = pytest.mark.parametrize("connect", DRIVERS)

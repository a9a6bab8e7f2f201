"""Cancelled at any moment: no descriptor, task or thread stays, and nobody is told off in the log."""

import asyncio
import functools
import logging
import random
import socket
import ssl
import threading
from contextlib import suppress

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Backoff, Retry
from safeconnect._sockets import lifecycle

from ..drivers import EAGER, uvloop
from ..support import black_hole, closed_port, linux_only, resolver

pytestmark = linux_only

LOOPS = [
    pytest.param((None, False), id="asyncio"),
    pytest.param(
        (None, True),
        id="eager tasks",
        marks=pytest.mark.skipif(not EAGER, reason="eager tasks came with Python 3.12"),
    ),
    pytest.param(
        (uvloop and uvloop.new_event_loop, False),
        id="uvloop",
        marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows"),
    ),
]
TRIES = 2_000


@pytest.fixture
def run(request, caplog):
    """Run a coroutine function in debug mode; nothing may be logged, and no task be left."""
    loop_factory, eager = request.param

    def run(main):
        async def watched():
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = 30  # how busy the machine is does not matter here
            if eager:
                loop.set_task_factory(asyncio.eager_task_factory)
            await main()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with caplog.at_level(logging.INFO), asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
            runner.run(watched())
        assert [record.message for record in caplog.records if "Using selector" not in record.message] == []

    return run


each_loop = pytest.mark.parametrize("run", LOOPS, indirect=True)


@pytest.fixture
def hung():
    """A resolver that never answers while the test runs."""
    release = threading.Event()
    yield lambda *_: release.wait(30) or []
    release.set()


def waits(hole, hung):
    """Every kind of waiting there is, as settings of a connect that does not end."""
    refused = resolver(("127.0.0.1", closed_port(1)))
    pause = Retry(attempts=None, backoff=Backoff(initial=20, maximum=20, jitter="none"))
    return {
        "an attempt": (hole, {}),
        "an attempt, with a deadline": (hole, {"timeout": 20}),
        "a race": (("name", 1), {"resolver": resolver(hole, hole, hole), "happy_eyeballs_delay": 0.001}),
        "a lookup": (("name", 1), {"resolver": hung}),
        "two lookups": (("name", 1), {"resolver": hung, "resolution_delay": 0.05}),
        "a pause": (("name", 1), {"resolver": refused, "retry": pause}),
    }


KINDS = list(waits(None, None))


@each_loop
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["before it begins", "at its first wait", "later"])
def test_asyncio(run, hole, hung, kind, moment):
    address, settings = waits(hole, hung)[kind]

    async def main():
        task = asyncio.create_task(safeconnect.asyncio.create_connection(address, **settings))
        if moment != "before it begins":
            await asyncio.sleep(0)
        if moment == "later":
            await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["before it begins", "at its first wait", "later"])
def test_trio(hole, hung, kind, moment):
    address, settings = waits(hole, hung)[kind]

    async def main():
        with trio.CancelScope() as scope:
            if moment == "before it begins":
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + (0.02 if moment == "later" else 0)
            await safeconnect.trio.create_connection(address, **settings)
            pytest.fail("it was not cancelled")
        assert scope.cancelled_caught

    trio.run(main)


@each_loop
def test_of_a_tls_handshake(run, hole):
    """The peer takes the connection and says nothing."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            context = ssl.create_default_context()
            connect = functools.partial(safeconnect.asyncio.open_connection, silent.getsockname(), ssl=context)
            task = asyncio.create_task(connect())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimeoutError, match="timed out") as caught:
                await connect(timeout=0.05)
            assert "during the TLS handshake" in caught.value.__notes__[0]
            await asyncio.sleep(0)  # for asyncio to close the connection

    run(main)


@pytest.mark.slow
@each_loop
@pytest.mark.timeout(600)
def test_after_many_connects_with_random_cancellations(run, server):
    chance = random.Random(5)
    counted = {"connected": 0, "failed": 0, "cancelled": 0}

    async def one(connect, moment):
        task = asyncio.create_task(connect())
        for _ in range(moment):
            await asyncio.sleep(0)
        if moment < 6:
            task.cancel()
        try:
            sock = await task
        except OSError:
            counted["failed"] += 1
        except asyncio.CancelledError:
            counted["cancelled"] += 1
        else:
            counted["connected"] += 1
            lifecycle.reset(sock)

    async def main():
        loop = asyncio.get_running_loop()
        server.settimeout(0)
        loop.add_reader(server, _accept_all, server)
        kinds = [functools.partial(safeconnect.asyncio.create_connection, *each) for each in targets]
        kinds += [functools.partial(kinds[0].func, ("n", 1), 0.02, resolver=each) for each in names]
        for _ in range(TRIES // 100):
            await asyncio.gather(*(one(chance.choice(kinds), chance.randrange(9)) for _ in range(100)))
        loop.remove_reader(server)
        _accept_all(server)

    with black_hole() as hole:
        refused = ("127.0.0.1", closed_port(1))
        targets = [(server.getsockname(), 5), (refused, 5), (hole, 0.005)]
        names = [resolver(hole, server.getsockname()), resolver(refused, server.getsockname()), resolver(hole, refused)]
        run(main)
    assert sum(counted.values()) == TRIES
    assert min(counted.values()) > TRIES / 50, counted


def _accept_all(server):
    with suppress(BlockingIOError):
        while True:
            lifecycle.reset(server.accept()[0])

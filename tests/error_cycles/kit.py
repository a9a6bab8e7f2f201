"""Make a failing call with the collector off, drop its error, and see that the caller's own objects are gone."""

import asyncio
import contextlib
import gc
import time
import weakref

import pytest
import trio

from ..drivers import EAGER, LoopWithoutWriters, uvloop

# A lookup's thread holds the error it has handed over until its next line, and a loop what it is about to run: both
# let go by themselves, while a cycle never does.
PATIENCE = 3.0


class Held:
    """What a caller has in its hands while a call of its own fails."""


@contextlib.contextmanager
def collector_off():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def drops(call, kind=Exception):
    """Make a call that fails; its error, once dropped, must not keep what the caller had.

    :param kind: what it must fail with.
    """
    seen = []

    def caller():
        held = Held()
        seen.append(weakref.ref(held))
        call()

    with collector_off():
        expect(caller, kind)
        until = time.monotonic() + PATIENCE
        while seen[0]() is not None and time.monotonic() < until:
            time.sleep(0.001)
        _check(seen[0])


def expect(caller, kind):
    """Call it in a frame of its own, which keeps nothing of the error."""
    try:
        caller()
    except kind:
        return
    pytest.fail("the call did not fail")


async def drops_within(call, sleep, kind=Exception):
    """`drops` for a coroutine function; the error is caught inside of the loop."""
    seen = []

    async def caller():
        held = Held()
        seen.append(weakref.ref(held))
        await call()

    with collector_off():
        await _expect(caller, kind)
        until = time.monotonic() + PATIENCE
        while seen[0]() is not None and time.monotonic() < until:
            await sleep(0.001)
        _check(seen[0])


async def _expect(caller, kind):
    try:
        await caller()
    except kind:
        return
    pytest.fail("the call did not fail")


def _check(reference):
    alive = reference() is not None
    assert not alive, "the error was dropped, and its cycle keeps the caller's frame"


def on_asyncio(call, kind=Exception, loop_factory=None):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(drops_within(call, asyncio.sleep, kind))


def on_eager_tasks(call, kind=Exception):
    """The call is made in the first step of an eager task."""

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await asyncio.create_task(drops_within(call, asyncio.sleep, kind))

    asyncio.run(main())


def on_uvloop(call, kind=Exception):
    on_asyncio(call, kind, uvloop.new_event_loop)


def on_a_loop_without_writers(call, kind=Exception):
    on_asyncio(call, kind, LoopWithoutWriters)


def on_trio(call, kind=Exception):
    trio.run(drops_within, call, trio.sleep, kind)


ON_ASYNCIO = [
    on_asyncio,
    pytest.param(on_eager_tasks, marks=pytest.mark.skipif(not EAGER, reason="eager tasks came with Python 3.12")),
    pytest.param(on_uvloop, marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows")),
    on_a_loop_without_writers,
]


def with_asyncio(what):
    """Parameters: each way to run on asyncio, and what is to be run."""
    return [
        pytest.param(*run.values, what, marks=run.marks) if hasattr(run, "values") else pytest.param(run, what)
        for run in ON_ASYNCIO
    ]

"""An exception between any two bytecodes of an exchange: no reply crosses, no turn is lost, no descriptor is left."""

import asyncio
from functools import partial

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio

from .. import interrupting, replying, support
from ..drivers import EAGER, uvloop
from ..replying import number_of, request
from .kit import AT_ONCE, Adapted, drive

pytestmark = [support.linux_only, pytest.mark.timeout(300)]


class OwnError(Exception):
    """Raised by the user's own code inside an exchange."""


# What is done in a block: the request, the time for it, and what the block is left with.
BLOCKS = {
    "it ends well": (replying.ANSWER, 0, 5.0, None),
    "its time is over": (replying.ANSWER, 15, 0.005, TimeoutError),
    "its user's code raises": (replying.ANSWER, 5, 5.0, OwnError),
    "a reply too many": (replying.TWICE, 0, 5.0, None),
}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def check_reply(connection_id, reply, where):
    assert number_of(reply) == connection_id, f"another's reply, after an interrupt at {where}"


class OnALoop:
    """The connection of a library with an event loop, which is stopped by each interrupt and run again; or none."""

    def __init__(self, address, kind, run):
        self.connection = kind(address, retry=AT_ONCE)
        self.run = run

    def operate(self, block, runs):
        what, late, timeout, ends_with = block

        async def work(exchange):
            await exchange.sendall(request(exchange.id, what, late))
            if ends_with is OwnError:
                raise OwnError
            exchange.verify(number_of(await exchange.recv_exactly(8)))

        async def main():
            if runs:
                await self.connection.run(work, timeout, idempotent=True)
                return
            async with self.connection.exchange(timeout) as exchange:
                await work(exchange)

        self.run(main)

    def check(self, where):
        async def main():
            async with self.connection.exchange(5) as exchange:
                await exchange.sendall(request(exchange.id))
                check_reply(exchange.id, await exchange.recv_exactly(8), where)

        self.run(main)

    def close(self):
        self.connection.close()


class OnAsyncio(OnALoop):
    """One loop, which goes on after an interrupt."""

    def __init__(self, address, loop_factory=None, *, eager=False):
        super().__init__(address, safeconnect.asyncio.PersistentConnection, self.run_here)
        self.runner = asyncio.Runner(loop_factory=loop_factory)
        self.eager = eager

    def run_here(self, main):
        if not self.eager:
            return self.runner.run(main())
        failure = self.runner.run(self.in_an_eager_task(main))
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        return None

    @staticmethod
    async def in_an_eager_task(main):
        async def outcome():
            try:
                await main()
            except interrupting.Interrupt as error:  # out of a task it would end the loop, and be raised again later
                error.__context__ = None
                return error.with_traceback(None)  # the task keeps what it returns

        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await asyncio.create_task(outcome())

    def close(self):
        super().close()
        self.runner.close()


DRIVERS = {
    "blocking": partial(OnALoop, kind=Adapted, run=lambda main: drive(main())),
    "asyncio": OnAsyncio,
    "eager tasks": partial(OnAsyncio, eager=True),
    "uvloop": partial(OnAsyncio, loop_factory=getattr(uvloop, "new_event_loop", None)),
    "trio": partial(OnALoop, kind=safeconnect.trio.PersistentConnection, run=trio.run),
}
MISSING = {"eager tasks": not EAGER, "uvloop": uvloop is None}


def ways():
    """Each driver at each line and call; what runs on the same lines as asyncio, at each call only, unless slow."""
    for name, driver in DRIVERS.items():
        marks = [pytest.mark.skipif(MISSING.get(name, False), reason=f"no {name} here")]
        yield pytest.param(driver, "calls", marks=marks, id=f"{name}-calls")
        yield pytest.param(driver, "lines", marks=[*marks, *[pytest.mark.slow] * (name in MISSING)], id=f"{name}-lines")


each_way = pytest.mark.parametrize(("driver", "kind"), list(ways()))


@each_way
@each_block
def test_no_reply_crosses(driver, block, kind, server):
    connection = driver(server.address)
    connection.check(None)
    ends_with = block[3]
    try:
        points = interrupting.at_every_point(
            lambda: connection.operate(block, runs=False),
            connection.check,
            kind=kind,
            allowed=[ends_with] if ends_with else [],
        )
    finally:
        connection.close()
    assert points > 10


@each_way
def test_run(driver, kind, server):
    connection = driver(server.address)
    connection.check(None)
    try:
        block = BLOCKS["it ends well"]
        assert (
            interrupting.at_every_point(lambda: connection.operate(block, runs=True), connection.check, kind=kind) > 10
        )
    finally:
        connection.close()

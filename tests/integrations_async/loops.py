"""Event loops to run clients on, and connectors that tell what they do."""

import asyncio
import contextlib
import sys
import time

import pytest

import safeconnect
from safeconnect.events import Failed, Start

from .. import support

uvloop = None
if sys.platform != "win32":
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    uvloop.new_event_loop().close()  # libuv opens a pipe with the first loop and keeps it: not the fault of a test

LOOPS = {"asyncio": asyncio.SelectorEventLoop} | ({"uvloop": uvloop.new_event_loop} if uvloop else {})
MOST_SECONDS = 5
on_every_loop = pytest.mark.parametrize("loop", LOOPS)


def run(main, loop="asyncio"):
    """Run a coroutine function on an event loop in debug mode, which tells of what was never awaited or closed."""

    async def work():
        before = support.sockets()
        try:
            return await main()
        finally:
            # A closed TLS connection ends when the peer has said so, and uvloop cannot be closed in the middle of it.
            until = time.monotonic() + MOST_SECONDS
            while support.sockets() - before and time.monotonic() < until:
                await asyncio.sleep(0.001)

    with asyncio.Runner(debug=True, loop_factory=LOOPS[loop]) as runner:
        return runner.run(work())


def leading_to(*sockaddrs, **settings):
    """A connector for which every name has these addresses."""
    return safeconnect.Connector(resolver=support.resolver(*sockaddrs), **settings)


def url_of(sockaddr, scheme="http"):
    return f"{scheme}://{sockaddr[0]}:{sockaddr[1]}/"


@contextlib.contextmanager
def dead_addresses():
    """Six addresses at which nothing answers. A client that gives each the whole timeout takes six times as long."""
    with support.black_hole(host="0.0.0.0") as (_, port):
        yield [(f"127.0.0.{last}", port) for last in range(1, 7)]


class Trace:
    """What a connector does.

    :param held: a bound socket, to listen from the first failure on.
    """

    def __init__(self, held=None):
        self.messages = []
        self.held = held
        self.task = None

    def __call__(self, message):
        self.messages.append(message)
        if self.held is not None and isinstance(message, Failed):
            self.held.listen()
            self.held = None
        if self.task is not None and isinstance(message, Start):
            asyncio.get_running_loop().call_soon(self.task.cancel)  # by then it waits for the attempt

    @property
    def targets(self):
        return [message.candidate[4] for message in self.messages if isinstance(message, Start)]

    async def cancel_with_the_first_attempt(self, work):
        self.task = asyncio.ensure_future(work)
        with pytest.raises(asyncio.CancelledError):
            await self.task
        assert len(self.targets) == 1

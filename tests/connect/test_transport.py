"""How a connected socket becomes a transport of the loop: every way gives the same, and loses nothing."""

import asyncio
import errno
import sys

import pytest

import safeconnect.asyncio
from safeconnect._connect import streams


class OwnLoop(asyncio.SelectorEventLoop):
    """A loop of a user's own, whose ``create_connection`` counts."""

    asked = 0

    async def create_connection(self, *args, **kwargs):
        self.asked += 1
        return await super().create_connection(*args, **kwargs)


@pytest.fixture(params=["short", "public"])
def loop_factory(request, monkeypatch):
    if request.param == "public":
        monkeypatch.setattr(streams, "_OWN_LOOP", None)
    return asyncio.SelectorEventLoop


def run(main, loop_factory):
    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(main())


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.seen = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.seen.append("made")

    def data_received(self, data):
        self.seen.append(data)

    def connection_lost(self, exc):
        self.seen.append("lost")
        self.done.set_result(exc)


def test_the_protocol_has_been_told_when_the_transport_is_returned(loop_factory, server):
    async def main():
        transport, protocol = await safeconnect.asyncio.connect_transport(Recorder, server.getsockname(), timeout=5)
        assert protocol.seen == ["made"]
        accepted = server.accept()[0]
        accepted.sendall(b"hello")
        accepted.close()
        assert await protocol.done is None
        assert protocol.seen == ["made", b"hello", "lost"]
        assert transport.is_closing()

    run(main, loop_factory)


def test_data_that_is_there_before_the_reader_is(loop_factory, server):
    async def main():
        connecting = asyncio.create_task(safeconnect.asyncio.open_connection(server.getsockname(), timeout=5))
        await asyncio.sleep(0)
        with server.accept()[0] as accepted:
            accepted.sendall(b"greeting")
        reader, writer = await connecting
        assert await reader.read() == b"greeting"
        writer.close()
        await writer.wait_closed()

    run(main, loop_factory)


def test_cancelled_while_the_transport_is_made(loop_factory, server):
    """The descriptor is closed: the peer reads the end, and the check after each test finds nothing open."""

    async def main():
        connecting = asyncio.create_task(safeconnect.asyncio.open_connection(server.getsockname(), timeout=5))
        await asyncio.sleep(0)  # the connect is done, the transport is not
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        with server.accept()[0] as accepted:
            accepted.settimeout(5)
            await asyncio.sleep(0)  # transports close in a turn of their own
            assert accepted.recv(1) == b""

    run(main, loop_factory)


def test_a_transport_that_cannot_be_made(monkeypatch, server):
    def fails(loop, sock, protocol):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(streams, "_make_transport", fails)

    async def main():
        with pytest.raises(OSError, match="too many"):
            await safeconnect.asyncio.open_connection(server.getsockname(), timeout=5)
        with server.accept()[0] as accepted:
            accepted.settimeout(5)
            assert accepted.recv(1) == b""

    run(main, asyncio.SelectorEventLoop)


def test_another_kind_of_loop_is_asked_by_its_public_name(server):
    async def main():
        _, writer = await safeconnect.asyncio.open_connection(server.getsockname(), timeout=5)
        writer.close()
        await writer.wait_closed()
        return asyncio.get_running_loop().asked

    assert run(main, OwnLoop) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio's standard loop there is not built on selectors")
def test_the_standard_loop_has_what_makes_it_short():
    """A Python that renames it takes the speed away, and this is how we learn of it."""
    assert streams._make_transport is not None
    with asyncio.Runner() as runner:
        assert type(runner.get_loop()) is asyncio.SelectorEventLoop

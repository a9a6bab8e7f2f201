"""anyio's streams on asyncio where anyio has other names than those that are known: its public way is taken."""

import anyio
import pytest

import safeconnect.anyio
from safeconnect._connect import anyio_streams


@pytest.mark.parametrize("is_known", [True, False])
def test_exchange(monkeypatch, server, is_known):
    if not is_known:
        monkeypatch.setattr(anyio_streams, "_Stream", None)

    async def main():
        async with await safeconnect.anyio.connect_tcp(*server.getsockname(), timeout=5) as stream:
            with server.accept()[0] as peer:
                await stream.send(b"ping")
                assert peer.recv(100) == b"ping"
                peer.sendall(b"pong")
                assert await stream.receive() == b"pong"
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()

    anyio.run(main)


def test_anyio_has_the_names_that_make_it_short():
    """A version that renames them takes the speed away, and the limit to what it reads; this is how we learn of it."""
    assert anyio_streams._Stream is not None

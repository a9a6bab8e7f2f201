"""`close_gracefully` on asyncio, for sockets and for streams."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress

from .._lazy import typing as t
from .._loops import asyncio as loop
from .._sockets import lifecycle
from .policy import CHUNK, LIMIT, Closed, Closing
from .shared import end, run, shut_down, wait_for_acknowledgement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._loops import Loop


async def close_gracefully(
    connection: socket.socket | t.Streams, timeout: float | None = 5.0, *, limit: int = LIMIT
) -> Closed:
    """Close a connection so that the peer gets all that was sent: `safeconnect.close_gracefully`, on asyncio.

    :param connection: a connected TCP socket, or ``(reader, writer)`` as `open_connection` returns them. It is closed
        in any case, a cancellation included.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send; default 1 MiB.
    :returns: how it ended, a `safeconnect.Closed`. A peer that is gone is not an error. For streams over TLS, which
        asyncio ends by itself with ``close_notify``, ``dropped`` counts what was read below TLS.
    :raises OSError: the socket is closed already (EBADF).
    :raises TypeError: a number is of a wrong type.
    :raises ValueError: a number is negative.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         streams = await asyncio.open_connection(*server.getsockname())
    ...         server.accept()[0].close()
    ...         return await close_gracefully(streams, timeout=5)
    >>> asyncio.run(main())
    Closed(how='clean', dropped=0)
    """
    closing = Closing(timeout, limit, loop.now())
    if isinstance(connection, tuple):
        await _close_streams(*connection, closing)
        return closing.result()
    try:
        connection.settimeout(0)
        await run(loop, connection, closing)
    finally:
        end(connection, closing)
    return closing.result()


async def _close_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, closing: Closing) -> None:
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or writer.is_closing():
        # The transport has closed itself: over TLS it does so with the peer.
        closing.how = "reset" if reader.exception() is not None or not reader.at_eof() else "clean"
        writer.transport.abort()
        return
    # Our own descriptor: over TLS the transport closes its own before the peer has come to its end.
    below = socket.socket(fileno=os.dup(sock.fileno()))
    try:
        await run(loop, below, closing, _shut_down_streams, reader, writer)
    finally:
        if closing.how != "clean":
            lifecycle.reset_on_close(below)
        writer.transport.abort()
        below.close()


async def _shut_down_streams(
    loop: Loop, below: socket.socket, closing: Closing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if not writer.can_write_eof():  # TLS
        writer.close()  # it sends close_notify
        with suppress(ssl.SSLError):  # what came next was not the peer's: it has more to send
            await writer.wait_closed()
        below.settimeout(0)
        await shut_down(loop, below, closing)
        return
    writer.write_eof()
    while closing.received(len(await reader.read(CHUNK))):
        pass
    if closing.how == "clean":
        writer.close()  # it sends what it has buffered
        await writer.wait_closed()
        await wait_for_acknowledgement(loop, below)

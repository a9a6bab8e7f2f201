"""`close_gracefully` on asyncio, for sockets and for streams."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress

from .._inspect.peer import has_unacknowledged
from .._sockets import sockets
from .blocking import end
from .outcome import CHUNK, LIMIT, LOOK_SECONDS, Closed, Goodbye

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Streams


async def close_gracefully(
    connection: socket.socket | Streams, timeout: float | None = 5.0, *, limit: int = LIMIT
) -> Closed:
    """Close a connection so that the peer gets all that was sent: `safeconnect.close_gracefully`, on asyncio.

    :param connection: a connected TCP socket, or ``(reader, writer)`` as `open_connection` returns them. It is closed
        in any case, a cancellation included.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send, 1 MiB unless said.
    :returns: how it ended, a `safeconnect.Closed`. A peer that is gone is no error. For streams over TLS, which asyncio
        ends by itself with ``close_notify``, ``dropped`` counts what was read below TLS.
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
    goodbye = Goodbye(timeout, limit)
    if isinstance(connection, tuple):
        await _close_streams(*connection, goodbye.timeout, goodbye)
    else:
        await _close_socket(connection, goodbye.timeout, goodbye)
    return goodbye.result()


async def _close_socket(sock: socket.socket, timeout: float | None, goodbye: Goodbye) -> None:
    meets_itself = sockets.is_self_connected(sock)
    try:
        async with asyncio.timeout(timeout):
            if meets_itself:
                goodbye.how = "reset"
            else:
                sock.settimeout(0)
                sock.shutdown(socket.SHUT_WR)
                await _drain(sock, goodbye)
    except OSError as error:  # the timeout's, too
        goodbye.failed(error)
    finally:
        end(sock, goodbye)


async def _drain(sock: socket.socket, goodbye: Goodbye) -> None:
    """Read to the end, and wait until the peer's system has what was sent."""
    loop = asyncio.get_running_loop()
    while goodbye.got(len(await loop.sock_recv(sock, CHUNK))):
        pass
    if goodbye.how == "clean":
        await _wait_for_acknowledgement(sock)


async def _wait_for_acknowledgement(sock: socket.socket) -> None:
    """Wait, where the peer had closed before, until its system has all that was sent."""
    while has_unacknowledged(sock):
        await asyncio.sleep(LOOK_SECONDS)


async def _close_streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float | None, goodbye: Goodbye
) -> None:
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or writer.is_closing():
        # The transport has closed itself: over TLS it does so with the peer.
        goodbye.how = "reset" if reader.exception() is not None or not reader.at_eof() else "clean"
        writer.transport.abort()
        return
    # One of our own: over TLS the transport closes its descriptor before the peer has come to its end.
    below = socket.socket(fileno=os.dup(sock.fileno()))
    try:
        async with asyncio.timeout(timeout):
            if sockets.is_self_connected(below):
                goodbye.how = "reset"
            elif writer.can_write_eof():
                writer.write_eof()
                while goodbye.got(len(await reader.read(CHUNK))):
                    pass
                if goodbye.how == "clean":
                    writer.close()  # it sends what it has kept back
                    await writer.wait_closed()
                    await _wait_for_acknowledgement(below)
            else:
                await _send_close_notify(writer)
                below.settimeout(0)
                below.shutdown(socket.SHUT_WR)
                await _drain(below, goodbye)
    except OSError as error:
        goodbye.failed(error)
    finally:
        if goodbye.how != "clean":
            sockets.linger_not(below)
        writer.transport.abort()
        below.close()


async def _send_close_notify(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ssl.SSLError):  # what came next was not the peer's: it has more to say
        await writer.wait_closed()

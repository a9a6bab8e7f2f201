"""`close_gracefully` on asyncio, for sockets and for streams."""

import asyncio
import socket

from .._net import sockets
from ..closed import CHUNK, LIMIT, Closed, Goodbye
from ..closing import end

TYPE_CHECKING = False
if TYPE_CHECKING:
    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def close_gracefully(
    connection: "socket.socket | Streams", timeout: float | None = 5.0, *, limit: int = LIMIT
) -> Closed:
    """Close a connection so that the peer gets all that was sent: `safeconnect.close_gracefully`, on asyncio.

    :param connection: a connected TCP socket, or ``(reader, writer)`` as `open_connection` returns them. It is closed
        in any case, a cancellation included.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send, 1 MiB unless said.
    :returns: how it ended, a `safeconnect.Closed`. A peer that is gone is no error. For streams over TLS, which asyncio
        ends by itself with ``close_notify``, ``dropped`` is 0.
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
    sock = connection[1].get_extra_info("socket") if isinstance(connection, tuple) else connection
    meets_itself = sockets.is_self_connected(sock)
    try:
        async with asyncio.timeout(timeout):
            if meets_itself:
                goodbye.how = "reset"
            elif isinstance(connection, tuple):
                await _by_streams(*connection, goodbye)
            else:
                await _by_socket(connection, goodbye)
    except OSError as error:  # the timeout's, too
        goodbye.failed(error)
    finally:
        if isinstance(connection, tuple):
            _end(connection[1], goodbye)
        else:
            end(connection, goodbye)
    return goodbye.result()


async def _by_socket(sock: socket.socket, goodbye: Goodbye) -> None:
    loop = asyncio.get_running_loop()
    sock.settimeout(0)
    sock.shutdown(socket.SHUT_WR)
    while goodbye.got(len(await loop.sock_recv(sock, CHUNK))):
        pass


async def _by_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goodbye: Goodbye) -> None:
    if writer.can_write_eof():
        writer.write_eof()
        while goodbye.got(len(await reader.read(CHUNK))):
            pass
    if goodbye.how != "overflow":
        writer.close()  # over TLS it sends close_notify, and drops what comes until the peer's
        await writer.wait_closed()
        goodbye.how = "clean"


def _end(writer: asyncio.StreamWriter, goodbye: Goodbye) -> None:
    """Make sure that the transport is closed: with a reset unless it was in order."""
    sock = writer.get_extra_info("socket")
    if goodbye.how != "clean" and sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, sockets.LINGER_0)
    writer.transport.abort()

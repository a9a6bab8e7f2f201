"""`close_gracefully` on trio, for sockets and for streams."""

from __future__ import annotations

from contextlib import suppress

import trio

from .._loops import trio as loop
from .policy import LIMIT, Closed, Closing
from .shared import end, run, shut_down

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._loops import Loop

Connection = trio.socket.SocketType | trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def close_gracefully(connection: Connection, timeout: float | None = 5.0, *, limit: int = LIMIT) -> Closed:
    """Close a connection so that the peer gets all that was sent: `safeconnect.close_gracefully`, on trio.

    :param connection: trio's socket, its `trio.SocketStream`, or its `trio.SSLStream` over one, which says
        ``close_notify`` first. It is closed in any case, a cancellation included.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send; default 1 MiB.
    :returns: how it ended, a `safeconnect.Closed`. A peer that is gone is not an error.
    :raises OSError: the socket is closed already (EBADF).
    :raises TypeError: a number is of a wrong type.
    :raises ValueError: a number is negative.

    >>> import socket
    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         stream = await trio.open_tcp_stream(*server.getsockname())
    ...         server.accept()[0].close()
    ...         return await close_gracefully(stream, timeout=5)
    >>> trio.run(main)
    Closed(how='clean', dropped=0)
    """
    closing = Closing(timeout, limit, loop.now())
    stream = connection.transport_stream if isinstance(connection, trio.SSLStream) else connection
    sock = stream.socket if isinstance(stream, trio.SocketStream) else stream
    try:
        await run(loop, sock, closing, _shut_down, connection)
    finally:
        end(sock, closing)
    return closing.result()


async def _shut_down(loop: Loop, sock: trio.socket.SocketType, closing: Closing, connection: Connection) -> None:
    if isinstance(connection, trio.SSLStream):
        # An error here means that close_notify is sent, and that what came next was not the peer's: read it below TLS.
        with suppress(trio.BrokenResourceError):
            await connection.unwrap()
    await shut_down(loop, sock, closing)

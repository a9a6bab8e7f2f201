"""`close_gracefully` on trio, for sockets and for streams."""

from __future__ import annotations

import math
import socket

import trio

from .._inspect.peer import has_unacknowledged
from .._sockets import sockets
from .outcome import CHUNK, LIMIT, LOOK_SECONDS, Closed, Goodbye

TYPE_CHECKING = False
if TYPE_CHECKING:
    Connection = trio.socket.SocketType | trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def close_gracefully(connection: Connection, timeout: float | None = 5.0, *, limit: int = LIMIT) -> Closed:
    """Close a connection so that the peer gets all that was sent: `safeconnect.close_gracefully`, on trio.

    :param connection: trio's socket, its `trio.SocketStream`, or its `trio.SSLStream` over one, which says
        ``close_notify`` first. It is closed in any case, a cancellation included.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send, 1 MiB unless said.
    :returns: how it ended, a `safeconnect.Closed`. A peer that is gone is no error.
    :raises OSError: the socket is closed already (EBADF).
    :raises TypeError: a number is of a wrong type.
    :raises ValueError: a number is negative.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         stream = await trio.open_tcp_stream(*server.getsockname())
    ...         server.accept()[0].close()
    ...         return await close_gracefully(stream, timeout=5)
    >>> trio.run(main)
    Closed(how='clean', dropped=0)
    """
    goodbye = Goodbye(timeout, limit)
    sock = _socket_of(connection)
    meets_itself = sockets.is_self_connected(sock)
    try:
        with trio.move_on_after(math.inf if goodbye.timeout is None else goodbye.timeout) as scope:
            if meets_itself:
                goodbye.how = "reset"
                return goodbye.result()
            if isinstance(connection, trio.SSLStream):
                await _send_close_notify(connection)
            await _say_goodbye(sock, goodbye)
        if scope.cancelled_caught:
            goodbye.how = "timed out"
    except OSError as error:
        goodbye.failed(error)
    finally:
        try:
            if goodbye.how != "clean" and sock.fileno() >= 0:
                sockets.linger_not(sock)
        finally:
            sock.close()
    return goodbye.result()


def _socket_of(connection: Connection) -> trio.socket.SocketType:
    if isinstance(connection, trio.SSLStream):
        connection = connection.transport_stream
    return connection.socket if isinstance(connection, trio.SocketStream) else connection


async def _send_close_notify(stream: trio.SSLStream[trio.SocketStream]) -> None:
    try:
        await stream.unwrap()
    except trio.BrokenResourceError:
        return  # sent: what came next was not the peer's. The rest is read below TLS


async def _say_goodbye(sock: trio.socket.SocketType, goodbye: Goodbye) -> None:
    sock.shutdown(socket.SHUT_WR)
    while goodbye.got(len(await sock.recv(CHUNK))):
        pass
    while goodbye.how == "clean" and has_unacknowledged(sock):  # the peer had closed before
        await trio.sleep(LOOK_SECONDS)

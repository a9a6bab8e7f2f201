"""Quick acknowledgements while receiving: Linux forgets the option after a while, so it is set again and again."""

from __future__ import annotations

import socket
import sys

from .._lazy import typing as t

# linux/tcp.h; elsewhere the number means other things.
_TCP_QUICKACK = 12


def quick_ack(sock: t.TakesNumbers) -> bool:
    """Acknowledge at once what has been read, and what comes next; for one exchange, see `QuickAck`.

    Otherwise an acknowledgement may wait up to 40 ms for data that it can travel with. A
    peer that waits for the ACK before it sends more (Nagle's algorithm) waits as long.

    :param sock: a connected TCP socket; asyncio's and trio's will do.
    :returns: True if the platform can, False on macOS and Windows.
    :raises OSError: the socket is closed (EBADF).

    Sets TCP_QUICKACK (tcp(7), Linux 2.4.4).

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     quick_ack(sock)
    True
    """
    if sys.platform != "linux":
        return False
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
    return True


def recv_with_quick_ack(sock: socket.socket, bufsize: int, flags: int = 0) -> bytes:
    """``sock.recv(bufsize, flags)``, and `quick_ack` before and after it: for a loop that only receives.

    :returns: what was received, b"" at the end.
    :raises OSError: as ``recv``.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     with server.accept()[0] as peer:
    ...         peer.sendall(b"hello")
    ...     while data := recv_with_quick_ack(sock, 4096):
    ...         print(data)
    b'hello'
    """
    quick_ack(sock)  # for what comes while we wait
    data = sock.recv(bufsize, flags)
    quick_ack(sock)  # for what we have just taken
    return data

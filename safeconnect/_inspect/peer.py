"""What the other side has done: closed, reset, sent data that is still unread. Nothing here waits."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys

from .._fork import imports
from .._lazy import typing as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import HasFileno

# poll(2): Linux 2.6.17 and FreeBSD 13 tell of a FIN even while there is data before it; POLLHUP and POLLERR, of a
# reset, are told without being asked for.
_RDHUP = getattr(select, "POLLRDHUP", 0)
_READABLE = 1  # POLLIN, the lowest bit everywhere; urgent data and ends have higher ones


def peer_closed(sock: t.HasFileno) -> bool:
    """Return True if the other side has closed the connection, in order or with a reset. Reads nothing, never waits.

    Pools ask this before they use a connection again. False means that no such sign has arrived: a peer that vanished
    sends none (see `KeepAlive`). Data that has arrived before the end can still be read; `unread_bytes` tells of it.
    Elsewhere than on Linux and FreeBSD the end of a connection shows only when all data before it has been read.

    :param sock: any TCP socket, in any mode; asyncio's and trio's will do. One that is not connected counts as closed.
    :raises OSError: the socket is closed on this side (EBADF).

    Uses POLLRDHUP (poll(2), Linux 2.6.17) where there is, else MSG_PEEK.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     peer = server.accept()[0]
    ...     before = peer_closed(sock)
    ...     peer.close()
    ...     before, peer_closed(sock)
    (False, True)
    """
    number = _open(sock)
    events = _events(number)
    # Readable alone may be the end as well: without POLLRDHUP, and under gevent and eventlet, there is no other sign.
    return events > _READABLE or (events > 0 and not _peek(sock))


def is_quiet(sock: HasFileno) -> bool:
    """Return True if nothing has come from the other side: neither data, nor an end."""
    return not _events(_open(sock))


def unread_bytes(sock: t.HasFileno) -> int:
    """Count the bytes that have arrived and are unread, for TLS still encrypted. Reads nothing, and does not wait.

    On Windows at most 65536 are counted.

    :param sock: as for `peer_closed`.
    :returns: the number; 0 also if the connection has ended and all has been read.
    :raises OSError: the socket is closed on this side (EBADF), or listens (EINVAL).

    Uses FIONREAD (ioctl; SIOCINQ in tcp(7)).

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     with server.accept()[0] as peer:
    ...         _ = peer.send(b"hello"), select.select([sock], [], [])
    ...         unread_bytes(sock)
    5
    """
    number = _open(sock)
    if sys.platform == "win32":
        return len(_peek(sock, 2**16)) if _events(number) else 0
    with imports.lock:
        import fcntl  # neither of them exists on Windows
        import termios

    return int.from_bytes(fcntl.ioctl(number, termios.FIONREAD, bytes(4)), sys.byteorder)


def has_unacknowledged(sock: Any) -> bool:
    """Return True while the peer's system has not acknowledged all that was sent, FIN included; Linux only.

    :raises OSError: it never will: the connection has been reset, or given up.
    """
    if sys.platform != "linux":
        return False
    with imports.lock:
        import fcntl
        import termios

        from .connection import tcp_state  # few have a reason to ask

    if not any(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))):  # SIOCOUTQ, tcp(7)
        return False
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code or tcp_state(sock) == "CLOSED":  # the kernel may have told the error to another caller
        raise OSError(code or errno.ECONNRESET, os.strerror(code or errno.ECONNRESET))
    return True


def _open(sock: HasFileno) -> int:
    number = sock.fileno()
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return number


def _events(number: int) -> int:
    """Return the events of the socket as poll(2) does: 0, _READABLE, or more than that for an end."""
    if sys.platform == "win32" or not hasattr(select, "poll"):  # eventlet takes it away
        return _READABLE * bool(select.select([number], [], [], 0)[0])
    watched = select.poll()
    watched.register(number, _RDHUP | select.POLLIN)
    found = watched.poll(0)
    return found[0][1] if found else 0


def _peek(sock: HasFileno, size: int = 1) -> bytes:
    """Return unread data, b"" at the end of the connection. Call it only if there is one of them."""
    if isinstance(sock, socket.socket):
        return _peeked(sock, size)
    borrowed = socket.socket(fileno=sock.fileno())
    try:
        return _peeked(borrowed, size)
    finally:
        borrowed.detach()


def _peeked(sock: socket.socket, size: int) -> bytes:
    try:
        # The plain class's: TLS sockets refuse MSG_PEEK.
        return socket.socket.recv(sock, size, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0))
    except BlockingIOError:
        return b"?"  # nothing after all: urgent data, for example
    except OSError:
        return b""  # reset

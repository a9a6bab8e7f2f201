"""`close_gracefully`, blocking."""

from __future__ import annotations

import selectors
import socket
import sys
from contextlib import suppress
from time import monotonic, sleep

from .._connect.blocking_race import new_selector
from .._inspect.connection import has_unacknowledged
from .._sockets import lifecycle
from .policy import CHUNK, LIMIT, POLL_SECONDS, Closed, Closing
from .shared import end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLSocket
    from typing import Any


def close_gracefully(sock: socket.socket, timeout: float | None = 5.0, *, limit: int = LIMIT) -> Closed:
    """Close a connection so that the peer gets all that was sent: shut down sending, wait for the peer's end, close.

    A plain ``close`` returns at once. If data from the peer is still unread, it resets the connection, and the peer may
    lose what it has not read yet (RFC 2525, section 2.17). This function shuts down the sending side (SHUT_WR), reads
    and drops what still comes until the peer closes too, and then closes. A peer that does not close in time, or sends
    without a limit, is cut off with a reset. On a TLS socket ``close_notify`` goes first (RFC 8446, section 6.1).

    :param sock: a connected TCP or TLS socket, in any mode; it is closed in any case.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send; default 1 MiB.
    :returns: how it ended, a `Closed`: ``how`` and ``dropped``. A peer that is gone is not an error.
    :raises OSError: the socket is closed already (EBADF).
    :raises TypeError: a number is of a wrong type.
    :raises ValueError: a number is negative.

    Whoever closes first keeps the connection in TIME_WAIT for a minute (RFC 9293, section 3.6), as after a plain
    ``close``. A socket that is connected to itself is reset.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     sock = socket.create_connection(server.getsockname())
    ...     server.accept()[0].close()
    ...     close_gracefully(sock, timeout=5)
    Closed(how='clean', dropped=0)
    """
    closing = Closing(timeout, limit, monotonic())
    is_self_connected = lifecycle.is_self_connected(sock)
    try:
        if is_self_connected:
            closing.how = "reset"
        else:
            _shut_down(sock, closing)
    finally:
        end(sock, closing)
    return closing.result()


def _shut_down(sock: socket.socket, closing: Closing) -> None:
    ssl = sys.modules.get("ssl")  # not loaded: there is no TLS socket
    try:
        if ssl is None or not isinstance(sock, ssl.SSLSocket):
            sock.shutdown(socket.SHUT_WR)
        elif not _shut_down_tls(sock, closing):
            return
        sock.settimeout(closing.seconds_left(monotonic()))
        while closing.received(len(socket.socket.recv(sock, CHUNK))):
            sock.settimeout(closing.seconds_left(monotonic()))
        while closing.how == "clean" and has_unacknowledged(sock):  # the peer had closed before
            sleep(min(closing.seconds_left(monotonic()) or POLL_SECONDS, POLL_SECONDS))
    except OSError as error:
        closing.failed(error)


def _send_close_notify(sock: SSLSocket, closing: Closing) -> None:
    """Send ``close_notify``; do not wait for the peer's, which may have data to send first.

    :raises TimeoutError: the peer does not read.
    """
    import ssl

    sock.settimeout(0)
    while True:
        try:
            sock.unwrap()
        except ssl.SSLWantWriteError:
            with new_selector() as watched:
                watched.register(sock, selectors.EVENT_WRITE)
                watched.select(closing.seconds_left(monotonic()))
        except (ssl.SSLError, ValueError):
            return  # it is sent, and what came next is not the peer's close_notify; or there is no TLS any more
        else:
            return


def _shut_down_tls(sock: Any, closing: Closing) -> bool:
    """Send ``close_notify`` and read to the peer's; return True to go on with the end of the TCP connection."""
    import ssl

    sock.settimeout(0)
    with suppress(ssl.SSLWantReadError):  # all that has come is read
        # Read first what has come already: unwrap() would drop a record of it uncounted.
        while size := len(sock.recv(CHUNK)):
            if not closing.received(size):
                return False
    _send_close_notify(sock, closing)
    socket.socket.shutdown(sock, socket.SHUT_WR)  # not SSLSocket's own, which would forget how to decrypt what comes
    try:
        while True:
            sock.settimeout(closing.seconds_left(monotonic()))
            size = len(sock.recv(CHUNK))
            if not size:
                return True
            if not closing.received(size):
                return False
    except ssl.SSLError:
        return True  # what comes is not TLS

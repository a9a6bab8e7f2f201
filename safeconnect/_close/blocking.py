"""Ending a connection: in order and within a time, or at once."""

from __future__ import annotations

import selectors
import socket
import sys
from contextlib import suppress
from time import monotonic, sleep

from .._connect.blocking_race import new_selector
from .._inspect.peer import has_unacknowledged
from .._sockets import sockets
from .outcome import CHUNK, LIMIT, LOOK_SECONDS, Closed, Goodbye

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLSocket
    from typing import TypeGuard


def close_gracefully(sock: socket.socket, timeout: float | None = 5.0, *, limit: int = LIMIT) -> Closed:
    """Close a connection so that the peer gets all that was sent: say that it is the end, wait for the peer's, close.

    A plain ``close`` returns at once, and where the peer's data is still unread it resets the connection, which may
    take from the peer what it has not read yet (RFC 2525, section 2.17). This shuts the sending side down (SHUT_WR),
    reads and drops what still comes until the peer closes too, and then closes. A peer that does not close in time, or
    sends without an end, is cut off with a reset. On a TLS socket ``close_notify`` goes first (RFC 8446, section 6.1).

    :param sock: a connected TCP or TLS socket, in any mode; it is closed in any case.
    :param timeout: seconds for all of it; None waits as long as the peer takes.
    :param limit: how many bytes the peer may still send, 1 MiB unless said.
    :returns: how it ended, a `Closed`: ``how`` and ``dropped``. A peer that is gone is no error.
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
    goodbye = Goodbye(timeout, limit)
    deadline = None if goodbye.timeout is None else monotonic() + goodbye.timeout
    meets_itself = sockets.is_self_connected(sock)
    try:
        if meets_itself:
            goodbye.how = "reset"
        else:
            _say_goodbye(sock, goodbye, deadline)
    finally:
        end(sock, goodbye)
    return goodbye.result()


def end(sock: socket.socket, goodbye: Goodbye) -> None:
    """Close the socket: in order after a clean end, else with a reset."""
    if goodbye.how == "clean":
        sock.close()
    elif sock.fileno() >= 0:
        sockets.reset(sock)


def _say_goodbye(sock: socket.socket, goodbye: Goodbye, deadline: float | None) -> None:
    try:
        if not is_tls(sock):
            sock.shutdown(socket.SHUT_WR)
        elif not _say_goodbye_in_tls(sock, goodbye, deadline):
            return
        while goodbye.got(len(_receive(sock, deadline))):
            pass
        while goodbye.how == "clean" and has_unacknowledged(sock):  # the peer had closed before
            sleep(min(_left(deadline) or LOOK_SECONDS, LOOK_SECONDS))
    except OSError as error:
        goodbye.failed(error)


def is_tls(sock: socket.socket) -> TypeGuard[SSLSocket]:
    """Whether it is a TLS socket of the standard library's."""
    ssl = sys.modules.get("ssl")  # nobody has a TLS socket who has not loaded it
    return ssl is not None and isinstance(sock, ssl.SSLSocket)


def _send_close_notify(sock: SSLSocket, deadline: float | None) -> None:
    """Send it without waiting for the peer's, which may have data to send before.

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
                watched.select(_left(deadline))
        except (ssl.SSLError, ValueError):
            return  # sent: what comes next is not the peer's close_notify. Or there is no TLS any more
        else:
            return


def _say_goodbye_in_tls(sock: SSLSocket, goodbye: Goodbye, deadline: float | None) -> bool:
    """Send ``close_notify``, read to the peer's; says whether to go on to the end of the connection below."""
    import ssl

    sock.settimeout(0)
    with suppress(ssl.SSLWantReadError):  # it has said no more so far
        # What is there already, for unwrap() would throw a record of it away uncounted.
        while size := len(sock.recv(CHUNK)):
            if not goodbye.got(size):
                return False
    _send_close_notify(sock, deadline)
    socket.socket.shutdown(sock, socket.SHUT_WR)  # not SSLSocket's own, which would forget how to decrypt what comes
    try:
        while True:
            sock.settimeout(_left(deadline))
            size = len(sock.recv(CHUNK))
            if not size:
                return True
            if not goodbye.got(size):
                return False
    except ssl.SSLError:
        return True  # no TLS that could be read


def _receive(sock: socket.socket, deadline: float | None) -> bytes:
    sock.settimeout(_left(deadline))
    return socket.socket.recv(sock, CHUNK)


def _left(deadline: float | None) -> float | None:
    """How many seconds are left.

    :raises TimeoutError: none.
    """
    if deadline is None:
        return None
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left

"""A server whose every connection is handled as a test wants: what all faults are built on."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from time import monotonic
from weakref import ref

from .._connect.blocking_race import new_selector
from .._fork import Guard
from .._inspect import peer as peers
from .._latch import Latch
from .._sockets.sockets import LINGER_0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ..typing import Handler


# How long the end of a test waits for its threads: they have nothing to do by then.
_JOIN_SECONDS = 10.0
# How long a send may wait before it looks whether the fault is over.
_SEND_SECONDS = 0.02


class Over(Exception):  # noqa: N818 - not an error: it ends a handler
    """The fault is over; raised inside of a handler that waits, which need not catch it."""


class Connection:
    """What became of one connection that a client made.

    :ivar number: counted from 1, in the order in which they were accepted.
    :ivar peer: the client's address.
    :ivar accepted_at: when, in seconds of `time.monotonic`.
    :ivar received: all bytes that the server has read from it.
    :ivar received_at: when bytes came: ``[(seconds, how many), ...]``.
    :ivar ended_at: when the server's side was closed, None as long as it is open.
    """

    def __init__(self, number: int, peer: tuple[Any, ...]) -> None:
        self.number = number
        self.peer = peer
        self.accepted_at = monotonic()
        self.received = b""
        self.received_at: list[tuple[float, int]] = []
        self.ended_at: float | None = None

    def __repr__(self) -> str:
        state = "open" if self.ended_at is None else "ended"
        return f"<Connection {self.number} from {self.peer[0]}:{self.peer[1]}, {len(self.received)} bytes, {state}>"


class Peer:
    """A handler's side of one connection. Every wait in it ends, with `Over`, when the fault does.

    :ivar connection: its log, a `Connection`.
    :ivar number: the connection's number, from 1.
    """

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.socket = sock
        self.connection = connection
        self.number = connection.number
        self._over = Latch()

    def recv(self, bufsize: int = 65536) -> bytes:
        """Receive, and take note of it; b"" at the end.

        :raises OSError: as ``socket.recv``.
        """
        data = self.socket.recv(bufsize)
        if self._over.is_set():
            raise Over
        if data:
            self.connection.received += data
            self.connection.received_at.append((monotonic(), len(data)))
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of the data.

        :raises OSError: as ``socket.sendall``.
        """
        # By and by: a peer that does not read would hold this thread, which nothing but a timeout lets go.
        self.socket.settimeout(_SEND_SECONDS)
        rest = memoryview(data)
        while rest:
            if self._over.is_set():
                raise Over
            with contextlib.suppress(TimeoutError):
                rest = rest[self.socket.send(rest) :]
        self.socket.settimeout(None)

    def wait(self, seconds: float | None = None) -> None:
        """Let time pass; None: until the fault is over."""
        if self._over.wait(seconds):
            raise Over

    def shutdown(self) -> None:
        """Send FIN; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        self.socket.close()

    def end(self) -> None:
        """Wake the handler, whatever it waits for, and let it end with a RST; called from another thread."""
        self._over.set()
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            # Not SSLSocket's own, under which its reader would go on in plain text; and no FIN, which SHUT_WR sends.
            socket.socket.shutdown(self.socket, socket.SHUT_RD)


class Fault:
    """An address that behaves in a certain way as long as its ``with`` block lasts.

    :ivar address: what to connect to, ``(host, port)``, for IPv6 with two more parts.
    :ivar connections: the log, a `Connection` for each connection that was accepted, in their order.
    """

    def __init__(self, address: tuple[Any, ...], family: int) -> None:
        self.address = address
        self.family = family
        self.connections: list[Connection] = []

    @property
    def host(self) -> str:
        """The host of ``address``."""
        return str(self.address[0])

    @property
    def port(self) -> int:
        """The port of ``address``."""
        return int(self.address[1])

    def close(self) -> None:
        """End it; a ``with`` block does so by itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.host}:{self.port}, {len(self.connections)} connections>"


class Server(Fault):
    """A fault that accepts: each connection is given to a handler, in a thread of its own.

    :param listener: a bound socket; it belongs to the server from now on.
    :param handler: called with a `Peer`. When it returns, the connection is closed; its OSErrors end it, too.
    :param backlog: as for ``listen``.
    :param accept_delay: seconds before each accept.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        backlog: int = 128,
        accept_delay: float = 0.0,
        listens: bool = True,
    ) -> None:
        super().__init__(listener.getsockname(), listener.family)
        self.handler = handler
        self._backlog = backlog
        self._accept_delay = accept_delay
        self._listener = listener
        self._is_closed = False
        self._over = Latch()
        self._arrived = Latch()  # the next connection; then it is another one
        self._guard = Guard()
        self._open: dict[Connection, Peer] = {}
        self._threads: list[threading.Thread] = []
        self._bell, self._rings = socket.socketpair()  # wakes the thread that accepts
        if listens:
            self.start()

    def __del__(self) -> None:
        # Nobody refers to it, for an interrupt came before the block was entered, or while it was left.
        if hasattr(self, "_bell") and not self._is_closed:
            self._end()

    def start(self) -> None:
        """Begin to listen, and to accept."""
        if self._threads:
            return
        self._listener.listen(self._backlog)
        self._listener.settimeout(0)
        self._start_accepting()

    def _start_accepting(self) -> None:
        self._start_thread(_keep_accepting, ref(self))

    def wait_for_connections(self, count: int, timeout: float = 10.0) -> list[Connection]:
        """Wait until so many connections have been accepted in all, and return them.

        :raises AssertionError: not in time.
        """
        until = monotonic() + timeout
        arrived = self._arrived
        while len(self.connections) < count:
            if not arrived.wait(until - monotonic()):
                raise AssertionError(f"{len(self.connections)} connections came in {timeout} s, not {count}: {self!r}")
            arrived = self._arrived
        return self.connections[:count]

    def reset(self) -> None:
        """Reset every connection that is open now, as a server that is killed and restarted does."""
        for peer in self._live():
            peer.end()

    def assert_all_closed(self, timeout: float = 1.0) -> None:
        """Make sure that the client has closed every connection it made.

        :param timeout: seconds in which it may still do so.
        :raises AssertionError: it has not; the message names the connections.
        """
        until = monotonic() + timeout
        while left := self._left_open():
            seconds = until - monotonic()
            if seconds <= 0:
                raise AssertionError(f"the client has left open: {', '.join(map(repr, left))}")
            with new_selector() as watched:
                for sock in left.values():
                    watched.register(sock, selectors.EVENT_READ)
                watched.select(min(seconds, 0.02))

    def _left_open(self) -> dict[Connection, socket.socket]:
        with self._guard.lock:
            live = dict(self._open)
        return {each: peer.socket for each, peer in live.items() if not _is_closed(peer.socket)}

    def close(self) -> None:
        """Stop listening, reset what is open, and wait until all threads have ended."""
        self._end()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._rings.close()
        self._listener.close()
        self._is_closed = True

    def _end(self) -> None:
        """Let all threads end; may be called again."""
        self._over.set()
        self._bell.close()
        for peer in self._live():
            peer.end()

    def _live(self) -> list[Peer]:
        with self._guard.lock:
            return list(self._open.values())

    def _start_thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="safeconnect.testing", daemon=True)
        thread.start()
        self._threads.append(thread)

    def waits_for(self) -> tuple[socket.socket | None, float | None]:
        """What the thread that accepts waits for: the listener, where there is one, and how long (None: any time)."""
        return self._listener, None

    def go_on(self) -> None:
        """What it waits for has happened, or its time is over."""
        if self._over.wait(self._accept_delay):
            return
        with contextlib.suppress(OSError):  # the client is gone again
            self._accepted(*self._listener.accept())

    def _accepted(self, sock: socket.socket, address: tuple[Any, ...], handler: Handler | None = None) -> None:
        sock.settimeout(None)
        with self._guard.lock:
            connection = Connection(len(self.connections) + 1, address)
            peer = Peer(sock, connection)
            self.connections.append(connection)
            self._open[connection] = peer
        arrived, self._arrived = self._arrived, Latch()
        arrived.set()
        if self._over.is_set():
            peer.end()
        self._start_thread(_handle, ref(self), peer, handler or self.handler)

    def handled(self, peer: Peer) -> None:
        """A connection is over; its socket is about to be closed."""
        with self._guard.lock:
            peer.connection.ended_at = monotonic()
            self._open.pop(peer.connection, None)


# The threads refer to their server weakly: one that was lost in an interrupt ends, and they with it. A thread whose
# start was interrupted stays in a list of threading's for good: so it is given nothing else that would be left open.


def _keep_accepting(server_ref: ref[Server]) -> None:
    server = server_ref()
    if server is None:
        return
    rings = server._rings  # noqa: SLF001 - the same module
    del server
    try:
        while _wait(server_ref, rings):
            server = server_ref()
            if server is not None:
                server.go_on()
            del server
    finally:
        rings.close()


def _wait(server_ref: ref[Server], rings: socket.socket) -> bool:
    """Wait for what the server waits for; False: it is over."""
    server = server_ref()
    if server is None or server._over.is_set():  # noqa: SLF001 - the same module
        return False
    listener, seconds = server.waits_for()
    del server
    with new_selector() as watched:
        watched.register(rings, selectors.EVENT_READ)
        if listener is not None:
            watched.register(listener, selectors.EVENT_READ)
        watched.select(seconds)
    server = server_ref()
    return server is not None and not server._over.is_set()  # noqa: SLF001


def _handle(server_ref: ref[Server], peer: Peer, handler: Handler) -> None:
    try:
        with contextlib.suppress(OSError, Over):
            handler(peer)
    finally:
        server = server_ref()
        if server is not None:
            server.handled(peer)
        del server
        peer.socket.close()


def _is_closed(sock: socket.socket) -> bool:
    try:
        return peers.peer_closed(sock)
    except OSError:
        return True  # by its handler, meanwhile

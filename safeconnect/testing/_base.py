"""The base of all faults: `Fault`, and `Server`, which gives each connection to a handler in a thread of its own."""

from __future__ import annotations

import _thread
import contextlib
import selectors
import socket
import threading
from time import monotonic
from typing import Any, Self
from weakref import ref

from .._connect.blocking_race import new_selector
from .._fork import Guard
from .._inspect import connection as peers
from .._latch import Latch
from .._lazy import typing as t
from .._sockets.lifecycle import reset, reset_on_close
from .._text import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..typing import Handler


# The threads have nothing left to do when they are joined, so this is never reached in practice.
_JOIN_TIMEOUT = 10.0
# A send checks this often whether the fault has ended.
_SEND_TIMEOUT = 0.02


class Over(Exception):  # noqa: N818 - not an error: it ends a handler
    """The fault has ended. Raised inside a handler that waits; the handler need not catch it."""


class Connection:
    """The log of one connection that a client made.

    :ivar number: counted from 1, in the order in which they were accepted.
    :ivar peer: the client's address.
    :ivar accepted_at: when it was accepted, in seconds of `time.monotonic`.
    :ivar received: all bytes that the server has read from it.
    :ivar received_at: when bytes came: ``[(seconds, how many), ...]``.
    :ivar ended_at: when the server closed its side; None while it is open.
    """

    def __init__(self, number: int, peer: tuple[Any, ...]) -> None:
        self.number = number
        self.peer = peer
        self.accepted_at: float = monotonic()
        self.received = b""
        self.received_at: list[tuple[float, int]] = []
        self.ended_at: float | None = None

    def __repr__(self) -> str:
        state = "open" if self.ended_at is None else "ended"
        return f"<Connection {self.number} from {self.peer[0]}:{self.peer[1]}, {len(self.received)} bytes, {state}>"


class Peer:
    """A handler's side of one connection. When the fault ends, every wait here ends with `Over`.

    :ivar connection: its log, a `Connection`.
    :ivar number: the connection's number, from 1.
    """

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.socket = sock
        self.connection = connection
        self.number: int = connection.number
        self._over = Latch()

    def __repr__(self) -> str:
        return f"<Peer of {self.connection!r}>"

    def recv(self, bufsize: int = 65536) -> bytes:
        """Receive bytes and log them; b"" at the end.

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
        # In pieces, with a timeout: a peer that does not read would block this thread, and nothing else could wake it.
        self.socket.settimeout(_SEND_TIMEOUT)
        rest = memoryview(data)
        while rest:
            if self._over.is_set():
                raise Over
            with contextlib.suppress(TimeoutError):
                rest = rest[self.socket.send(rest) :]
        self.socket.settimeout(None)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for some seconds, or (None) until the fault ends."""
        if self._over.wait(seconds):
            raise Over

    def shutdown(self) -> None:
        """Send FIN; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a RST."""
        reset(self.socket)

    def end(self) -> None:
        """Wake the handler and have it end the connection with a RST. Called from another thread."""
        self._over.set()
        with contextlib.suppress(OSError):
            reset_on_close(self.socket)
            # Not SSLSocket.shutdown, after which a reader would go on in plain text. Not SHUT_WR, which sends a FIN.
            socket.socket.shutdown(self.socket, socket.SHUT_RD)


class Place:
    """An address in a ``with`` block: the base of `Fault` and `Host`."""

    def __init__(self, address: tuple[Any, ...], family: int) -> None:
        self.address = address
        self.family = family

    @property
    def host(self) -> str:
        """The host of ``address``."""
        return str(self.address[0])

    @property
    def port(self) -> int:
        """The port of ``address``."""
        return int(self.address[1])

    def close(self) -> None:
        """End it. The ``with`` block does it by itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Fault(Place):
    """An address that behaves in a certain way as long as its ``with`` block lasts.

    :ivar address: what to connect to, ``(host, port)``, for IPv6 with two more parts.
    :ivar connections: a `Connection` for each connection that was accepted, in order.
    """

    def __init__(self, address: tuple[Any, ...], family: int) -> None:
        super().__init__(address, family)
        self.connections: list[Connection] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.host}:{self.port}, {len(self.connections)} connections>"


class Server(Fault):
    """A fault that accepts: each connection is given to a handler, in a thread of its own.

    :param listener: a bound socket; it belongs to the server from now on.
    :param handler: called with a `Peer`. The connection is closed when the handler returns or raises an OSError.
    :param backlog: as for ``listen``.
    :param accept_delay: seconds before each accept.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: t.Handler,
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
        self._arrived = Latch()  # set by the next connection, which puts a new one here
        self._guard = Guard()
        self._open: dict[Connection, Peer] = {}
        self._threads: list[threading.Thread] = []
        self._waker, self._wakeups = socket.socketpair()  # wakes the thread that accepts
        if listens:
            self.start()

    def __del__(self) -> None:
        # Nobody refers to it: an interrupt came before the block was entered, or while it was left.
        if hasattr(self, "_waker") and not self._is_closed:
            self._end()

    def start(self) -> None:
        """Begin to listen and to accept."""
        if self._threads:
            return
        self._listener.listen(self._backlog)
        self._listener.settimeout(0)
        self._start_accepting()

    def _start_accepting(self) -> None:
        self._start_thread(_keep_accepting, ref(self))

    def wait_for_connections(self, count: int, timeout: float = 10.0) -> list[Connection]:
        """Wait until ``count`` connections have been accepted in all, and return them.

        :raises AssertionError: there were fewer before the timeout.
        """
        deadline = monotonic() + timeout
        arrived = self._arrived
        while len(self.connections) < count:
            if not arrived.wait(deadline - monotonic()):
                came = f"{len(self.connections)} connections came in {duration(timeout)}"
                raise AssertionError(f"{came}, not {count}: {self!r}")
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
        deadline = monotonic() + timeout
        while left_open := self._left_open():
            seconds = deadline - monotonic()
            if seconds <= 0:
                raise AssertionError(f"the client has left open: {', '.join(map(repr, left_open))}")
            with new_selector() as selector:
                for sock in left_open.values():
                    selector.register(sock, selectors.EVENT_READ)
                selector.select(min(seconds, 0.02))

    def _left_open(self) -> dict[Connection, socket.socket]:
        with self._guard.lock:
            live = dict(self._open)
        return {each: peer.socket for each, peer in live.items() if not _is_closed(peer.socket)}

    def close(self) -> None:
        """Stop listening, reset the connections that are open, and wait until all threads have ended."""
        self._end()
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT)
        self._wakeups.close()
        self._listener.close()
        self._is_closed = True

    def _end(self) -> None:
        """Make all threads end. It may be called again."""
        self._over.set()
        self._waker.close()
        for peer in self._live():
            peer.end()

    def _live(self) -> list[Peer]:
        with self._guard.lock:
            return list(self._open.values())

    def _start_thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="safeconnect.testing", daemon=True)
        start_thread(thread)
        self._threads.append(thread)

    def waits_for(self) -> tuple[socket.socket | None, float | None]:
        """Return the listener to wait for, if there is one, and the longest time to wait (None: without a limit)."""
        return self._listener, None

    def go_on(self) -> None:
        """Act after the wait: a client has come, or the time is over."""
        if self._over.wait(self._accept_delay):
            return
        with contextlib.suppress(OSError):  # the client has gone again
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
        """Log the end of a connection, just before its socket is closed."""
        with self._guard.lock:
            peer.connection.ended_at = monotonic()
            self._open.pop(peer.connection, None)


def start_thread(thread: threading.Thread) -> None:
    """Start the thread, from another one: an interrupt in the middle of ``Thread.start`` would leave it unfinished.

    Signal handlers run in the main thread only. What an interrupt leaves there is a thread that hangs before it begins,
    and on Python 3.14 also a lock of `threading` that stays taken, so that no thread of the process can begin any more.

    :raises RuntimeError: the host has no thread left, or the interpreter is about to end.
    """
    failures: list[RuntimeError] = []
    is_begun = Latch()

    def begin() -> None:
        try:
            thread.start()
        except RuntimeError as error:
            failures.append(error.with_traceback(None))
        finally:
            is_begun.set()

    _thread.start_new_thread(begin, ())  # in one step
    is_begun.wait()
    if failures:
        raise failures.pop()


# The threads refer to their server weakly, so they end when an interrupt has lost it.


def _keep_accepting(server_ref: ref[Server]) -> None:
    server = server_ref()
    if server is None:
        return
    wakeups = server._wakeups  # noqa: SLF001 - the same module
    del server
    try:
        while _wait(server_ref, wakeups):
            server = server_ref()
            if server is not None:
                server.go_on()
            del server
    finally:
        wakeups.close()


def _wait(server_ref: ref[Server], wakeups: socket.socket) -> bool:
    """Wait as the server says. Return False when the server has ended."""
    server = server_ref()
    if server is None or server._over.is_set():  # noqa: SLF001 - the same module
        return False
    listener, seconds = server.waits_for()
    del server
    with new_selector() as selector:
        selector.register(wakeups, selectors.EVENT_READ)
        if listener is not None:
            selector.register(listener, selectors.EVENT_READ)
        selector.select(seconds)
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
        return True  # the handler has closed it meanwhile

"""What the persistent connections of all drivers share: one socket, what it is fit for, and how it ends.

An exception may come between any two bytecodes (a signal handler that raises, a cancellation), and so may a fork. So a
connection is dirty from before the first byte of an exchange until after its orderly end: `Line` writes "clean" as the
last thing, and whoever finds a dirty connection resets it. How an exchange was broken off does not matter.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from itertools import count

from .._connect.settings import Settings, check_seconds
from .._connect.verdict import timed_out
from .._fork import Guard, register
from .._inspect import peer
from .._sockets import port_window, sockets
from ..errors import CrossedReplyError, PeerClosedError
from ..retry import Retry, is_transient
from .policy import Reconnection
from .turns import Block, Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..typing import AnySocket, Draw


# By how much of `max_age` a connection may end before it, at random. As wide as gRPC's 10 % to either side of its
# MAX_CONNECTION_AGE; but all of it on this side, as HikariCP has it, for a limit is what some box on the way is set to.
# Go's SetConnMaxLifetime has no jitter: there a fleet that has connected at once does everything at once from then on.
AGE_SPREAD = 0.2

# What the kernel says of a peer that answers no more: keepalive, the user timeout or the retransmissions have given up.
_VANISHED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


class Line:
    """The connection behind a `PersistentConnection`. Whoever has its turn calls this, but for `close`."""

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        connector: Settings | None,
        retry: Retry | None,
        idle_limit: float | None,
        max_age: float | None,
        on_connect: Callable[[Any], Any] | None,
        clock: Callable[[], float],
    ) -> None:
        if not isinstance(address, tuple) or len(address) not in (2, 3, 4):
            raise TypeError(f"address must be (host, port), not {address!r}")
        if connector is not None and not isinstance(connector, Settings):
            raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"retry must be a Retry, not {type(retry).__name__}")
        if on_connect is not None and not callable(on_connect):
            raise TypeError(f"on_connect must be callable, not {type(on_connect).__name__}")
        self.address = address
        self.idle_limit = check_seconds("idle_limit", idle_limit)
        self.max_age = check_seconds("max_age", max_age)
        self.on_connect = on_connect
        self.clock = clock
        connector = connector or Settings()
        retry = retry or connector.retry or Retry()
        self.connector = connector.replace(retry=retry)
        self.draw: Draw = port_window.chance
        self.reconnection = Reconnection(retry, self.draw)
        self.is_closed = False
        self.last_error = ""
        self._sock: AnySocket | None = None
        self._is_clean = False  # whether no reply can be under way on it
        self._idle_since = 0.0
        self._old_at = 0.0  # when the connection has come to its own age
        self._ids = count(1)
        # Closing, against the shutdown by another thread's close(): the descriptor may be another's by then.
        self._guard = Guard()
        self._renew()
        register(self)

    def _renew(self) -> None:
        self.turns = Turns()

    def state(self) -> str:
        """For a representation."""
        return ", closed" if self.is_closed else ", connected" if self._sock is not None else ""

    def check_open(self) -> None:
        """:raises RuntimeError: it has been closed."""
        if self.is_closed:
            raise RuntimeError(f"this PersistentConnection to {self.address!r} is closed")

    def fit_socket(self) -> AnySocket | None:
        """The connection there is, if it may be used again; one that may not is ended. It is dirty from now on."""
        sock = self._sock
        if sock is None:
            return None
        if not self._is_clean:
            self.reset()
        elif self._is_stale():
            self.discard()
        elif not _is_quiet(sock):
            # Closed, or bytes that nobody asked for: a late reply, perhaps, which would be taken for the next one.
            self.reset()
        self._is_clean = False
        return self._sock

    def _is_stale(self) -> bool:
        """Whether the idle connection is too old, or was idle for too long."""
        if self.idle_limit is None and self.max_age is None:
            return False
        now = self.clock()
        if self.max_age is not None and now >= self._old_at:
            return True
        return self.idle_limit is not None and now - self._idle_since >= self.idle_limit

    def seconds_to_wait(self, left: float | None) -> float:
        """How long to wait before the next connection is made.

        :raises TimeoutError: longer than there is time.
        """
        seconds = self.reconnection.seconds(self.clock())
        if left is not None and seconds > left:
            raise timed_out(
                f"{self.reconnection.lost} connections to {self.address!r} were lost in a row (the last: "
                f"{self.last_error}), and the next is due in {seconds:.2f} s, {seconds - left:.2f} s after the deadline"
            )
        return seconds

    def begin(self, block: Block, sock: AnySocket) -> None:
        """Take over a connection that has just been made and is to be prepared: `close` ends it from now on.

        :raises RuntimeError: the exchange that it was made for is over.
        """
        if block.is_over:
            sockets.reset(sock)
            block.check_not_over()
        if self.max_age is not None:
            self._old_at = self.clock() + self.max_age * (1 - AGE_SPREAD * self.draw())
        self._is_clean = False
        self._sock = sock

    def socket(self) -> AnySocket:
        """The connection, such as it is."""
        return self._sock

    def ready(self, block: Block, prepared: AnySocket | None) -> AnySocket:
        """The connection is prepared, perhaps with another socket in its place.

        :raises RuntimeError: the exchange is over, or `close` was called meanwhile; or what was to prepare it has
            closed it.
        """
        block.check_not_over()
        if prepared is not None:
            self._sock = prepared
        if self.is_closed:
            self.reset()
        self.check_open()
        if self._sock is None or self._sock.fileno() < 0:
            raise RuntimeError("on_connect has closed the socket, or wrapped it and not returned what it made of it")
        return self._sock

    def not_connected(self, block: Block, error: BaseException) -> None:
        """The connection for an exchange could not be made, or not prepared."""
        if block.is_over:
            return  # it was left behind, and what there is now is another's
        if isinstance(error, (OSError, ExceptionGroup)):
            self.failed(error, connecting=True)
        else:
            self.reset()

    def failed(self, error: BaseException, *, connecting: bool = False) -> None:
        """An exchange, or the connect for it, has ended with an error: no late reply may follow on this connection."""
        self.reset()
        # What else the user's code raises (FileNotFoundError, say) tells nothing of the server.
        if connecting or is_transient(error):
            self.last_error = f"{type(error).__name__}: {error}"
            self.reconnection.failed(self.clock(), charge=not connecting)

    def ended(self) -> None:
        """An exchange has ended well: the connection is kept."""
        if self._sock is None:
            return  # reset by verify()
        self.reconnection.succeeded()
        self._idle_since = self.clock()
        if self.is_closed:
            self.discard()
        self._is_clean = True  # the last thing: whatever comes before this leaves the connection dirty

    def close(self, *, is_idle: bool) -> None:
        """Close for good; an exchange under way reads the end."""
        self.is_closed = True
        if is_idle:
            self.discard()
            return
        with self._guard.lock, suppress(OSError):  # the peer may have ended it already: then whoever reads knows
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_RDWR)  # the descriptor stays whose it is

    def discard(self) -> None:
        """Close an idle connection in order."""
        self._end(in_order=True)

    def reset(self) -> None:
        """End the connection with a RST, and what is under way on it."""
        self._end(in_order=False)

    def _end(self, *, in_order: bool) -> None:
        self._is_clean = False  # if this is interrupted, the next exchange does it again
        with self._guard.lock:
            sock = self._sock
            if sock is not None and sock.fileno() >= 0:
                if not in_order:
                    sockets.linger_not(sock)
                _close(sock)
            self._sock = None

    def next_id(self) -> int:
        """The number of the next exchange."""
        return next(self._ids)

    def leave_behind(self) -> None:
        """What goes on elsewhere is over here: in a forked parent, or in an event loop that runs no more."""
        block = self.turns.holder
        self._renew()
        if isinstance(block, Block):
            block.leave_behind()

    def forked(self) -> None:
        """In the child: the connection is the parent's. Its descriptor is closed, which sends nothing."""
        self.leave_behind()
        sock, self._sock = self._sock, None
        if sock is None or sock.fileno() < 0:
            return
        with suppress(OSError):  # it may have been closed in the middle of the fork
            os.close(sock.detach())  # the bare one: trio's close() would tell the parent's epoll


def _close(sock: AnySocket) -> None:
    try:
        sock.close()
    except RuntimeError:  # trio's, outside of trio.run(): nobody can be waiting for it
        os.close(sock.detach())


class ExchangeBase:
    """One request and its reply. ``id`` is a number that grows from exchange to exchange, also across connections."""

    def __init__(self, line: Line, sock: AnySocket, deadline: float | None, *, counts: bool) -> None:
        self.id = line.next_id()
        self.is_over = False
        self.broken_off = 0  # sends and receives that have not come to their end
        self.may_have_reply = True  # whether bytes of a reply may have come; known where they are counted
        self._line = line
        self._sock = sock
        self._deadline = deadline
        self._received = _bytes_received(sock) if counts else None

    def _check(self) -> AnySocket:
        if self.is_over:
            raise RuntimeError(f"exchange {self.id} is over: its connection may serve another one now")
        return self._sock

    def verify(self, reply_id: object) -> None:
        """Make sure that a reply belongs to this exchange; where not, the connection is reset.

        :param reply_id: the number that the reply bears, of the request that it answers.
        :raises CrossedReplyError: it is not this exchange's ``id``.
        """
        self._check()
        if reply_id == self.id:
            return
        self._line.reset()
        text = f"the reply to {reply_id!r} came where {self.id} was asked"
        raise CrossedReplyError(errno.ECONNABORTED, f"{text}: replies are crossed, and the connection has been reset")

    def over(self, error: BaseException | None) -> None:
        """The block has been left, with this error or without."""
        if self.is_over:  # it was left behind
            return
        self.is_over = True
        if error is None and not self.broken_off:
            self._line.ended()
            return
        if self._received is not None:
            self.may_have_reply = _bytes_received(self._sock) != self._received
        # A timeout or cancellation may have been caught inside the block; its reply may still come.
        self._line.failed(TimeoutError("broken off") if error is None else error)
        if isinstance(error, OSError):
            _tell(error, self.id, is_closed=self._line.is_closed)


def _tell(error: OSError, number: int, *, is_closed: bool) -> None:
    """Add to an error of an exchange what it means for the connection."""
    if is_closed:
        told = "close() was called"
    elif error.errno in _VANISHED:
        told = "the peer has vanished: it no longer answers, and keepalive or the retransmissions have given it up"
    elif isinstance(error, TimeoutError):
        told = "no reply in time; the connection was reset, so that a late one cannot be taken for the next"
    elif isinstance(error, PeerClosedError):
        told = "the peer closed the connection in order, before the reply was complete"
    elif isinstance(error, (ConnectionResetError, BrokenPipeError)):
        told = "the peer reset the connection: the server was restarted, or has dropped it"
    else:
        return
    error.add_note(f"exchange {number}: {told}")


def _is_quiet(sock: AnySocket) -> bool:
    """Whether nothing has come on an idle connection."""
    if sock.fileno() < 0:
        return False
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(sock, ssl.SSLSocket):
        return peer.is_quiet(sock)
    # TLS has messages of its own (session tickets): only reading tells them from data.
    sock.settimeout(0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def _bytes_received(sock: AnySocket) -> int | None:
    """How many bytes of data have ever come on a connection, None where the platform does not count."""
    from .._inspect.connection import tcp_info  # only for requests that may be sent twice

    try:
        info = tcp_info(sock)
    except OSError:
        return None
    # Linux counts the peer's FIN, which has a number of its own among those of the bytes.
    is_counted = sys.platform == "linux" and info.state == "CLOSE_WAIT"
    return None if info.bytes_received is None else info.bytes_received - is_counted

"""Shared by the drivers of `PersistentConnection`: the kept connection, and one exchange on it.

The danger: a request times out, its reply is still under way, and the next request takes that reply for its own. TCP
cannot take a reply back. So a connection on which a reply may be under way must be reset, never used again.

"Reset it in an ``except``" is not enough: an exception may come between any two bytecodes (a signal handler that
raises, a cancellation), also in the middle of the ``except``; and so may a fork. Therefore nothing depends on how an
exchange was broken off. A connection is *dirty* from before the first byte of an exchange (`check_out`) until after
its orderly end (`ended`), which writes "clean" as the very last thing. An interrupt at any point before leaves it
dirty. Whoever finds a dirty connection resets it: the exchange that fails, if it gets so far, or else the next one.

Only the exchange that holds the lock calls the methods here, except for `close`. While an exchange is under way in
another thread, `close` only shuts the connection down, so that the exchange reads the end of the stream. Whoever holds
the lock closes the descriptor: its number could be another socket's by then.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from itertools import count
from time import monotonic

from .._connect.connect_error import timed_out
from .._connect.settings import Settings, check_seconds
from .._fork import Guard, imports, register
from .._inspect.connection import is_quiet
from .._lazy import typing as t
from .._sockets import lifecycle, port_window
from .._text import duration
from ..errors import CrossedReplyError, PeerClosedError
from ..retry import Retry, is_transient
from .policy import FairLock, Reconnection, Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..typing import AnySocket, Draw
    from .policy import Block


# By how much of `max_age` a connection may end before it, at random. As wide as gRPC's 10 % to either side of its
# MAX_CONNECTION_AGE; but all of it on this side, like HikariCP: the limit may be that of some box on the way.
# Go's SetConnMaxLifetime has no jitter: there a fleet that has connected at once does everything at once from then on.
AGE_SPREAD = 0.2

# What the kernel says about a peer that no longer answers: keepalive, the user timeout or the retransmissions gave up.
_VANISHED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


class Link:
    """The connection behind a `PersistentConnection`."""

    def __init__(
        self,
        address: tuple[Any, ...],
        connector: Settings | None,
        *,
        retry: Retry | None,
        idle_limit: float | None,
        max_age: float | None,
        on_connect: Callable[[Any], Any] | None,
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
        self.clock = monotonic
        connector = connector or Settings()
        retry = retry or connector.retry or Retry()
        self.connector = connector.replace(retry=retry)
        self.draw: Draw = port_window.chance
        self.reconnection = Reconnection(retry, self.draw)
        self.is_closed = False
        self.last_error = ""
        self.next_id = count(1).__next__  # the number of the next exchange
        self.sock: t.AnySocket = None  # in whatever state it is; None: there is no connection
        self._is_clean = False  # True: no reply can be under way on it
        self._idle_since = 0.0
        self._old_at = 0.0  # when the connection reaches its own maximum age
        # For closing the socket, against the shutdown by another thread's close().
        self._guard = Guard()
        self._renew()
        register(self)

    def _renew(self) -> None:
        self.lock = FairLock()

    def __repr__(self) -> str:
        state = ", closed" if self.is_closed else ", connected" if self.sock is not None else ""
        return f"<PersistentConnection to {self.address!r}{state}>"

    def check_open(self) -> None:
        """:raises RuntimeError: it has been closed."""
        if self.is_closed:
            raise RuntimeError(f"this PersistentConnection to {self.address!r} is closed")

    # Before an exchange

    def check_out(self) -> t.AnySocket | None:
        """Return the connection if it may be used again, else end it. It is dirty from now on."""
        sock = self.sock
        if sock is None:
            return None
        if not self._is_clean:
            self.reset()
        elif self._is_stale():
            self.close_in_order()
        elif not _is_quiet(sock):
            # Closed, or bytes that nobody asked for: a late reply, perhaps, which would be taken for the next one.
            self.reset()
        self._is_clean = False
        return self.sock

    def _is_stale(self) -> bool:
        """Return True if the idle connection is too old, or was idle for too long."""
        if self.idle_limit is None and self.max_age is None:
            return False
        now = self.clock()
        if self.max_age is not None and now >= self._old_at:
            return True
        return self.idle_limit is not None and now - self._idle_since >= self.idle_limit

    def pause_seconds(self, left: float | None) -> float:
        """Return how long to wait before the next connection is made.

        :param left: seconds until the deadline.
        :raises TimeoutError: longer than there is time left.
        """
        now = self.clock()
        seconds = self.reconnection.seconds(now, left)
        if seconds is None:
            due = self.reconnection.seconds(now) or 0.0
            late = due - (left or 0.0)
            lost, to = self.reconnection.lost, f"to {self.address!r}"
            told = f"{lost} connections {to} were lost in a row, the last one"
            told = told if lost > 1 else f"the connection {to} was lost"
            next_one = f"the next is due in {duration(due)}, {duration(late)} after the deadline"
            raise timed_out(f"{told}: {self.last_error}; {next_one}")
        return seconds

    def take_over(self, block: Block, sock: t.AnySocket) -> None:
        """Own a connection that has just been made and is still to be prepared; from now on `close` ends it.

        :raises RuntimeError: the exchange that it was made for is over.
        """
        if block.is_over:
            lifecycle.reset(sock)
            block.check_not_over()
        if self.max_age is not None:
            self._old_at = self.clock() + self.max_age * (1 - AGE_SPREAD * self.draw())
        self._is_clean = False
        self.sock = sock

    def adopt(self, block: Block, prepared: AnySocket | None) -> t.AnySocket:
        """Take note that ``on_connect`` is done, and return the connection.

        :param prepared: the socket that ``on_connect`` has returned to be used in its place.
        :raises RuntimeError: the exchange is over, `close` was called meanwhile, or ``on_connect`` has closed it.
        """
        block.check_not_over()
        if prepared is not None:
            self.sock = prepared
        if self.is_closed:
            self.reset()
        self.check_open()
        if self.sock is None or self.sock.fileno() < 0:
            raise RuntimeError("on_connect has closed the socket, or wrapped it and not returned what it made of it")
        return self.sock

    def connect_failed(self, block: Block, error: BaseException) -> None:
        """Take note that no connection could be made for an exchange, or not be prepared."""
        if block.is_over:
            return  # it was abandoned: the connection there is now belongs to another exchange
        if isinstance(error, (OSError, ExceptionGroup)):
            self.failed(error, connecting=True)
        else:
            self.reset()

    # After an exchange

    def failed(self, error: BaseException, *, connecting: bool = False) -> None:
        """Reset the connection after an error of an exchange, or of the connect for it: no late reply may follow."""
        self.reset()
        # What else the user's code raises (FileNotFoundError, say) says nothing about the server.
        if connecting or is_transient(error):
            self.last_error = f"{type(error).__name__}: {error}"
            self.reconnection.failed(self.clock(), charge=not connecting)

    def ended(self) -> None:
        """Keep the connection after an exchange that has ended well."""
        if self.sock is None:
            return  # reset by verify()
        self.reconnection.succeeded()
        self._idle_since = self.clock()
        if self.is_closed:
            self.close_in_order()
        self._is_clean = True  # the last thing: an interrupt before this leaves the connection dirty

    # Its end

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self.is_closed = True
        try:
            if not self.close_idle():
                # The peer may have reset it already: then the exchange under way notices that.
                with self._guard.lock, suppress(OSError):
                    if self.sock is not None:
                        self.sock.shutdown(socket.SHUT_RDWR)
        finally:
            self.end_pause()

    def close_idle(self) -> bool:
        """Close the connection unless an exchange is under way; return True if there was none."""
        closer = Waiter()
        try:
            if not self.lock.acquire(closer, in_order=False):
                return False
            self.close_in_order()
        finally:
            self.lock.release(closer)
        return True

    def end_pause(self) -> None:
        """Wake whoever pauses before the next connection; a driver's own."""

    def close_in_order(self) -> None:
        """Close an idle connection in order."""
        self._end(in_order=True)

    def reset(self) -> None:
        """End the connection with a RST, and so whatever is under way on it."""
        self._end(in_order=False)

    def _end(self, *, in_order: bool) -> None:
        self._is_clean = False  # if this is interrupted, the next exchange does it again
        with self._guard.lock:
            sock = self.sock
            if sock is not None and sock.fileno() >= 0:
                if not in_order:
                    lifecycle.reset_on_close(sock)
                _close(sock)
            self.sock = None

    def abandon(self) -> None:
        """Forget an exchange that was under way in a forked parent, or on an event loop that runs no more."""
        holder = self.lock.holder
        self._renew()
        if holder is not None:
            holder.abandon()

    def forked(self) -> None:
        """Leave the connection to the parent: in the child its descriptor is closed, which sends nothing."""
        self.abandon()
        sock, self.sock = self.sock, None
        if sock is None or sock.fileno() < 0:
            return
        with suppress(OSError):  # it may have been closed in the middle of the fork
            os.close(sock.detach())  # the bare descriptor: trio's close() would tell the parent's epoll


class ExchangeBase:
    """One request and its reply. ``id`` is a number that grows from exchange to exchange, also across connections."""

    def __init__(self, link: Link, sock: t.AnySocket, deadline: float | None, *, counts: bool) -> None:
        self.id = link.next_id()
        self.is_over = False
        # How many sends and receives are not finished. Only coming to the end takes one off again: an error in one
        # spoils the connection, even if it is caught inside the block.
        self.unfinished = 0
        self.may_have_reply = True  # False only where bytes are counted, and none has come
        self._link = link
        self._sock = sock
        self._deadline = deadline
        self._received = _bytes_received(sock) if counts else None

    def __repr__(self) -> str:
        return f"<Exchange {self.id} of {self._link!r}{', over' if self.is_over else ''}>"

    def _check(self) -> t.AnySocket:
        if self.is_over:
            raise RuntimeError(f"exchange {self.id} is over: its connection may serve another one now")
        return self._sock

    def verify(self, reply_id: object) -> None:
        """Check that a reply belongs to this exchange; if not, reset the connection.

        :param reply_id: the number in the reply, of the request that it answers.
        :raises CrossedReplyError: it is not this exchange's ``id``.
        """
        self._check()
        if reply_id == self.id:
            return
        self._link.reset()
        text = f"the reply to {reply_id!r} came where {self.id} was asked"
        raise CrossedReplyError(errno.ECONNABORTED, f"{text}: replies are crossed, and the connection has been reset")

    def end(self, error: BaseException | None) -> None:
        """Take note that the block has been left, with this error or without: keep the connection, or reset it."""
        if self.is_over:  # it was abandoned
            return
        self.is_over = True
        if error is None and not self.unfinished:
            self._link.ended()
            return
        if self._received is not None:
            self.may_have_reply = _bytes_received(self._sock) != self._received
        # Without an error: a timeout or cancellation was caught inside the block, and its reply may still come.
        self._link.failed(TimeoutError("broken off") if error is None else error)
        if isinstance(error, OSError):
            _explain(error, self.id, is_closed=self._link.is_closed)


class ConnectionBase:
    """The methods that are the same in each `PersistentConnection`."""

    _link: t.Any  # a `Link` of the driver's own class

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self._link.close()

    def __repr__(self) -> str:
        return repr(self._link)


def _close(sock: t.AnySocket) -> None:
    try:
        sock.close()
    except RuntimeError:  # trio's, outside of trio.run(): nobody can be waiting for it
        os.close(sock.detach())


def _is_quiet(sock: t.AnySocket) -> bool:
    """Return True if nothing has come on an idle connection."""
    if sock.fileno() < 0:
        return False
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(sock, ssl.SSLSocket):
        return is_quiet(sock)
    # TLS has messages of its own (session tickets): only reading tells them from data.
    sock.settimeout(0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def incomplete(received: int, size: int) -> PeerClosedError:
    """Return the error for a stream that ended too early."""
    return PeerClosedError(errno.ECONNRESET, f"the peer closed after {received} of {size} bytes")


def _explain(error: OSError, number: int, *, is_closed: bool) -> None:
    """Add a note to an error of an exchange: what it means for the connection."""
    if is_closed:
        note = "close() was called"
    elif error.errno in _VANISHED:
        note = "the peer has vanished: it no longer answers, and keepalive or the retransmissions have given it up"
    elif isinstance(error, TimeoutError):
        note = "no reply in time; the connection was reset, so that a late one cannot be taken for the next"
    elif isinstance(error, PeerClosedError):
        note = "the reply was not complete; the connection ended in order, not by a reset"
    elif isinstance(error, (ConnectionResetError, BrokenPipeError)):
        note = "the peer reset the connection: the server was restarted, or has dropped it"
    else:
        return
    error.add_note(f"exchange {number}: {note}")


def _bytes_received(sock: t.AnySocket) -> int | None:
    """Return how many bytes of data have ever come on a connection; None if the platform does not count them."""
    with imports.lock:
        from .._inspect.connection import tcp_info  # only for requests that may be sent twice

    try:
        info = tcp_info(sock)
    except OSError:
        return None
    # Linux counts the peer's FIN, which has a sequence number like a byte.
    is_fin_counted = sys.platform == "linux" and info.state == "CLOSE_WAIT"
    return None if info.bytes_received is None else info.bytes_received - is_fin_counted

"""One exchange, a request and its reply, and the ``with`` block around it: what is the same in every driver."""

from __future__ import annotations

import errno
import sys

from .._connect.settings import check_seconds
from .._connect.verdict import timed_out
from .._fork import imports
from ..errors import CrossedReplyError, PeerClosedError
from .policy import LOOK_AGAIN, Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from .._loops import Event
    from ..typing import AnySocket
    from .link import Link


# A timeout of more than 31 years is not a real timeout: sockets and clocks cannot count that far.
LONGEST = 1e9

# What the kernel says about a peer that no longer answers: keepalive, the user timeout or the retransmissions gave up.
_VANISHED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


class ExchangeBase:
    """One request and its reply. ``id`` is a number that grows from exchange to exchange, also across connections."""

    def __init__(self, link: Link, sock: AnySocket, deadline: float | None, *, counts: bool) -> None:
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

    def _check(self) -> AnySocket:
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


class Block(Waiter):
    """The ``with`` block of one exchange. It holds the lock.

    The `ExchangeBase` inside of it does not refer to it. Only the ``with`` statement does: when that is left, at any
    bytecode and by whatever exception, the block is deleted and the lock is free (see `FairLock`).
    """

    taker_kind = "task"
    exchange: ExchangeBase | None = None
    _woken: Event | None = None  # a new one for each wait

    def __init__(self, link: Link, timeout: float | None, *, wait: bool, counts: bool = False) -> None:
        self.link = link
        self.timeout = check_seconds("timeout", timeout)
        self.waits = wait
        self.counts = counts  # count the bytes of the reply
        self.deadline: float | None = None
        self.taker: object = None  # the thread or task that has entered it
        self.is_over = False
        self.is_late = False  # the deadline ended it. A loop's clock, rounded, may say that there is time left
        self.has_left = False

    def enter(self, now: float, taker: object) -> None:
        """Enter the block: its time runs from now on.

        :raises RuntimeError: it was entered before; the connection has been closed.
        """
        if self.taker is not None:
            raise RuntimeError("an exchange is one block: call exchange() again for another")
        self.link.check_open()
        self.taker = taker
        self.deadline = None if self.timeout is None or self.timeout > LONGEST else now + self.timeout

    def check_may_wait(self) -> None:
        """Check that this block may wait for the lock.

        :raises RuntimeError: its own thread or task holds the lock.
        :raises BlockingIOError: another one holds it, and this block is not to wait.
        """
        holder = self.link.lock.holder
        if isinstance(holder, Block) and holder.taker is self.taker:
            raise RuntimeError(f"this {self.taker_kind} has an exchange already")
        if not self.waits:
            raise BlockingIOError(errno.EAGAIN, "another exchange is under way")

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait for the lock before looking again.

        :raises TimeoutError: there is no time left.
        """
        seconds = LOOK_AGAIN if self.deadline is None else min(self.deadline - now, LOOK_AGAIN)
        if seconds <= 0:
            raise timed_out("another exchange was under way all the time")
        return seconds

    def wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def check_not_over(self) -> None:
        """:raises RuntimeError: the block was abandoned, by a fork or with its event loop."""
        if self.is_over:
            raise RuntimeError("this exchange is over: its connection may serve another one now")

    def abandon(self) -> None:
        self.is_over = True
        if self.exchange is not None:
            self.exchange.is_over = True

    def leave(self) -> None:
        """Release the lock."""
        self.link.lock.release(self)
        if self.link.is_closed:  # meanwhile: close() has left the connection to us
            self.link.close_idle()
        self.has_left = True  # the last thing

    def leave_at_last(self) -> None:
        """Release the lock if an interrupt or an error came before `leave` was done."""
        if not self.has_left:
            self.leave()

    def resends(self, sendings: int, error: OSError, now: float) -> bool:
        """Return True to make this exchange, which has failed with that error, once more."""
        if self.exchange is None or self.exchange.may_have_reply:
            return False
        if self.is_late or (self.deadline is not None and now >= self.deadline):
            return False
        return self.link.reconnection.resends(sendings, error)

    def again(self, now: float) -> Self:
        """Return a new block like this one, with what is left of its time."""
        timeout = None if self.deadline is None else self.deadline - now
        return type(self)(self.link, timeout, wait=self.waits, counts=self.counts)


def seconds_left(deadline: float | None, now: float) -> float | None:
    """Return how many seconds are left until the deadline; None without one.

    :raises TimeoutError: it has passed.
    """
    if deadline is None:
        return None
    if now >= deadline:
        raise timed_out()
    return deadline - now


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
        note = "the peer closed the connection in order, before the reply was complete"
    elif isinstance(error, (ConnectionResetError, BrokenPipeError)):
        note = "the peer reset the connection: the server was restarted, or has dropped it"
    else:
        return
    error.add_note(f"exchange {number}: {note}")


def _bytes_received(sock: AnySocket) -> int | None:
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

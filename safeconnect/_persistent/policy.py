"""The policy of `PersistentConnection`: whose exchange is next, when to connect again, when to send a request again."""

from __future__ import annotations

import errno
from weakref import ref

from .._connect.connect_error import timed_out
from .._connect.settings import check_seconds
from .._fork import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from .._loops import Event
    from ..retry import Retry
    from ..typing import Draw
    from .shared import ExchangeBase, Link

# How many seconds a waiter waits for a wakeup before it looks again by itself.
LOOK_AGAIN = 1.0

# A timeout of more than 31 years is not a real timeout: sockets and clocks cannot count that far.
LONGEST = 1e9


class Waiter:
    """An object that can hold the lock, and wait for it."""

    def wake(self) -> None:
        """Called, perhaps in another thread, when the lock may be free for this one."""

    def abandon(self) -> None:
        """Called on the holder when a new lock replaces this one: what the holder still does has no effect."""


class FairLock:
    """A lock for one holder at a time, first come, first served, which survives interrupts.

    An ordinary lock does not do here. An exception may come between any two bytecodes (a signal handler that raises, a
    cancellation), also between the end of ``acquire`` and the ``try`` of its caller: then nobody is left to release the
    lock, and everybody else waits without a limit.

    So this lock belongs to an object, not to a thread, and knows that object by weak reference only. The object is the
    ``with`` block of an exchange. If an interrupt ends the block in whatever way, nobody refers to it any more, it is
    deleted, and with it the lock is free. The lock may also be acquired in one thread and released in another.

    Who waits is in a queue, by weak reference too, and is woken when the lock becomes free. An interrupt may lose a
    wakeup. Therefore each waiter looks again by itself every `LOOK_AGAIN` seconds, and then does not mind those before
    it in the queue, who may have lost theirs. The wait gets longer by that, and still ends.
    """

    __slots__ = ("_guard", "_holder", "_waiting")

    def __init__(self) -> None:
        self._guard = Guard()  # reentrant: a signal handler may use the lock in the middle of all this
        self._holder: Callable[[], Waiter | None] = _nobody
        self._waiting: list[ref[Waiter]] = []

    @property
    def holder(self) -> Waiter | None:
        return self._holder()

    def acquire(self, waiter: Waiter, *, in_order: bool = True) -> bool:
        """Take the lock if it is free and nobody has waited for longer; return True if that was so. Does not wait.

        :param in_order: False: do not mind the others that wait.
        """
        with self._guard.lock:
            if self._holder() is not None:
                return False
            if in_order and self._waiting and self._first() not in (None, waiter):
                return False
            self._holder = ref(waiter)
        return True

    def release(self, waiter: Waiter) -> None:
        """Release the lock if this one holds it, and wake the first that waits."""
        if self._holder() is waiter:
            self._holder = _nobody
            self._wake_first()

    def enqueue(self, waiter: Waiter) -> None:
        """Wake this one when the lock may be free for it."""
        with self._guard.lock:
            self._waiting = [each for each in self._waiting if each() is not None] + [ref(waiter)]

    def dequeue(self, waiter: Waiter) -> None:
        """Do not wake this one any more. It may just have been woken, and have left: then wake the next one."""
        with self._guard.lock:
            self._waiting = [each for each in self._waiting if each() not in (None, waiter)]
        if self._holder() is None:
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            with self._guard.lock:
                first = self._first()
            if first is not None:
                first.wake()

    def _first(self) -> Waiter | None:
        return next((waiter for each in self._waiting if (waiter := each()) is not None), None)


def _nobody() -> None:
    return None


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
        self.is_late = False  # the deadline ended it; kept, as a second look at a loop's rounded clock may differ
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

    def ensure_left(self) -> None:
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


LAST_TRY = 0.1  # how long before the deadline it is made
CUT_SPREAD = 0.1


class Reconnection:
    """Pauses between connections that fail, ever longer; no pause after a connection that has served an exchange.

    A connection counts as lost when an exchange on it fails, or when it cannot be made: the server may be down, and a
    fleet that comes back at once would keep it down. One that the server closed while it was idle is not a failure.
    """

    __slots__ = ("_draw", "_due", "_pause", "_retry", "lost")

    def __init__(self, retry: Retry, draw: Draw) -> None:
        self._retry = retry
        self._draw = draw
        self._due = 0.0
        self._pause: float | None = None
        self.lost = 0  # in a row

    def failed(self, now: float, *, charge: bool = True) -> None:
        """Take note that a connection has been lost, or could not be made.

        :param charge: False if the budget knows already, as of a connect.
        """
        self.lost += 1
        self._pause = self._retry.backoff.delay(self.lost, self._draw, self._pause)
        self._due = now + self._pause
        if charge and self._retry.budget is not None:
            self._retry.budget.failed()

    def succeeded(self) -> None:
        self.lost = 0
        self._pause = None
        self._due = 0.0
        if self._retry.budget is not None:
            self._retry.budget.succeeded()

    def seconds(self, now: float, left: float | None = None) -> float | None:
        """Return how long to wait from now until the next connection; None if that is beyond the deadline.

        A pause that would outlast the deadline is cut, so that there is a last try a tenth of a second before; but only
        if half of the pause has passed by then. Otherwise, exchanges with short deadlines would undo all pauses. The
        cut pause is shorter by up to a tenth, at random, but never ends before half of the pause.

        :param left: seconds until the deadline.
        """
        due = max(self._due - now, 0.0) if self.lost else 0.0
        if left is None or due <= left - LAST_TRY:
            return due
        latest = left - LAST_TRY
        earliest = max(due - (self._pause or 0.0) / 2, 0.0)
        if latest > earliest:
            return max(latest - latest * CUT_SPREAD * self._draw(), earliest)
        return due if due <= left else None

    def resends(self, sendings: int, error: BaseException) -> bool:
        """Return True to send a request again that may be sent twice, after so many sendings."""
        retry = self._retry
        if retry.attempts is not None and sendings >= retry.attempts:
            return False
        return retry.on(error) and (retry.budget is None or retry.budget.allows())

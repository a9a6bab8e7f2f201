"""The policy of `PersistentConnection`: whose exchange is next, when to connect again, when to send a request again."""

from __future__ import annotations

from weakref import ref

from .._fork import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..retry import Retry
    from ..typing import Draw

# How many seconds a waiter waits for a wakeup before it looks again by itself.
LOOK_AGAIN = 1.0


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

    def seconds(self, now: float) -> float:
        """Return how long to wait from now until the next connection."""
        return max(self._due - now, 0.0) if self.lost else 0.0

    def resends(self, sendings: int, error: BaseException) -> bool:
        """Return True to send a request again that may be sent twice, after so many sendings."""
        retry = self._retry
        if retry.attempts is not None and sendings >= retry.attempts:
            return False
        return retry.on(error) and (retry.budget is None or retry.budget.allows())

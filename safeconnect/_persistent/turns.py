"""Whose turn it is on something that serves one user at a time: the exchanges of a `PersistentConnection`."""

from __future__ import annotations

import errno
from weakref import ref

from .._connect.settings import check_seconds
from .._fork import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, Self

    from .link import ExchangeBase, Line

    class Event(Protocol):
        """The driver's event."""

        def set(self) -> object: ...


# How long a ticket waits before it looks again by itself, in seconds: an interrupt may have lost the call that was to
# wake it. Then the wait is longer by this, and has an end all the same.
LOOK_AGAIN = 1.0
# A timeout of more than 31 years is none: sockets and clocks cannot count so far.
LONGEST = 1e9


class Ticket:
    """Whoever holds one can have a turn."""

    def wake(self) -> None:
        """It may be this ticket's turn now; called by whoever had the turn before, perhaps in another thread."""


class Turns:
    """One turn at a time, first come, first served.

    Tickets are known by weak reference, both the one that has its turn and those that wait. An interrupt may come
    between any two bytecodes, also between the end of `take` and the ``try`` of its caller: then nobody refers to the
    ticket any more, and its turn is over. No lock is held during a turn, so none can stay taken; and a turn belongs to
    no thread: it may begin in one and end in another.
    """

    __slots__ = ("_guard", "_holder", "_waiting")

    def __init__(self) -> None:
        self._guard = Guard()  # a signal handler may take a turn in the middle of all this
        self._holder: Callable[[], Ticket | None] = _nobody
        self._waiting: list[ref[Ticket]] = []

    @property
    def holder(self) -> Ticket | None:
        """The ticket that has its turn, None where nobody has."""
        return self._holder()

    def take(self, ticket: Ticket, *, in_order: bool = True) -> bool:
        """Let this ticket have its turn, if nobody has it and nobody has waited for longer; says whether it has.

        :param in_order: whether the others that wait count.
        """
        with self._guard.lock:
            if self._holder() is not None:
                return False
            if in_order and self._waiting and self._first() not in (None, ticket):
                return False
            self._holder = ref(ticket)
        return True

    def leave(self, ticket: Ticket) -> None:
        """The ticket's turn is over, if it had one."""
        if self._holder() is ticket:
            self._holder = _nobody
            self._wake_first()

    def enqueue(self, ticket: Ticket) -> None:
        """Let the ticket be woken when it may be its turn."""
        with self._guard.lock:
            self._waiting = [each for each in self._waiting if each() is not None] + [ref(ticket)]

    def dequeue(self, ticket: Ticket) -> None:
        """The ticket waits no more; where it was woken in vain, the next one is."""
        with self._guard.lock:
            self._waiting = [each for each in self._waiting if each() not in (None, ticket)]
        if self._holder() is None:
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            with self._guard.lock:
                first = self._first()
            if first is not None:
                first.wake()

    def _first(self) -> Ticket | None:
        return next((ticket for each in self._waiting if (ticket := each()) is not None), None)


def _nobody() -> None:
    return None


class Block(Ticket):
    """The block of one exchange: it has the turn, and is the context manager that `exchange` gives.

    The `Exchange` inside of it does not refer to it. So only the ``with`` statement does, and when that is left, by
    whatever came between two bytecodes, the turn is over.
    """

    takers = "task"
    exchange: ExchangeBase | None = None
    _woken: Event | None = None  # a new one for each time that it waits

    def __init__(self, line: Line, timeout: float | None, *, wait: bool, counts: bool = False) -> None:
        self.line = line
        self.timeout = check_seconds("timeout", timeout)
        self.waits = wait
        self.counts = counts  # whether the bytes of the reply
        self.deadline: float | None = None
        self.taker: object = None  # the thread or task that has begun it
        self.is_over = False
        self.is_late = False  # its time ended it; a loop's clock may say that there is some left, by a rounding
        self.has_left = False

    def enter(self, now: float, taker: object) -> None:
        """The block is entered: time runs from now on.

        :raises RuntimeError: it was entered before; the connection has been closed.
        """
        if self.taker is not None:
            raise RuntimeError("an exchange is one block: call exchange() again for another")
        self.line.check_open()
        self.taker = taker
        self.deadline = None if self.timeout is None or self.timeout > LONGEST else now + self.timeout

    def check_turn(self) -> None:
        """Look at who has the turn, where this block cannot have it at once.

        :raises RuntimeError: its own thread or task.
        :raises BlockingIOError: another one, and this block is not to wait.
        """
        holder = self.line.turns.holder
        if isinstance(holder, Block) and holder.taker is self.taker:
            raise RuntimeError(f"this {self.takers} has an exchange already")
        if not self.waits:
            raise BlockingIOError(errno.EAGAIN, "another exchange is under way")

    def check_not_over(self) -> None:
        """:raises RuntimeError: the block was left behind, by a fork or with its event loop."""
        if self.is_over:
            raise RuntimeError("this exchange is over: its connection may serve another one now")

    def leave_behind(self) -> None:
        """It is over, and what it still does elsewhere counts no more."""
        self.is_over = True
        if self.exchange is not None:
            self.exchange.is_over = True

    def leave(self) -> None:
        """Let the next one have its turn; a driver's own, which sets ``has_left`` as the last thing."""
        raise NotImplementedError

    def wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def leave_at_last(self) -> None:
        """`leave`, unless that is done."""
        if not self.has_left:  # interrupted, or an error on the way there
            self.leave()

    def resends(self, sendings: int, error: OSError, now: float) -> bool:
        """Whether this exchange, which has ended with that error, is made once more."""
        if self.exchange is None or self.exchange.may_have_reply:
            return False
        if self.is_late or (self.deadline is not None and now >= self.deadline):
            return False
        return self.line.reconnection.resends(sendings, error)

    def again(self, now: float) -> Self:
        """The same block once more, within what is left of its time."""
        timeout = None if self.deadline is None else self.deadline - now
        return type(self)(self.line, timeout, wait=self.waits, counts=self.counts)

"""Whose turn it is on something that serves one user at a time: the exchanges of a `PersistentConnection`."""

import threading
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long a ticket waits before it looks again by itself, in seconds: an interrupt may have lost the call that was to
# wake it. Then the wait is longer by this, and has an end all the same.
LOOK_AGAIN = 1.0


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

    __slots__ = ("_holder", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may take a turn in the middle of all this
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
        with self._lock:
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
        with self._lock:
            self._waiting = [each for each in self._waiting if each() is not None] + [ref(ticket)]

    def dequeue(self, ticket: Ticket) -> None:
        """The ticket waits no more; where it was woken in vain, the next one is."""
        with self._lock:
            self._waiting = [each for each in self._waiting if each() not in (None, ticket)]
        if self._holder() is None:
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            with self._lock:
                first = self._first()
            if first is not None:
                first.wake()

    def _first(self) -> Ticket | None:
        return next((ticket for each in self._waiting if (ticket := each()) is not None), None)


def _nobody() -> None:
    return None

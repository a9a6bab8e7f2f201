"""What the drivers of the dial share: carry its orders out and tell it what happened. Nothing here waits.

Attempts are non-blocking sockets, lookups run in threads of their own. A driver adds how to wait for them: with a
selector, with callbacks of an event loop, with tasks.
"""

import socket
from collections import deque
from queue import SimpleQueue
from time import monotonic

from ._core.dial import Dial, Rules
from ._core.messages import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start, Tick
from ._net import aim, attempt, lookups, resolve, sockets
from ._trace import teller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ._core.messages import Candidate, Event, Lookup, Order
    from .settings import Settings

# Selectors and timers take no more than some weeks, and an infinite delay is a way to say "never".
LONGEST_WAIT = 86_400.0

_FAMILIES = {"both": 0, "AAAA": socket.AF_INET6, "A": socket.AF_INET}


class Race:
    """One dial under way.

    A driver calls `step` until that returns a socket or raises, waits in between until something has happened or
    `seconds_left` have passed, and calls `close` on every way out.

    :param limit: seconds for all of it, or None.
    :param candidates: what the host's first lookup gave, where that is known.
    :param clock: in seconds, the driver's own; ``began`` is a time of it.
    """

    def __init__(
        self,
        plan: "Settings",
        address: "tuple[Any, ...]",
        limit: float | None,
        candidates: "Sequence[Candidate]",
        *,
        clock: "Callable[[], float]",
        began: float,
    ) -> None:
        self.plan = plan
        self.address = address
        self.deadline = None if limit is None else began + limit
        self.first: socket.socket | OSError | None = None  # what became of the first candidate, if it was started
        self.events: deque[Event] = deque()
        self._clock = clock
        self._candidates = candidates
        self._is_literal = bool(candidates) and not plan.resolver and bool(resolve.literal(address))
        self._dial = Dial(_rules(plan, address, limit, self._is_literal), aim.chance)
        self._tell = teller(plan.trace)
        self._began: float | None = began  # None once the dial has begun
        self._flying: dict[int, tuple[socket.socket, Candidate, float]] = {}
        self._lookups: list[lookups.Lookup] = []
        self._answers: SimpleQueue[tuple[Lookup, resolve.Question, Any, BaseException | None]] = SimpleQueue()

    # For the driver to provide

    def watch(self, number: int, sock: socket.socket) -> None:
        """Call `finish` with the number once the socket is writable, unless `unwatch` comes first."""
        raise NotImplementedError

    def unwatch(self, number: int, sock: socket.socket) -> None:
        """The socket is about to be closed, or kept; it may not have been watched."""
        raise NotImplementedError

    def ring(self) -> None:
        """Called by a lookup's thread: it is time for another step."""
        raise NotImplementedError

    # For the driver to call

    def step(self) -> socket.socket | None:
        """Go on with what has happened, until there is a winner (it is returned) or nothing to do but wait (None).

        :raises OSError: all is over, and there is no winner.
        """
        if self._began is None:
            self._read_answers()
            if not self.events:
                self.events.append(Tick())
            winner = None
        else:
            began, self._began = self._began, None
            winner = self._follow(self._dial.begin(began))
        while winner is None and self.events:
            event = self.events.popleft()
            self._tell(event)
            winner = self._follow(self._dial.receive(event, self._clock()))
        return winner

    def seconds_left(self) -> float | None:
        """How long to wait if nothing happens; None: until something does."""
        wake_at = self._dial.wake_at
        return None if wake_at is None else min(max(wake_at - self._clock(), 0.0), LONGEST_WAIT)

    def finish(self, number: int) -> None:
        """See how an attempt has ended that is writable."""
        sock, candidate, _ = self._flying[number]
        try:
            local, peer = attempt.names(sock, candidate[4])
        except OSError as error:
            self._forget(number)
            sockets.discard(sock)
            self.events.append(Failed(number, error))
        else:
            self.events.append(Connected(number, local, peer))

    def close(self) -> None:
        """Close all that is open still, whatever ended the race."""
        for lookup in self._lookups:
            lookup.cancel()
        for number in list(self._flying):
            sock, _, _ = self._forget(number)
            sockets.discard(sock)
        if isinstance(self.first, socket.socket):
            sockets.discard(self.first)

    def _follow(self, orders: "Iterable[Order]") -> socket.socket | None:
        for order in orders:
            self._tell(order)
            if isinstance(order, Keep):
                return self._keep(order.attempt)
            if isinstance(order, GiveUp):
                for lookup in self._lookups:
                    lookup.explain(order.error)
                raise order.error.with_traceback(None)  # the notes tell more than the way through the machine
            if isinstance(order, Start):
                self._start(order)
            elif isinstance(order, Abandon):
                sock, _, _ = self._forget(order.attempt)
                (sockets.reset if order.reset else sockets.discard)(sock)
            elif isinstance(order, Resolve):
                self._resolve(order.lookup)
        return None

    # Attempts

    def _start(self, order: Start) -> None:
        began = self._clock()
        first, self.first = self.first, None
        try:
            if isinstance(first, OSError):
                raise first
            sock, is_done = (first, False) if first else attempt.start(self.plan, order.candidate)
        except OSError as error:
            self.events.append(Failed(order.attempt, error))
            return
        finally:
            del first  # an error's traceback holds this frame: a cycle
        self._flying[order.attempt] = (sock, order.candidate, began)
        if is_done:
            self.finish(order.attempt)
        else:
            self.watch(order.attempt, sock)

    def _keep(self, number: int) -> socket.socket:
        sock, candidate, began = self._forget(number)
        memory = self.plan.memory
        if memory is not None:
            memory.remember(tuple(self.address), candidate[4], self._clock() - began, monotonic())
        return sock

    def _forget(self, number: int) -> "tuple[socket.socket, Candidate, float]":
        flight = self._flying.pop(number)
        self.unwatch(number, flight[0])
        return flight

    # Lookups

    def _resolve(self, lookup: "Lookup") -> None:
        if self._candidates:
            self.events.append(Resolved(lookup, tuple(self._candidates)))
            if not self._is_literal:
                self._candidates = ()  # a later round asks again
            return
        self.look_up(lookup)

    def look_up(self, lookup: "Lookup") -> None:
        """Have the name looked up in a thread."""
        question = resolve.Question(self.address, self.plan.resolver, _FAMILIES[lookup])

        def done(found: "Any", error: BaseException | None) -> None:
            self._answers.put((lookup, question, found, error))
            self.ring()

        try:
            self._lookups.append(lookups.start(question.resolver, question.arguments, done))
        except OSError as error:  # too many lookups hang already
            self.events.append(ResolveFailed(lookup, question.noted(error)))

    def answered(self, lookup: "Lookup", read: "Callable[[], Sequence[Candidate]]") -> None:
        """Take the answer of a lookup, or its error."""
        try:
            self.events.append(Resolved(lookup, tuple(read())))
        except OSError as error:
            self.events.append(ResolveFailed(lookup, error))

    def _read_answers(self) -> None:
        while not self._answers.empty():
            lookup, question, found, error = self._answers.get()
            if isinstance(error, OSError):
                self.events.append(ResolveFailed(lookup, question.noted(error)))
            elif error is not None:
                raise error
            else:
                self.answered(lookup, lambda: question.read(found))  # noqa: B023 - called at once


def _rules(plan: "Settings", address: "tuple[Any, ...]", limit: float | None, is_literal: bool) -> Rules:
    delay, first = plan.happy_eyeballs_delay, None
    known = plan.memory.recall(tuple(address), monotonic()) if plan.memory is not None else None
    if known is not None:
        first, measured = known
        delay = None if delay is None else measured
    return Rules(
        name=resolve.named(*address[:2]),
        timeout=limit,
        delay=delay,
        resolution_delay=None if is_literal else plan.resolution_delay,
        retry=plan.retry,
        source=plan.source or plan.bind_to,
        port_is_given=plan.source.port_is_given if plan.source is not None else bool(plan.bind_to and plan.bind_to[1]),
        allow_self_connect=plan.allow_self_connect,
        all_errors=plan.all_errors,
        first=first,
    )

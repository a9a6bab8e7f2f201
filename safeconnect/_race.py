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
    from .ports import PortSet
    from .settings import Settings

    # What a dial ends with: the connected socket, or what is to be raised.
    Outcome = socket.socket | BaseException

# Selectors and timers take no more than some weeks, and an infinite delay is a way to say "never".
LONGEST_WAIT = 86_400.0

_FAMILIES = {"both": 0, "AAAA": socket.AF_INET6, "A": socket.AF_INET}


def won(outcome: "Outcome") -> socket.socket:
    """The socket of a dial that is over, or its error, raised.

    Here is where errors leave the dial; until then they are values without a traceback. An error that is raised holds
    the frames that it passes. A frame that held the error, itself or by way of a `Race`, would keep all that the
    callers have until the garbage collector comes. So call it with the outcome as an expression, not as a variable.
    """
    if not isinstance(outcome, BaseException):
        return outcome
    try:
        raise outcome
    finally:
        del outcome


class Race:
    """One dial under way.

    A driver calls `step` until that returns an outcome, waits in between until something has happened or
    `seconds_left` have passed, calls `close` on every way out, and hands the outcome to `won`.

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
        resolve.check_address(address)
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
        self._taken: PortSet | None = None  # the user's source ports, if somebody has them
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

    def step(self) -> "Outcome | None":
        """Go on with what has happened, until all is over (the outcome is returned) or there is to be waited (None)."""
        outcome: Outcome | None
        if self._began is None:
            outcome = self._read_answers()
            if not self.events:
                self.events.append(Tick())
        else:
            began, self._began = self._began, None
            outcome = self._follow(self._dial.begin(began))
        while outcome is None and self.events:
            event = self.events.popleft()
            self._tell(event)
            outcome = self._follow(self._dial.receive(event, self._clock()))
        return outcome

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
            self.events.append(Failed(number, error.with_traceback(None)))
        else:
            self.events.append(Connected(number, local, peer))

    def close(self) -> None:
        """Close all that is open still, whatever ended the race, and forget its errors."""
        for lookup in self._lookups:
            lookup.cancel()
        for number in list(self._flying):
            sock, _, _ = self._forget(number)
            sockets.discard(sock)
        if isinstance(self.first, socket.socket):
            sockets.discard(self.first)
        self.first = None
        self.events.clear()
        self._dial.forget()

    def _follow(self, orders: "Iterable[Order]") -> "Outcome | None":
        for order in orders:
            self._tell(order)
            if isinstance(order, Keep):
                return self._keep(order.attempt)
            if isinstance(order, GiveUp):
                for lookup in self._lookups:
                    lookup.explain(order.error)
                if self._taken:
                    attempt.tell_taken(self.plan, order.error, self._taken)
                return order.error  # `won` raises it, out of here, where it is held
            if isinstance(order, Start):
                self._start(order)
            elif (
                isinstance(order, Abandon) and order.attempt in self._flying
            ):  # or it has failed, which is news to come
                if order.reset:  # first of all: interrupted after this, whoever closes it resets it
                    sockets.linger_not(self._flying[order.attempt][0])
                sockets.discard(self._forget(order.attempt)[0])
            elif isinstance(order, Resolve):
                self._resolve(order.lookup)
        return None

    # Attempts

    def _start(self, order: Start) -> None:
        began = self._clock()
        first = self.first
        if isinstance(first, OSError):
            self.first = None
            self._failed(order, first)
            return
        is_done = False
        if first is None:
            try:
                self.first, is_done = attempt.start(self.plan, order.candidate)
            except OSError as error:
                self._failed(order, error.with_traceback(None))
                return
        sock: Any = self.first  # it stays there until it is in flight: `close` ends it, whatever interrupts this
        self._flying[order.attempt] = (sock, order.candidate, began)
        self.first = None
        if is_done:
            self.finish(order.attempt)
        else:
            self.watch(order.attempt, sock)

    def _failed(self, order: Start, error: OSError) -> None:
        self.events.append(Failed(order.attempt, error))
        self._taken = attempt.taken_ports(self.plan, error, order.candidate[4]) or self._taken

    def _keep(self, number: int) -> socket.socket:
        sock, candidate, began = self._forget(number)
        memory = self.plan.memory
        if memory is not None:
            memory.remember(tuple(self.address), candidate[4], self._clock() - began, monotonic())
        return sock

    def _forget(self, number: int) -> "tuple[socket.socket, Candidate, float]":
        flight = self._flying[number]
        self.unwatch(number, flight[0])
        del self._flying[number]  # last: interrupted before, `close` ends it
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
        question = resolve.Question(self.address, self.plan.resolver, self.plan.family or _FAMILIES[lookup])

        def done(found: "Any", error: BaseException | None) -> None:
            self._answers.put((lookup, question, found, error))
            self.ring()

        try:
            self._lookups.append(lookups.start(question.resolver, question.arguments, done))
        except OSError as error:  # too many lookups hang already
            self._lookup_failed(lookup, question.noted(error))

    def answered(self, lookup: "Lookup", read: "Callable[[], Sequence[Candidate]]") -> None:
        """Take the answer of a lookup, or its error."""
        try:
            self.events.append(Resolved(lookup, tuple(read())))
        except OSError as error:
            self._lookup_failed(lookup, error)

    def _lookup_failed(self, lookup: "Lookup", error: OSError) -> None:
        self.events.append(ResolveFailed(lookup, error.with_traceback(None)))

    def _read_answers(self) -> BaseException | None:
        """Take what the threads have left; an error that is no OSError is a fault of the resolver's, and the end."""
        while not self._answers.empty():
            lookup, question, found, error = self._answers.get()
            if isinstance(error, OSError):
                self._lookup_failed(lookup, question.noted(error))
            elif error is not None:
                return error
            else:
                self.answered(lookup, lambda: question.read(found))  # noqa: B023 - called at once
        return None


def _rules(plan: "Settings", address: "tuple[Any, ...]", limit: float | None, is_literal: bool) -> Rules:
    delay, first = plan.happy_eyeballs_delay, None
    known = plan.memory.recall(tuple(address), monotonic()) if plan.memory is not None else None
    if known is not None:
        first, measured = known
        delay = None if delay is None else measured
    return Rules(
        name=resolve.named(*address[:2]),
        timeout=limit,
        attempt_timeout=plan.attempt_timeout,
        delay=delay,
        resolution_delay=None if is_literal or plan.family else plan.resolution_delay,
        retry=plan.retry,
        source=plan.source or plan.bind_to,
        port_is_given=plan.source.port_is_given if plan.source is not None else bool(plan.bind_to and plan.bind_to[1]),
        allow_self_connect=plan.allow_self_connect,
        all_errors=plan.all_errors,
        first=first,
    )

"""The part that all drivers of a dial share: it carries out the machine's orders and tells it what happened.

Nothing here waits. Attempts are non-blocking sockets, lookups run in threads of their own. A driver adds the waiting:
with a selector, with callbacks of an event loop, with tasks.

An interrupt or a cancellation may come between any two steps, and whoever runs the race calls `Race.close` then. So
each socket must be in a place that `close` looks at, from the moment it is open until it is closed or handed out:

- An attempt that is being started is in `Race.first`. It is written to ``_in_flight`` before it is taken from there,
  so for a moment it is in both: `discard` closes a socket twice without harm.
- An attempt that ends is unwatched, then taken out of ``_in_flight``, then closed. Unwatching twice does no harm. The
  other way round, a selector or an event loop would watch a number that the next socket may get.
- A self-connected socket is set to be reset before anything else, so that whoever closes it resets it.
"""

from __future__ import annotations

import socket
from collections import deque
from queue import SimpleQueue
from time import monotonic

from .._sockets import kernel, lifecycle, lookups, port_window, resolve
from .._sockets.answers import Question
from ..events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start, Tick
from . import attempt
from .names import look_up, may_take_long
from .state_machine import Dial, Rules
from .telling import Teller
from .timing import SecondAttempts, times_of_syns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ..ports import PortSet
    from ..typing import Candidate, Event, Lookup, Order
    from .settings import Settings

    # The result of a dial: the connected socket, or the error to raise.
    Outcome = socket.socket | BaseException

# Selectors and timers take some weeks at most, and an infinite delay is a way to say "never".
LONGEST_WAIT = 86_400.0

_FAMILIES = {"both": 0, "AAAA": socket.AF_INET6, "A": socket.AF_INET}


def won(outcome: Outcome) -> socket.socket:
    """Return the socket of a dial that is over, or raise its error.

    Errors leave the dial here; until then they are values without a traceback. A raised error holds the frames that it
    passes. If one of these frames held the error, itself or through a `Race`, all that the callers have would stay
    alive until the garbage collector runs. So pass the outcome as an expression, not as a variable.
    """
    if not isinstance(outcome, BaseException):
        return outcome
    try:
        raise outcome
    finally:
        del outcome


class Race:
    """One dial under way.

    A driver calls `step` until it returns an outcome. In between it waits until something has happened or
    `seconds_left` have passed. It calls `close` on every way out, and passes the outcome to `won`.

    :param timeout: seconds for all of it, or None.
    :param candidates: the result of the host's first lookup, if it was made already.
    :param clock: in seconds, the driver's own; ``began`` is a time of it.
    """

    def __init__(
        self,
        settings: Settings,
        address: tuple[Any, ...],
        timeout: float | None,
        candidates: Sequence[Candidate],
        *,
        clock: Callable[[], float],
        began: float,
    ) -> None:
        resolve.check_address(address)
        self.settings = settings
        self.address = address
        self.deadline = None if timeout is None else began + timeout
        self.first: socket.socket | OSError | None = None  # the first candidate's, if it was started
        self.first_began: float | None = None  # when that was; None: now
        self.events: deque[Event] = deque()
        self._clock = clock
        self._candidates = candidates
        self._is_literal = bool(candidates) and not settings.resolver and bool(resolve.literal(address))
        self._dial = Dial(_rules(settings, address, timeout, self._is_literal), port_window.chance)
        self._tell = Teller(settings.trace, address)
        self._began: float | None = began  # None once the dial has begun
        self._in_flight: dict[int, tuple[socket.socket, Candidate, float]] = {}
        self._lookups: list[lookups.Lookup] = []
        self._taken: PortSet | None = None  # the user's own source ports, if others have them
        self._answers: SimpleQueue[tuple[Lookup, Question, Any, BaseException | None]] = SimpleQueue()

    # For the driver to provide

    def watch(self, number: int, sock: socket.socket) -> None:
        """Call `finish` with the number once the socket is writable, unless `unwatch` comes first."""
        raise NotImplementedError

    def unwatch(self, number: int, sock: socket.socket) -> None:
        """Stop watching the socket: it is about to be closed, or kept. It may not have been watched."""
        raise NotImplementedError

    def notify(self) -> None:
        """Wake the driver for another step. Called by a lookup's thread."""
        raise NotImplementedError

    # For the driver to call

    def step(self) -> Outcome | None:
        """Process what has happened. Return the outcome if the dial is over, None if it has to wait."""
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
            now, self.first_began = self.first_began, None  # the first event says what the first candidate is
            outcome = self._follow(self._dial.receive(event, self._clock() if now is None else now))
        return outcome

    def seconds_left(self) -> float | None:
        """Return how many seconds to wait if nothing happens; None: without a limit."""
        wake_at = self._dial.wake_at
        return None if wake_at is None else min(max(wake_at - self._clock(), 0.0), LONGEST_WAIT)

    def finish(self, number: int) -> None:
        """Find out how an attempt whose socket is writable has ended."""
        sock, candidate, _ = self._in_flight[number]
        try:
            local, peer = attempt.names(sock, candidate[4])
        except OSError as error:
            self._forget(number)
            lifecycle.discard(sock)
            self.events.append(Failed(number, error.with_traceback(None)))
        else:
            self.events.append(Connected(number, local, peer))

    def close(self) -> None:
        """Close what is still open, whatever ended the race, and forget its errors."""
        for lookup in self._lookups:
            lookup.cancel()
        for number in list(self._in_flight):
            sock, _, _ = self._forget(number)
            lifecycle.discard(sock)
        if isinstance(self.first, socket.socket):
            lifecycle.discard(self.first)
        self.first = None
        self.events.clear()
        self._dial.forget()
        self._tell.close()

    def _follow(self, orders: Iterable[Order]) -> Outcome | None:
        for order in orders:
            self._tell(order)
            if isinstance(order, Keep):
                return self._keep(order.attempt)
            if isinstance(order, GiveUp):
                for lookup in self._lookups:
                    lookup.explain(order.error)
                if self._taken:
                    attempt.tell_taken(self.settings, order.error, self._taken)
                return order.error  # `won` raises it: this frame holds it
            if isinstance(order, Start):
                self._start(order)
            elif isinstance(order, Abandon) and order.attempt in self._in_flight:  # or its failure is an event to come
                if order.reset:  # first, so that whoever closes it after an interrupt resets it
                    lifecycle.reset_on_close(self._in_flight[order.attempt][0])
                lifecycle.discard(self._forget(order.attempt)[0])
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
        state = attempt.UNDER_WAY
        if first is None:
            try:
                self.first, state = attempt.start(self.settings, order.candidate)
            except OSError as error:
                self._failed(order, error.with_traceback(None))
                return
        sock: Any = self.first  # it stays there until it is in flight, so that `close` finds it
        self._in_flight[order.attempt] = (sock, order.candidate, began)
        self.first = None
        if state == attempt.UNDER_WAY:
            self.watch(order.attempt, sock)
        else:
            self.finish(order.attempt)

    def _failed(self, order: Start, error: OSError) -> None:
        self.events.append(Failed(order.attempt, error))
        self._taken = attempt.taken_ports(self.settings, error, order.candidate[4]) or self._taken

    def _keep(self, number: int) -> socket.socket:
        sock, candidate, began = self._forget(number)
        memory = self.settings.memory
        if memory is not None:
            memory.remember(_in_memory(self.address), candidate[4], self._clock() - began, monotonic())
        return sock

    def _forget(self, number: int) -> tuple[socket.socket, Candidate, float]:
        attempted = self._in_flight[number]
        self.unwatch(number, attempted[0])
        del self._in_flight[number]  # last: if this is interrupted before, `close` goes on
        return attempted

    # Lookups

    def _resolve(self, lookup: Lookup) -> None:
        if self._candidates:
            self.events.append(Resolved(lookup, tuple(self._candidates)))
            if not self._is_literal:
                self._candidates = ()  # a later round asks again
            return
        if lookup == "both" and self.looks_up_here():
            self.answered(lookup, lambda: look_up(self.settings, self.address, None))
        else:
            self.look_up_in_thread(lookup)

    def looks_up_here(self) -> bool:
        """Return True if a lookup of both families need not run in a thread, for it does not take long."""
        return not may_take_long(self.settings, self.address)

    def look_up_in_thread(self, lookup: Lookup) -> None:
        """Have the name looked up in a thread, which calls `notify`."""
        question = Question(self.address, self.settings.resolver, self.settings.family or _FAMILIES[lookup])

        def done(found: Any, error: BaseException | None) -> None:
            self._answers.put((lookup, question, found, error))
            self.notify()

        try:
            self._lookups.append(lookups.start(question.resolver, question.arguments, done))
        except OSError as error:  # too many lookups hang already
            self._lookup_failed(lookup, question.noted(error))

    def answered(self, lookup: Lookup, read: Callable[[], Sequence[Candidate]]) -> None:
        """Take the answer of a lookup, or its error."""
        try:
            self.events.append(Resolved(lookup, tuple(read())))
        except OSError as error:
            self._lookup_failed(lookup, error)

    def _lookup_failed(self, lookup: Lookup, error: OSError) -> None:
        self.events.append(ResolveFailed(lookup, error.with_traceback(None)))

    def _read_answers(self) -> BaseException | None:
        """Take the answers of the threads; return an error that is no OSError, a fault of the resolver, to end with."""
        while not self._answers.empty():
            lookup, question, found, error = self._answers.get()
            if isinstance(error, OSError):
                self._lookup_failed(lookup, question.noted(error))
            elif error is not None:
                return error
            else:
                self.answered(lookup, lambda: question.read(found))  # noqa: B023 - called at once
        return None


def _rules(settings: Settings, address: tuple[Any, ...], timeout: float | None, is_literal: bool) -> Rules:
    delay, first = settings.happy_eyeballs_delay, None
    known = settings.memory.recall(_in_memory(address), monotonic()) if settings.memory is not None else None
    if known is not None:
        first, measured = known
        delay = None if delay is None else measured
    return Rules(
        name=resolve.named(*address[:2]),
        timeout=timeout,
        attempt_timeout=settings.attempt_timeout,
        delay=delay,
        resolution_delay=None if is_literal or settings.family else settings.resolution_delay,
        second=_second_attempts(settings),
        retry=settings.retry,
        source=settings.source or settings.bind_to,
        port_is_given=bool(
            settings.source.port_is_given if settings.source else settings.bind_to and settings.bind_to[1]
        ),
        allow_self_connect=settings.allow_self_connect,
        all_errors=settings.all_errors,
        first=first,
    )


def _in_memory(address: Sequence[Any]) -> tuple[Any, ...]:
    """Return what an address is remembered by: with its host as text, for ``python -bb`` compares no bytes with it."""
    host, *others = address
    return host.decode("latin-1") if isinstance(host, bytes) else host, *others


def _second_attempts(settings: Settings) -> SecondAttempts | None:
    delay = settings.second_attempt_delay
    # A given port is taken toward the target as long as the first attempt lasts, and a few are soon used up.
    has_ports = settings.source.has_ports if settings.source else settings.bind_to and settings.bind_to[1]
    if delay is None or has_ports:
        return None
    return SecondAttempts(delay, times_of_syns(kernel.linear_timeouts()))

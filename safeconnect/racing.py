"""The blocking driver of the dial: carries its orders out and tells it what happened, in the calling thread.

Attempts are non-blocking sockets under one selector. Only lookups take threads, and only where they could outlast the
deadline or where the two families are looked up apart.
"""

import selectors
import socket
import sys
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, sleep

from ._core.dial import Dial, Rules
from ._core.messages import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start, Tick
from ._net import aim, attempt, lookups, resolve, sockets
from .blocking import DEFAULT_TIMEOUT, look_up, may_take_long

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._core.messages import Candidate, Event, Lookup, Order
    from .settings import Settings

_FAMILIES = {"both": 0, "AAAA": socket.AF_INET6, "A": socket.AF_INET}


def dial(
    plan: "Settings",
    address: "tuple[Any, ...]",
    timeout: float | None,
    candidates: "Sequence[Candidate]" = (),
    *,
    began: float | None = None,
    first: socket.socket | OSError | None = None,
) -> socket.socket:
    """Connect by all the rules of the dial.

    :param candidates: what the host's first lookup gave, where that is known.
    :param began: when the call began, on the monotonic clock.
    :param first: what has become of the first candidate so far, where it was started already.
    """
    limit = socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout
    began = monotonic() if began is None else began
    race = _Race(plan, address, limit, candidates, began)
    race.first, first = first, None
    try:
        sock = race.run()
    finally:
        race.close()
    sock.settimeout(limit)
    return sock


def look_up_in_time(question: resolve.Question, limit: float) -> "list[Candidate]":
    """Look a name up in a thread, and leave it behind when the time is up.

    :raises TimeoutError: there was no answer in time.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    lookup = lookups.start(question.resolver, question.arguments, lambda *answer: answers.put(answer))
    try:
        found, error = answers.get(timeout=max(limit, 0))
    except Empty:
        late = TimeoutError("timed out")
    else:
        if isinstance(error, OSError):
            raise question.noted(error)
        if error is not None:
            raise error
        return question.read(found)
    finally:
        lookup.cancel()
    raise question.noted(late)


class _Race:
    """One dial under way."""

    def __init__(
        self,
        plan: "Settings",
        address: "tuple[Any, ...]",
        limit: float | None,
        candidates: "Sequence[Candidate]",
        began: float,
    ) -> None:
        self._plan = plan
        self._address = address
        self._candidates = candidates
        self._is_literal = bool(candidates) and not plan.resolver and bool(resolve.literal(address))
        self._began = began
        self._deadline = None if limit is None else began + limit
        self._dial = Dial(_rules(plan, address, limit, self._is_literal, began), _chance)
        self._tell = _teller(plan)
        self.first: socket.socket | OSError | None = None
        self._events: deque[Event] = deque()
        self._flying: dict[int, tuple[socket.socket, Candidate, float]] = {}
        self._selector: selectors.BaseSelector | None = None
        self._lookups: list[lookups.Lookup] = []
        self._answers: SimpleQueue[tuple[Lookup, resolve.Question, Any, BaseException | None]] = SimpleQueue()
        self._bell: tuple[socket.socket, socket.socket] | None = None  # rung by a lookup's thread

    def run(self) -> socket.socket:
        orders = self._dial.begin(self._began)
        while True:
            for order in orders:
                self._tell(order)
                if isinstance(order, Keep):
                    return self._keep(order.attempt)
                if isinstance(order, GiveUp):
                    raise order.error.with_traceback(None)  # the notes tell more than the way through the machine
                self._carry_out(order)
            event = self._next_event()
            self._tell(event)
            orders = self._dial.receive(event, monotonic())

    def close(self) -> None:
        """Close all that is open still, whatever ended the race."""
        for lookup in self._lookups:
            lookup.cancel()
        for sock, _, _ in self._flying.values():
            sockets.discard(sock)
        self._flying.clear()
        if isinstance(self.first, socket.socket):
            sockets.discard(self.first)
        for end in self._bell or ():
            end.close()
        if self._selector is not None:
            self._selector.close()

    def _carry_out(self, order: "Order") -> None:
        if isinstance(order, Start):
            self._start(order)
        elif isinstance(order, Abandon):
            sock, _, _ = self._forget(order.attempt)
            if order.reset:
                sockets.reset(sock)
            else:
                sockets.discard(sock)
        elif isinstance(order, Resolve):
            self._resolve(order.lookup)

    # Attempts

    def _start(self, order: Start) -> None:
        plan = self._plan
        began = monotonic()
        first, self.first = self.first, None
        if isinstance(first, OSError):
            self._events.append(Failed(order.attempt, first))
            return
        try:
            sock, is_done = (
                (first, False) if first else attempt.start(order.candidate, plan.source_address, plan.options)
            )
        except OSError as error:
            self._events.append(Failed(order.attempt, error))
            return
        self._flying[order.attempt] = (sock, order.candidate, began)
        if is_done:
            self._finish(order.attempt)
        else:
            self._watch(sock, selectors.EVENT_WRITE, order.attempt)

    def _finish(self, number: int) -> None:
        sock, candidate, _ = self._flying[number]
        try:
            local, peer = attempt.names(sock, candidate[4])
        except OSError as error:
            self._forget(number)
            sockets.discard(sock)
            self._events.append(Failed(number, error))
        else:
            self._events.append(Connected(number, local, peer))

    def _keep(self, number: int) -> socket.socket:
        sock, candidate, began = self._forget(number)
        memory = self._plan.memory
        if memory is not None:
            now = monotonic()
            memory.remember(tuple(self._address), candidate[4], now - began, now)
        return sock

    def _forget(self, number: int) -> "tuple[socket.socket, Candidate, float]":
        flight = self._flying.pop(number)
        if self._selector is not None:
            with suppress(KeyError):  # done at once, it was never watched
                self._selector.unregister(flight[0])
        return flight

    # Lookups

    def _resolve(self, lookup: "Lookup") -> None:
        if self._candidates:
            self._events.append(Resolved(lookup, tuple(self._candidates)))
            if not self._is_literal:
                self._candidates = ()  # a later round asks again
            return
        if lookup == "both":
            limit = None
            if self._deadline is not None and may_take_long(self._plan, self._address):
                limit = max(self._deadline - monotonic(), 0.001)
            self._answered(lookup, partial(look_up, self._plan, self._address, limit))
            return
        question = resolve.Question(self._address, self._plan.resolver, _FAMILIES[lookup])
        if self._bell is None:
            self._bell = socket.socketpair()
            for end in self._bell:
                end.settimeout(0)
            self._watch(self._bell[0], selectors.EVENT_READ, None)
        done = partial(self._ring, lookup, question)
        try:
            self._lookups.append(lookups.start(question.resolver, question.arguments, done))
        except OSError as error:  # too many lookups hang already
            self._events.append(ResolveFailed(lookup, error))

    def _answered(self, lookup: "Lookup", read: "Callable[[], Sequence[Candidate]]") -> None:
        try:
            self._events.append(Resolved(lookup, tuple(read())))
        except OSError as error:
            is_late = isinstance(error, TimeoutError) and self._deadline is not None and monotonic() >= self._deadline
            self._events.append(Tick() if is_late else ResolveFailed(lookup, error))

    def _ring(self, lookup: "Lookup", question: resolve.Question, found: "Any", error: BaseException | None) -> None:
        """Called by the lookup's thread."""
        self._answers.put((lookup, question, found, error))
        if self._bell is not None:
            with suppress(BlockingIOError):  # it rings already
                self._bell[1].send(b"!")

    def _read_answers(self) -> None:
        while not self._answers.empty():
            lookup, question, found, error = self._answers.get()
            if isinstance(error, OSError):
                self._events.append(ResolveFailed(lookup, question.noted(error)))
            elif error is not None:
                raise error
            else:
                self._answered(lookup, partial(question.read, found))

    # Waiting

    def _next_event(self) -> "Event":
        while not self._events:
            self._wait()
            self._read_answers()
            if not self._events:
                return Tick()
        return self._events.popleft()

    def _wait(self) -> None:
        wake_at = self._dial.wake_at
        seconds = None if wake_at is None else max(wake_at - monotonic(), 0)
        if self._selector is None or not self._selector.get_map():
            sleep(seconds or 0)  # a pause between two rounds
            return
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._read_bell()
            else:
                self._selector.unregister(key.fileobj)
                self._finish(key.data)

    def _read_bell(self) -> None:
        if self._bell is not None:
            self._bell[0].recv(64)

    def _watch(self, sock: socket.socket, events: int, data: int | None) -> None:
        if self._selector is None:
            self._selector = _new_selector()
        self._selector.register(sock, events, data)


def _new_selector() -> selectors.BaseSelector:
    """One that takes no descriptor of its own, where there is one."""
    return getattr(selectors, "PollSelector", selectors.SelectSelector)()


def _rules(plan: "Settings", address: "tuple[Any, ...]", limit: float | None, is_literal: bool, now: float) -> Rules:
    delay, first = plan.happy_eyeballs_delay, None
    known = plan.memory.recall(tuple(address), now) if plan.memory is not None else None
    if known is not None:
        first, measured = known
        delay = None if delay is None else measured
    return Rules(
        timeout=limit,
        delay=delay,
        resolution_delay=None if is_literal else plan.resolution_delay,
        retry=plan.retry,
        source=plan.source_address,
        port_is_given=bool(plan.source_address and plan.source_address[1]),
        allow_self_connect=plan.allow_self_connect,
        all_errors=plan.all_errors,
        first=first,
    )


def _chance() -> float:
    """A number of [0, 1), from the system's entropy."""
    return aim.draw(1 << 53) / (1 << 53)


def _teller(plan: "Settings") -> "Callable[[Event | Order], object]":
    """Who is told of every event and order: the caller's trace, the logger, both or nobody."""
    listeners: list[Callable[[Any], object]] = [plan.trace] if plan.trace else []
    logging = sys.modules.get("logging")
    if logging is not None:
        logger = logging.getLogger("safeconnect")
        if logger.isEnabledFor(logging.DEBUG):
            listeners.append(lambda message: logger.debug("%s", message))

    def tell(message: "Event | Order") -> None:
        for listener in listeners:
            listener(message)

    return tell

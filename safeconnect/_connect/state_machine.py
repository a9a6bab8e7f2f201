"""The dial: one connect, from name to socket, as a state machine.

`Dial.begin` and `Dial.receive` take events and return the orders that follow; `Dial.wake_at` says when to send a `Tick`
if nothing happens. There is no clock, no socket and no randomness in here: ``now`` is an argument, in seconds of any
clock that only goes forward, and so is ``draw``.

The rules:

- Candidates keep the resolver's order, with the families taking turns (RFC 8305), at most 64 of them.
- The next candidate starts when the attempt delay has run out, or at once when an attempt fails. Earlier attempts go
  on.
- At most 8 attempts are in flight. With a deadline, the next candidate then takes the place of the oldest attempt,
  250 ms after the last one started: so each has had 2 s. Without a deadline it waits.
- Where the deadline would run out before every candidate was tried, the delay shrinks, to 10 ms at least.
- Without a delay the candidates are tried one after the other, and what is left until the deadline is shared out among
  them: equal parts, 10 ms at least for each.
- An attempt that has lasted for ``attempt_timeout`` is abandoned. That is a failure like any other: the next candidate
  starts at once, and a round in which all candidates were silent ends, and may be followed by another.
- One deadline covers lookups, attempts and pauses. Whatever it cuts off ends in a `TimeoutError`.
- A self-connect is not a success: the socket is reset, and the candidate tried again, up to 16 times, unless its source
  port is given. Where the kernel refuses such a connect (macOS), that counts as one.
- Only after all candidates have failed is there a pause. One that would leave the next round less time than the last
  round took and a tenth of a second more is cut, if that can be done, and that round is the last. Chance takes up to a
  tenth more off a cut pause, so that clients with the same deadline do not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .._sockets.endpoint import same_endpoint
from ..errors import SelfConnectError
from ..events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start
from . import connect_error
from .order import interleaved, without_duplicates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..retry import Retry
    from ..typing import Candidate, Event, Lookup, Order, SockAddr

NEVER = float("inf")
# How many self-connects one candidate may make before it counts as failed, if the kernel chooses the source port. With
# a window there are none. Without one it is one connect in 12,000, so 16 in a row mean that there is no other port.
MAX_SELF_CONNECTS = 16
MOST_IN_FLIGHT = 8
MOST_CANDIDATES = 64
SHORTEST_DELAY = 0.010  # also the shortest share of the time
# With 8 attempts in flight the next start waits at least this long, or a delay of 0 would end attempts as they begin.
ROOM_DELAY = 0.25
LAST_ROUND = 0.1  # the time that the last round has at least
CUT_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one dial."""

    name: str = "the name"  # what is looked up, for a note
    timeout: float | None = None
    attempt_timeout: float | None = None  # as for `Connector`
    delay: float | None = 0.25
    resolution_delay: float | None = None
    retry: Retry | None = None
    source: object = None
    port_is_given: bool = False
    allow_self_connect: bool = False
    all_errors: bool = False
    first: tuple[object, ...] | None = None  # the socket address to put first


@dataclass(slots=True)
class _Attempt:
    candidate: Candidate
    began: float
    end: float  # by ``attempt_timeout``
    self_connects: int = 0


def partial_deadline(now: float, deadline: float, left: int) -> float:
    """Return when the first of ``left`` candidates must end: it gets an equal part of the time, 10 ms at least.

    Go's net.Dialer gives each 2 s at least, and what comes after is never tried where the deadline is short.
    """
    remaining = deadline - now
    share = max(remaining / left, SHORTEST_DELAY)
    return now + share if share < remaining else deadline


def end_of_pause(
    now: float, pause: float, deadline: float, took: float, draw: Callable[[], float]
) -> tuple[float | None, bool]:
    """Return when a pause ends, None if there is no time for another round; and True if it was cut.

    :param took: how long the last round took.
    """
    end = now + pause
    latest = deadline - took - LAST_ROUND
    if end > latest > now:
        return latest - (latest - now) * CUT_SPREAD * draw(), True
    return (end if end < deadline else None), False


@dataclass(slots=True)
class Dial:
    """The state machine of one connect."""

    rules: Rules
    draw: Callable[[], float]
    over: bool = field(default=False, init=False)
    _deadline: float | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _round: int = field(default=0, init=False)
    _attempts: int = field(default=0, init=False)
    _started: int = field(default=0, init=False)  # candidates of this round
    _last_family: int | None = field(default=None, init=False)
    _lookups: set[Lookup] = field(default_factory=set, init=False)
    _queue: list[Candidate] = field(default_factory=list, init=False)
    _seen: dict[tuple[int, SockAddr], None] = field(default_factory=dict, init=False)  # of this round, in order
    _in_flight: dict[int, _Attempt] = field(default_factory=dict, init=False)
    _outcomes: list[connect_error.Outcome] = field(default_factory=list, init=False)
    _earlier: int = field(default=0, init=False)  # outcomes of the rounds before
    _lookup_error: OSError | None = field(default=None, init=False)
    _next_start: float | None = field(default=None, init=False)  # when the next candidate may start; None: not yet
    _share_end: float | None = field(default=None, init=False)
    _pause: float | None = field(default=None, init=False)
    _pause_end: float | None = field(default=None, init=False)
    _round_began: float = field(default=0.0, init=False)
    _is_last_round: bool = field(default=False, init=False)

    def begin(self, now: float) -> list[Order]:
        """Return the first orders."""
        self._began = now
        if self.rules.timeout is not None:
            self._deadline = now + self.rules.timeout
        return self._open_round(now)

    def receive(self, event: Event, now: float) -> list[Order]:
        """Return the orders that follow from an event; none once the dial is over."""
        if self.over:
            return []
        orders: list[Order] = []
        if isinstance(event, (Connected, Failed)):
            if event.attempt in self._in_flight:  # otherwise it has been abandoned meanwhile
                orders += self._landed(event, now)
        elif isinstance(event, Resolved):
            self._resolved(event, now)
        elif isinstance(event, ResolveFailed):
            self._resolve_failed(event, now)
        return orders if self.over else orders + self._go_on(now)

    @property
    def wake_at(self) -> float | None:
        """When to send a `Tick` if nothing happens before; None if only an event can go on."""
        if self.over:
            return None
        times = [self._deadline, self._share_end, self._pause_end]
        if self.rules.attempt_timeout is not None:
            times += [attempt.end for attempt in self._in_flight.values()]
        if self._queue and self._has_place():
            times.append(self._next_start)
        return min((time for time in times if time is not None), default=None)

    def forget(self) -> None:
        """End, and drop all errors: a raised error holds its frames, and these hold the dial."""
        self.over = True
        self._outcomes.clear()
        self._lookup_error = None

    # What happened

    def _landed(self, event: Connected | Failed, now: float) -> list[Order]:
        if isinstance(event, Failed) and not isinstance(event.error, SelfConnectError):
            self._failed(event.attempt, event.error, now)
            return []
        attempt = self._in_flight[event.attempt]
        orders: list[Order] = []
        if isinstance(event, Connected):
            if self.rules.allow_self_connect or not same_endpoint(event.local, event.peer):
                del self._in_flight[event.attempt]
                self.over = True
                if self.rules.retry and self.rules.retry.budget:
                    self.rules.retry.budget.succeeded()
                return [*self._abandon_all(), Keep(event.attempt)]
            orders.append(Abandon(event.attempt, reset=True))
        attempt.self_connects += 1
        if attempt.self_connects < MAX_SELF_CONNECTS and not self.rules.port_is_given:
            del self._in_flight[event.attempt]
            return [*orders, self._launch(attempt.candidate, attempt.began, attempt.self_connects)]
        self._failed(event.attempt, connect_error.self_connect_error(attempt.candidate[4], attempt.self_connects), now)
        return orders

    def _failed(self, number: int, error: OSError, now: float) -> None:
        attempt = self._in_flight.pop(number)
        self._outcomes.append((attempt.candidate[4], error, now - attempt.began))
        self._next_start = now
        self._share_end = None

    def _resolved(self, event: Resolved, now: float) -> None:
        self._lookups.discard(event.lookup)
        if not event.candidates:
            return self._resolve_failed(ResolveFailed(event.lookup, OSError("getaddrinfo returns an empty list")), now)
        new = without_duplicates(event.candidates, self._seen)
        self._queue = self._in_order(new + self._queue if event.lookup == "AAAA" else self._queue + new)
        if self._in_flight:
            due = self._next_start
            # More candidates share the time now.
            self._schedule(max(attempt.began for attempt in self._in_flight.values()))
            self._next_start = min(time for time in (due, self._next_start) if time is not None)
        elif self._next_start is None and self._lookups and event.lookup == "A":
            # RFC 8305, section 3: an A answer waits a little for the AAAA answer, never the other way round.
            self._next_start = now + (self.rules.resolution_delay or 0.0)
        else:
            self._next_start = now
        return None

    def _resolve_failed(self, event: ResolveFailed, now: float) -> None:
        self._lookups.discard(event.lookup)
        self._lookup_error = event.error
        if self._queue and not self._in_flight:
            self._next_start = now

    # What to do now

    def _go_on(self, now: float) -> list[Order]:
        if self._deadline is not None and now >= self._deadline:
            return self._time_is_up(now)
        if self._pause_end is not None:
            return self._open_round(now) if now >= self._pause_end else []
        orders: list[Order] = []
        while (expired := self._expired(now)) is not None:
            number, why = expired
            self._failed(number, TimeoutError(f"timed out ({why})"), now)
            orders += [Abandon(number), *self._start_due(now)]
        orders += self._start_due(now)
        if self._in_flight or self._queue or self._lookups:
            return orders
        return orders + self._end_round(now)

    def _start_due(self, now: float) -> list[Order]:
        orders: list[Order] = []
        while self._may_start(now):
            orders += self._make_room(now)
            orders.append(self._start(now))
        return orders

    def _may_start(self, now: float) -> bool:
        due = self._next_start is not None and now >= self._next_start
        return bool(self._queue) and due and self._has_place()

    def _has_place(self) -> bool:
        if self.rules.delay is None:
            return not self._in_flight
        return len(self._in_flight) < MOST_IN_FLIGHT or self._deadline is not None

    def _make_room(self, now: float) -> list[Order]:
        if len(self._in_flight) < MOST_IN_FLIGHT:
            return []
        oldest = next(iter(self._in_flight))
        self._failed(oldest, TimeoutError("timed out (it had to make room for the next address)"), now)
        return [Abandon(oldest)]

    def _start(self, now: float) -> Start:
        candidate = self._queue.pop(0)
        self._started += 1
        self._last_family = candidate[0]
        start = self._launch(candidate, now, 0)
        self._schedule(now)
        return start

    def _schedule(self, began: float) -> None:
        """Set when the next candidate starts; or, one after the other, when the share of this one ends."""
        together = len(self._queue) + 1
        delay = self.rules.delay
        if delay is None:
            if self._deadline is not None:
                self._share_end = partial_deadline(began, self._deadline, together)
            return
        if len(self._in_flight) >= MOST_IN_FLIGHT:
            delay = max(delay, ROOM_DELAY)
        if self._queue and self._deadline is not None:
            delay = min(delay, max((self._deadline - began) / together, SHORTEST_DELAY))
        self._next_start = began + delay

    def _launch(self, candidate: Candidate, began: float, self_connects: int) -> Start:
        self._attempts += 1
        timeout = self.rules.attempt_timeout
        self._in_flight[self._attempts] = _Attempt(
            candidate, began, NEVER if timeout is None else began + timeout, self_connects
        )
        return Start(self._attempts, candidate)

    def _expired(self, now: float) -> tuple[int, str] | None:
        """Return an attempt whose time is up, and which limit ended it."""
        for number, attempt in self._in_flight.items():
            if now >= attempt.end:
                return number, "attempt_timeout"
            if self._share_end is not None and now >= self._share_end:
                return number, "its share of the time"
        return None

    def _abandon_all(self) -> list[Order]:
        return [Abandon(number) for number in self._in_flight]

    # Rounds

    def _open_round(self, now: float) -> list[Order]:
        self._round += 1
        self._round_began = now
        self._started = 0
        self._last_family = None
        self._pause_end = self._next_start = self._share_end = None
        self._lookup_error = None
        self._earlier = len(self._outcomes)
        self._queue.clear()
        self._seen.clear()
        lookups: list[Lookup] = ["both"] if self.rules.resolution_delay is None else ["AAAA", "A"]
        self._lookups.update(lookups)
        return [Resolve(lookup) for lookup in lookups]

    def _end_round(self, now: float) -> list[Order]:
        """All candidates have failed, or there were none: pause and try again, or give up."""
        latest = self._outcomes[self._earlier :]
        error = connect_error.chosen(latest) if latest else self._lookup_error
        assert error is not None, "a round ends with an error"  # noqa: S101 - tells the type checker
        retry = self.rules.retry
        if retry is not None:
            if retry.budget:
                retry.budget.failed()
            self._pause = retry.pause(
                self._round, error, self.draw, fixed_port=self.rules.port_is_given, previous=self._pause
            )
            if self._pause is not None and (retry.budget is None or retry.budget.allows()):
                self._pause_end = self._end_of_pause(now, self._pause)
            if self._pause_end is not None:
                return []
        return self._give_up(error)

    def _end_of_pause(self, now: float, pause: float) -> float | None:
        """Return when the pause ends, cut if need be; None if there is no time for another round."""
        if self._is_last_round:
            return None
        if self._deadline is None:
            return now + pause
        end, self._is_last_round = end_of_pause(now, pause, self._deadline, now - self._round_began, self.draw)
        return end

    def _time_is_up(self, now: float) -> list[Order]:
        orders = self._abandon_all()
        for number in list(self._in_flight):
            self._failed(number, TimeoutError("timed out"), now)
        error = TimeoutError("timed out")
        if self._lookups:
            error.add_note(f"while looking up {self.rules.name}")
        elif not self._attempts:  # the answer came too late, or the program had no processor to take it
            error.add_note(f"no time was left to try {self.rules.name}")
        if self.rules.retry and self.rules.retry.budget:
            self.rules.retry.budget.failed()
        return orders + self._give_up(error)

    def _give_up(self, error: OSError) -> list[Order]:
        self.over = True
        outcomes, self._outcomes = self._outcomes, []
        tried = {outcome[0] for outcome in outcomes}
        untried = [sockaddr for _, sockaddr in self._seen if sockaddr not in tried]
        return [GiveUp(connect_error.conclude(outcomes, self.rules.source, self.rules.all_errors, error, untried))]

    def _in_order(self, candidates: list[Candidate]) -> list[Candidate]:
        """Order the untried candidates: the remembered one first, then interleaved, no more than the limit."""
        first = [each for each in candidates if each[4] == self.rules.first][:1]
        others = [each for each in candidates if each not in first]
        last_family = first[0][0] if first else self._last_family
        return (first + interleaved(others, last_family))[: MOST_CANDIDATES - self._started]

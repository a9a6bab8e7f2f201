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
- Where there is a deadline, a silent address gets a second attempt beside the first one. It begins when no SYN was sent
  for a second, give or take a twentieth, and the kernel will send none before. When the SYNs of the second attempt have
  become as rare, another one takes its place. The first attempt goes on meanwhile, within its limits. Until there are
  fewer than 8 attempts, and every candidate has been started (if they are raced), a second attempt has to wait.
- If a second attempt is refused or reset, so is its address. If it fails in another way, the first one goes on alone.
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
from .timing import SHORTEST_DELAY, SecondAttempts, end_of_pause, partial_deadline, second_attempts_note

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
# With 8 attempts in flight the next start waits at least this long, or a delay of 0 would end attempts as they begin.
ROOM_DELAY = 0.25


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one dial."""

    name: str = "the name"  # what is looked up, for a note
    timeout: float | None = None
    attempt_timeout: float | None = None  # as for `Connector`
    delay: float | None = 0.25
    resolution_delay: float | None = None
    second: SecondAttempts | None = None  # when there are second attempts; None: never
    retry: Retry | None = None
    source: object = None
    port_is_given: bool = False
    allow_self_connect: bool = False
    all_errors: bool = False
    first: tuple[object, ...] | None = None  # the socket address to put first


@dataclass(slots=True)
class _Attempt:
    candidate: Candidate
    began: float  # of a second attempt: when its first one began
    end: float = NEVER  # by ``attempt_timeout``
    self_connects: int = 0
    second_due: float = NEVER  # when a second attempt begins, or takes the place of the one before
    second: int | None = None  # the number of the second attempt that is in flight
    beside: _Attempt | None = None  # of a second attempt: the first one


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
    _seconds: dict[SockAddr, int] = field(default_factory=dict, init=False)  # how many second attempts, by address
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
        times += [attempt.second_due for attempt in self._in_flight.values() if self._may_have_second(attempt)]
        if self._queue and self._has_place():
            times.append(self._next_start)
        return min((time for time in times if time is not None and time < NEVER), default=None)

    def forget(self) -> None:
        """End, and drop all errors: a raised error holds its frames, and these hold the dial."""
        self.over = True
        self._outcomes.clear()
        self._lookup_error = None

    # What happened

    def _landed(self, event: Connected | Failed, now: float) -> list[Order]:
        if isinstance(event, Failed) and not isinstance(event.error, SelfConnectError):
            return self._failed(event.attempt, event.error, now)
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
            return [*orders, self._launch(attempt)]
        error = connect_error.self_connect_error(attempt.candidate[4], attempt.self_connects)
        return orders + self._failed(event.attempt, error, now)

    def _failed(self, number: int, error: OSError, now: float) -> list[Order]:
        """End an attempt; return the orders that end the other one at its address."""
        attempt = self._in_flight.pop(number)
        first, other = attempt.beside, attempt.second
        if first is not None and self.rules.second is not None:
            first.second = None
            first.second_due = min(first.second_due, now + self.rules.second.delay)
            if not isinstance(error, ConnectionError):  # neither refused nor reset
                return []
            other = self._number_of(first)
        self._outcomes.append((attempt.candidate[4], error, now - attempt.began))
        self._next_start = now
        self._share_end = None
        if other is None:
            return []
        del self._in_flight[other]
        return [Abandon(other)]

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
            others = self._failed(number, TimeoutError(f"timed out ({why})"), now)
            orders += [Abandon(number), *others, *self._start_due(now)]
        orders += self._start_due(now) + self._start_seconds(now)
        if self._in_flight or self._queue or self._lookups:
            return orders
        return orders + self._end_round(now)

    def _start_due(self, now: float) -> list[Order]:
        orders: list[Order] = []
        while self._may_start(now):
            orders += [*self._make_room(now), self._start(now)]
        return orders

    def _may_start(self, now: float) -> bool:
        return bool(self._queue) and self._next_start is not None and now >= self._next_start and self._has_place()

    def _has_place(self) -> bool:
        if self.rules.delay is None:
            return not self._in_flight
        return len(self._in_flight) < MOST_IN_FLIGHT or self._deadline is not None

    def _make_room(self, now: float) -> list[Order]:
        if len(self._in_flight) < MOST_IN_FLIGHT:
            return []
        oldest = next(iter(self._in_flight))
        why = TimeoutError("timed out (it had to make room for the next address)")
        return [Abandon(oldest), *self._failed(oldest, why, now)]

    def _start(self, now: float) -> Start:
        candidate = self._queue.pop(0)
        self._started += 1
        self._last_family = candidate[0]
        attempt = _Attempt(candidate, now)
        if self.rules.attempt_timeout is not None:
            attempt.end = now + self.rules.attempt_timeout
        if self.rules.second is not None and self._deadline is not None:
            attempt.second_due = self.rules.second.due(now, self.draw)
        start = self._launch(attempt)
        self._schedule(now)
        return start

    def _start_seconds(self, now: float) -> list[Order]:
        """Start the second attempts that are due, each in the place of the one before at its address."""
        orders: list[Order] = []
        for attempt in list(self._in_flight.values()):
            if now < attempt.second_due or not self._may_have_second(attempt) or self.rules.second is None:
                continue
            if attempt.second is not None:
                del self._in_flight[attempt.second]
                orders.append(Abandon(attempt.second, replaced=True))
            sockaddr = attempt.candidate[4]
            self._seconds[sockaddr] = self._seconds.get(sockaddr, 0) + 1
            attempt.second_due = self.rules.second.due(now, self.draw)
            orders.append(self._launch(_Attempt(attempt.candidate, attempt.began, beside=attempt)))
        return orders

    def _may_have_second(self, attempt: _Attempt) -> bool:
        has_place = attempt.second is not None or len(self._in_flight) < MOST_IN_FLIGHT
        return has_place and (not self._queue or self.rules.delay is None)

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

    def _launch(self, attempt: _Attempt) -> Start:
        self._attempts += 1
        self._in_flight[self._attempts] = attempt
        if attempt.beside is None:
            return Start(self._attempts, attempt.candidate)
        attempt.beside.second = self._attempts
        return Start(self._attempts, attempt.candidate, self._number_of(attempt.beside))

    def _number_of(self, attempt: _Attempt) -> int:
        return next(number for number, found in self._in_flight.items() if found is attempt)

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
        for number in [number for number, attempt in self._in_flight.items() if attempt.beside is None]:
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
        told = connect_error.conclude(outcomes, self.rules.source, self.rules.all_errors, error, untried)
        if self._seconds:
            told.add_note(second_attempts_note(self._seconds))
        return [GiveUp(told)]

    def _in_order(self, candidates: list[Candidate]) -> list[Candidate]:
        """Order the untried candidates: the remembered one first, then interleaved, no more than the limit."""
        first = [each for each in candidates if each[4] == self.rules.first][:1]
        others = [each for each in candidates if each not in first]
        last_family = first[0][0] if first else self._last_family
        return (first + interleaved(others, last_family))[: MOST_CANDIDATES - self._started]

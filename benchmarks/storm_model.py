"""The model of a reconnect storm: clients that have lost their server, each of which wants it back.

No socket, no clock, no sleep. The clients' decisions are safeconnect's own: `Retry`, `Backoff`, `RetryBudget` and the
`Reconnection` of `PersistentConnection`, called as the library calls them. The world is simulated, in discrete steps:

- Time goes in steps of 10 ms, which is also the round trip. Pauses are rounded to the step.
- The server is down for 60 s. Its host is up and refuses: a client knows after one round trip. Each client notices the
  loss at a moment of its own within the first second, and those that want the connection all the time try at once.
- Then the server accepts 20,000 connections a second, from a queue of 4,096 (Linux's net.core.somaxconn). Where the
  queue is full, the SYN is dropped without an answer, as Linux does. Which SYNs of a step find a place is drawn by lot.
- A dropped SYN is silence. The client's kernel sends it again after 1.01, 2.04, 3.06 and 4.09 s (measured on Linux
  6.18; without tcp_syn_linear_timeouts after 1 and 3 s), and any of these may find a place. After 5 s the attempt times
  out. With a longer timeout, SYNs follow after 5.12, 7.14, 11.4 and 19.59 s, and those of second attempts, if any.
- A client is back when the server has accepted it, and then leaves the storm for good.

Three kinds of clients:

- One that wants its connection all the time: a failed attempt is followed by a pause, and a next attempt, without end.
- A `PersistentConnection` that is wanted all the time: each connect tries up to three times (``Retry()``), and between
  connects there is the pause that `Reconnection` gives.
- One that connects for a request, with ``Retry()`` or less. Where the connect fails, so does the request. The next one
  comes 10 s later on average (exponentially distributed), and so does the first one after the loss. It may also retry
  without a limit until its deadline, 5 s after it began, with a last attempt shortly before that or without one.

Where a connect has a deadline, as with the latter two, a silent attempt takes all of it, and no other follows.

A budget belongs to a process with 100 clients: one with a pool of connections, or with as many threads.
"""

import errno
import os
import random
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from safeconnect import Backoff, Retry, RetryBudget
from safeconnect._connect.timing import end_of_pause
from safeconnect._persistent.policy import Reconnection

STEPS = 100  # in a second
# An attempt's number, from 1; for a request with a deadline also the step of that.
Round = int | tuple[int, int]
# When a SYN is sent, in steps after the attempt began, for as long as the attempt's timeout allows.
SYNS = (0, 101, 204, 306, 409, 512, 714, 1140, 1959)
# The same with second attempts: one begins each 6 s, and its kernel sends a SYN each second.
SECONDS = frozenset(range(600, 6000, 600))
SYNS_OF_SECONDS = tuple(sorted({*SYNS, *(began + later for began in SECONDS for later in SYNS[:6])}))
SPREAD = 5  # by so many steps sooner or later a second attempt begins, by chance; so does all that follows
# After so many seconds a storm is called endless.
PATIENCE = 3600
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
SILENCE = TimeoutError("timed out")


@dataclass(frozen=True)
class Scene:
    """Who has lost what, and for how long; times in seconds."""

    clients: int = 1_000_000
    outage: float = 60
    rate: int = 20_000
    queue: int = 4096
    timeout: float = 5
    noticed: float = 1

    def scaled(self, part: int) -> "Scene":
        """The same with a part of the clients, and of the server."""
        return replace(self, clients=self.clients // part, rate=self.rate // part, queue=self.queue // part)


@dataclass(frozen=True)
class Contender:
    """One way to come back."""

    name: str
    backoff: Backoff = Backoff()  # noqa: RUF009 - immutable
    attempts: int | None = None
    requests: float | None = None  # seconds between them; None: the connection is wanted all the time
    tokens: float | None = None  # of the budget that a process has; None: it has none
    process: int = 100  # clients that share a budget
    keeps: bool = False  # as `PersistentConnection` does
    seconds: bool = False  # a silent attempt gets second attempts
    lasts: bool | None = None  # a request retries until its deadline: with a last attempt before it, or without


class Server:
    """Accepts so many a step, in turn, and has a queue of those whose turn comes later."""

    def __init__(self, rate: int, queue: int) -> None:
        if rate < STEPS or rate % STEPS:
            raise ValueError(f"rate must be a multiple of {STEPS}, not {rate}")
        self.each_step = rate // STEPS
        self.queue = queue
        self._next = 0  # turns are counted from the beginning of time, taken or not

    def room(self, step: int) -> int:
        """How many more this step may bring."""
        return self.queue + self.each_step - max(self._next - step * self.each_step, 0)

    def admit(self, step: int) -> int:
        """Take one in; in which step it is accepted."""
        turn = max(self._next, step * self.each_step)
        self._next = turn + 1
        return turn // self.each_step


class Storm:
    """All clients of one kind. They are numbers; those whose attempt n falls into one step are a list, in `due`."""

    def __init__(self, contender: Contender, scene: Scene, seed: int = 0) -> None:
        self.contender = contender
        self.scene = scene
        self.random = random.Random(f"{seed} {contender.name}")
        self.retry = Retry(attempts=contender.attempts, backoff=contender.backoff)
        self.server = Server(scene.rate, scene.queue)
        self.returns = round(scene.outage * STEPS)
        self.due: defaultdict[int, defaultdict[Round, list[int]]] = defaultdict(lambda: defaultdict(list))
        # Attempts that met silence: when their SYN is sent again, (n, repeats so far, clients); when they end.
        self.repeats: defaultdict[int, list[tuple[Round, int, list[int]]]] = defaultdict(list)
        self.ends: defaultdict[int, list[tuple[Round, list[int]]]] = defaultdict(list)
        self.back_at = array("q", [-1]) * scene.clients  # the step
        self.back = 0
        self.attempts: defaultdict[int, int] = defaultdict(int)  # by second, like the following
        self.syns: defaultdict[int, int] = defaultdict(int)
        self.accepted: defaultdict[int, int] = defaultdict(int)
        self._previous = array("d", [0.0]) * scene.clients
        self._budgets: list[RetryBudget] = []
        self._reconnections: list[Reconnection] = []
        self._failed = self._try_on
        self._syns = SYNS_OF_SECONDS if contender.seconds else SYNS
        if contender.tokens is not None:
            processes = -(-scene.clients // contender.process)
            self._budgets = [RetryBudget(contender.tokens) for _ in range(processes)]
        if contender.lasts is not None:
            self._failed = self._retry_until_the_deadline
        elif contender.requests is not None:
            self._failed = self._ask_again
        elif contender.keeps:
            self._reconnections = [Reconnection(self.retry, self.random.random) for _ in range(scene.clients)]
            self._failed = self._reconnect

    # The world

    def run(self) -> "Storm":
        """From the loss until all are back, or patience ends."""
        for client in range(self.scene.clients):
            self._loses(client, self._steps(self.random.random() * self.scene.noticed))
        for step in range(self.returns + PATIENCE * STEPS):
            for n, clients in self.ends.pop(step, ()):
                self._failed(step, n, clients, SILENCE)
            begun = [(n, 0, clients) for n, clients in self.due.pop(step, {}).items()]
            self.attempts[step // STEPS] += sum(len(clients) for _, _, clients in begun)
            self._knock(step, begun + self.repeats.pop(step, []))
            if self.back == self.scene.clients:
                break
        return self

    def _knock(self, step: int, knocking: list[tuple[Round, int, list[int]]]) -> None:
        self.syns[step // STEPS] += sum(len(clients) for _, _, clients in knocking)
        if step < self.returns:
            for n, _, clients in knocking:
                self._failed(step + 1, n, clients, REFUSED)
            return
        self._let_in(step, [clients for _, _, clients in knocking])
        for n, sent, clients in knocking:
            if not clients:
                continue
            began = step - self._syns[sent]
            timeout = self._timeout(n, began)
            following = self._syns[sent + 1] if sent + 1 < len(self._syns) else timeout
            if following >= timeout:
                self.ends[began + timeout].append((n, clients))
            elif self.contender.seconds and following in SECONDS:
                for offset, some in self._spread(clients):
                    self.repeats[began + following + offset].append((n, sent + 1, some))
            else:
                self.repeats[began + following].append((n, sent + 1, clients))

    def _spread(self, clients: list[int]) -> Iterable[tuple[int, list[int]]]:
        """By how many steps sooner or later the second attempt of each client begins."""
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for client in clients:
            groups[self.random.randint(-SPREAD, SPREAD)].append(client)
        return groups.items()

    def _timeout(self, n: Round, began: int) -> int:
        """How many steps an attempt that began then may take."""
        return round(self.scene.timeout * STEPS) if isinstance(n, int) else n[1] - began

    def _let_in(self, step: int, groups: list[list[int]]) -> None:
        """Take those who find a place out of their lists."""
        ends = list(accumulate(map(len, groups)))
        total = ends[-1] if ends else 0
        lucky = self.random.sample(range(total), min(total, self.server.room(step)))
        # From the last to the first: who takes the place of the one that leaves has been looked at.
        for number in sorted(lucky, reverse=True):
            index = bisect_right(ends, number)
            group = groups[index]
            place = number - (ends[index - 1] if index else 0)
            group[place], group[-1] = group[-1], group[place]
            self._accept(group.pop(), self.server.admit(step))

    def _accept(self, client: int, step: int) -> None:
        if self.back_at[client] >= 0:
            raise AssertionError(f"client {client} comes back twice")
        self.back_at[client] = step
        self.back += 1
        self.accepted[step // STEPS] += 1
        if self._budgets:
            self._budgets[client // self.contender.process].succeeded()

    # The clients

    def _steps(self, seconds: float) -> int:
        return int(seconds * STEPS + 0.5)

    def _loses(self, client: int, step: int) -> None:
        if self.contender.requests is not None:
            return self._next_request(client, 0)
        if self.contender.keeps:
            self._reconnections[client].failed(step / STEPS)
            step += self._steps(self._reconnections[client].seconds(step / STEPS))
        self.due[step][1].append(client)
        return None

    def _next_request(self, client: int, step: int) -> None:
        assert self.contender.requests is not None
        begins = step + self._steps(self.random.expovariate(1 / self.contender.requests))
        deadline = begins + self._steps(self.scene.timeout)
        self.due[begins][1 if self.contender.lasts is None else (1, deadline)].append(client)

    def _may_try_on(self, n: int, error: Exception) -> bool:
        """What `Retry.pause` says of all clients alike: whether there is a next attempt.

        If so, it asks its backoff how long each is to pause. So do we, without asking the rest a million times over.
        """
        return self.retry.pause(n, error, self.random.random) is not None

    def _pause(self, step: int, n: int, clients: list[int]) -> None:
        """The pause of each client that goes on after its attempt n."""
        delay, draw, due, now, following = self.retry.backoff.delay, self.random.random, self.due, step + 0.5, n + 1
        for client in clients:
            due[int(delay(n, draw) * STEPS + now)][following].append(client)

    def _try_on(self, step: int, n: int, clients: list[int], error: Exception) -> None:
        """Attempt n has failed: the next one after a pause, without end."""
        assert self._may_try_on(n, error)
        if self.contender.backoff.jitter == "none":  # all pause alike
            together = self.due[step + self._steps(self.retry.backoff.delay(n, self.random.random))]
            together[n + 1] = together[n + 1] + clients if n + 1 in together else clients
        elif self.contender.backoff.jitter == "decorrelated":
            delay, draw, due, previous = self.retry.backoff.delay, self.random.random, self.due, self._previous
            for client in clients:
                previous[client] = pause = delay(n, draw, previous[client])
                due[step + int(pause * STEPS + 0.5)][n + 1].append(client)
        else:
            self._pause(step, n, clients)

    def _ask_again(self, step: int, n: int, clients: list[int], error: Exception) -> None:
        """Round n of a request has failed. The budget is told, then asked, as the dial does."""
        # Silence has used the request's deadline up.
        may_try_on = error is not SILENCE and self._may_try_on(n, error)
        if may_try_on and not self._budgets:
            self._pause(step, n, clients)
            return
        trying = []
        for client in clients:
            budget = self._budgets[client // self.contender.process] if self._budgets else None
            if budget is not None:
                budget.failed()
            if may_try_on and (budget is None or budget.allows()):
                trying.append(client)
            else:
                self._next_request(client, step)
        self._pause(step, n, trying)

    def _retry_until_the_deadline(self, step: int, n: Round, clients: list[int], error: Exception) -> None:
        """Round n of a request has failed, the last one if its number is 0."""
        assert not isinstance(n, int)
        number, deadline = n
        for client in clients:
            end: float | None = None
            if error is not SILENCE and number:
                pause = self.retry.backoff.delay(number, self.random.random)
                end, is_last = step / STEPS + pause, False
                if self.contender.lasts:
                    took = 1 / STEPS  # a round trip
                    end, is_last = end_of_pause(step / STEPS, pause, deadline / STEPS, took, self.random.random)
            if end is not None and self._steps(end) < deadline:
                self.due[self._steps(end)][0 if is_last else number + 1, deadline].append(client)
            else:
                self._next_request(client, step)

    def _reconnect(self, step: int, n: int, clients: list[int], error: Exception) -> None:
        """Round n of a connect has failed; when it was the last, `Reconnection` says when the next connect is due."""
        if error is not SILENCE and self._may_try_on(n, error):
            self._pause(step, n, clients)
            return
        for client in clients:
            reconnection = self._reconnections[client]
            reconnection.failed(step / STEPS)
            self.due[step + self._steps(reconnection.seconds(step / STEPS))][1].append(client)

    # Figures

    def figures(self) -> dict[str, Any]:
        """What it was like. Times are seconds from the server's return; None: not within an hour."""
        attempts = sum(self.attempts.values())
        returns = self.returns // STEPS
        steps = sorted(step for step in self.back_at if step >= 0)
        return {
            "clients": self.scene.clients,
            "back": self.back,
            "attempts": attempts,
            "failed": attempts - self.back,
            "failed_per_client": round((attempts - self.back) / self.scene.clients, 2),
            "syns": sum(self.syns.values()),
            "peak_attempts_per_s": max(self.attempts.values()),
            "last_attempts_per_s": self.attempts.get(returns - 1, 0),  # before the server is back
            "peak_syns_per_s": max(count for second, count in self.syns.items() if second >= returns),
            "most_accepted_per_s": max(self.accepted.values(), default=0),
            "back_50_s": self._back(steps, 0.5),
            "back_99_s": self._back(steps, 0.99),
            "back_all_s": self._back(steps, 1.0),
        }

    def _back(self, steps: Sequence[int], part: float) -> float | None:
        count = -(-self.scene.clients * round(part * 100) // 100)
        return (steps[count - 1] + 1 - self.returns) / STEPS if len(steps) >= count else None

    def series(self) -> dict[str, list[int]]:
        """By second, from the loss on."""
        seconds = range(max(*self.syns, *self.accepted) + 1)
        every = {"attempts_per_s": self.attempts, "syns_per_s": self.syns, "accepted_per_s": self.accepted}
        return {name: [counted[second] for second in seconds] for name, counted in every.items()}

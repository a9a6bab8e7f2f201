"""Ten thousand workers of Celery or Dask lose the server that they share, by the settings of docs/examples or without.

``python benchmarks/fleet.py`` prints the two tables of docs/fleets.md within seconds. The world is that of
storm_model.py, with a smaller server. The budgets, pauses and deadlines are those of the connectors in docs/examples.
One worker is one process with one connection. There are two kinds:

- Celery with redis wants its connection all the time. When a connect has failed, it pauses for 2 s, then 4, 6 and so on
  to 30 s, always the same (kombu's ``retry_over_time``). It sets no timeout: a silent connect of the standard library
  ends when the kernel gives up.
- A task of Dask connects. When that has failed, Dask runs the task again at once, ``retries`` times, then the task is
  lost. The next one of the same worker comes 10 s later on average, and so does the first one after the loss.
"""

import copy
import sys
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from storm_model import STEPS, SYNS, Contender, Round, Scene, Storm

sys.path.insert(0, str(Path(__file__).parents[1] / "docs/examples"))

import fleet_settings

from safeconnect import Connector, RetryBudget
from safeconnect._connect.timing import end_of_pause

# A redis-server whose queue has its default length. All notice at once that it was killed: their connections end.
SCENE = Scene(clients=10_000, outage=60, rate=1000, queue=511, noticed=0.1)
# Seconds: kombu's pauses between connects.
FIRST, LONGEST = 2, 30
# How often Dask runs a task again, and the seconds between the tasks of one worker, on average.
RETRIES, TASKS = 3, 10
# What the kernel's repeats go on to without a timeout: each pause is twice the one before, until tcp_syn_retries = 6.
KERNEL_SYNS, KERNEL_TIMEOUT = (*SYNS, 3597, 6874), 13427
ROUND_TRIP = 1 / STEPS


class Fleet(Storm):
    """Workers that connect by a connector, or without one by the standard library's plain connect."""

    def __init__(self, scene: Scene, connector: Connector | None, *, has_tasks: bool, seed: int = 0) -> None:
        super().__init__(Contender("tasks" if has_tasks else "workers", process=1), scene, seed)
        self.connector = connector
        self.again = self._run_again if has_tasks else self._pause_as_kombu
        self.first = self._next_task if has_tasks else self._connect
        self.lost = 0
        self._dials = array("L", [0]) * scene.clients  # that have failed since the loss, or of this task
        self._failed = self._fail
        self._syns = KERNEL_SYNS
        self.budget: RetryBudget | None = None
        if connector is not None:
            self.retry = connector.retry
            self.budget = self.retry.budget
            # A copy of a budget is another one with the same settings.
            self._budgets = [copy.copy(self.budget) for _ in range(scene.clients)] if self.budget else []

    def _loses(self, client: int, step: int) -> None:
        self.first(client, step)

    def _connect(self, client: int, step: int) -> None:
        """Begin a connect, whose deadline is part of its key."""
        seconds = KERNEL_TIMEOUT / STEPS if self.connector is None else self.connector.timeout
        self.due[step][1, step + self._steps(seconds)].append(client)

    def _timeout(self, n: Round, began: int) -> int:
        left = super()._timeout(n, began)
        return left if self.connector is None else min(left, self._steps(self.connector.attempt_timeout))

    def _fail(self, step: int, n: Round, clients: list[int], error: Exception) -> None:
        """A round of these clients has failed; it was the last before the deadline if its number is 0."""
        assert not isinstance(n, int)
        number, deadline = n
        for client in clients:
            budget = self._budgets[client] if self._budgets else None
            if budget is not None:
                budget.failed()
            if self.connector is None or not number or (budget is not None and not budget.allows()):
                self.again(client, step)
                continue
            pause = self.retry.pause(number, error, self.random.random)
            assert pause is not None
            now = step / STEPS
            end, is_last = end_of_pause(now, pause, deadline / STEPS, ROUND_TRIP, self.random.random)
            if end is None or self._steps(end) >= deadline:
                self.again(client, step)
            else:
                self.due[self._steps(end)][0 if is_last else number + 1, deadline].append(client)

    def _pause_as_kombu(self, client: int, step: int) -> None:
        self._dials[client] += 1
        self._connect(client, step + self._steps(min(FIRST * self._dials[client], LONGEST)))

    def _run_again(self, client: int, step: int) -> None:
        self._dials[client] += 1
        if self._dials[client] <= RETRIES:
            self._connect(client, step)
        else:
            self.lost += 1
            self._next_task(client, step)

    def _next_task(self, client: int, step: int) -> None:
        self._dials[client] = 0
        self._connect(client, step + self._steps(self.random.expovariate(1 / TASKS)))

    def figures(self) -> dict[str, Any]:
        return super().figures() | {"lost": self.lost}


def with_budget(connector: Connector, budget: RetryBudget | None) -> Connector:
    """The same settings, but for the budget."""
    return connector.replace(retry=replace(connector.retry, budget=budget))


def rows_of(make: Callable[[], Connector], *budgets: RetryBudget | None) -> list[tuple[str, Connector | None]]:
    """The ways to connect: as it is without safeconnect, with other budgets, and with the settings of the example."""
    names = {budget: "retry, no budget" if budget is None else "retry, `RetryBudget()`" for budget in budgets}
    others = [(name, with_budget(make(), budget)) for budget, name in names.items()]
    return [("plain connects", None), *others, (f"**`{make.__name__}()`**", make())]


def loads(storm: Fleet, figures: dict[str, Any]) -> list[str]:
    """What the host sees while the server is down, and when it is back."""
    down = max(count for second, count in storm.attempts.items() if second < SCENE.outage)
    return [f"{down:,}", f"{figures['peak_syns_per_s']:,}", f"{figures['failed_per_client']:.1f}"]


LOADS = ["most attempts in a second, down", "most SYNs in a second, back", "failed attempts per worker"]


def celery_table() -> str:
    """Workers that keep their connection, by how long it takes until all have noticed."""
    times = (0.1, 1, 10)
    lines = [["10,000 Celery workers", *LOADS, *(f"99 % back, noticed within {each:g} s" for each in times)]]
    for name, connector in rows_of(fleet_settings.for_celery, None):
        storms = [Fleet(replace(SCENE, noticed=each), connector, has_tasks=False).run() for each in times]
        figures = [storm.figures() for storm in storms]
        lines.append([name, *loads(storms[0], figures[0]), *(f"{each['back_99_s']:.0f} s" for each in figures)])
    return markdown(lines)


def dask_table() -> str:
    """Tasks that connect, and how many of them are lost."""
    lines = [["10,000 Dask workers", *LOADS, "99 % back", "tasks lost"]]
    for name, connector in rows_of(fleet_settings.for_dask, None, RetryBudget()):
        storm = Fleet(SCENE, connector, has_tasks=True).run()
        figures = storm.figures()
        lines.append([name, *loads(storm, figures), f"{figures['back_99_s']:.0f} s", f"{storm.lost:,}"])
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """A table whose first line has the titles."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace(" --- ", "---")


def main() -> None:
    """Print both."""
    print(celery_table())
    print(dask_table())


if __name__ == "__main__":
    main()

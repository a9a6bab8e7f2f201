"""The settings of the two examples, and of the simulation of a fleet in ``benchmarks/fleet.py``.

Each is a function, for each process calls it: what it returns, budget included, belongs to that process alone.
"""

from __future__ import annotations

from safeconnect import Backoff, Connector, Retry, RetryBudget

# Half a second is enough to spread a fleet; ten seconds at most keep a worker no longer away than that.
BACKOFF = Backoff(initial=0.5, maximum=10, jitter="full")


def for_celery() -> Connector:
    """Return a connector for a worker that keeps its connection. Celery itself goes on when a connect has failed."""
    # A success fills the budget: there is one for each outage, for a worker connects when it has lost its connection.
    budget = RetryBudget(tokens=10, ratio=10)
    return Connector(timeout=10, attempt_timeout=5, retry=Retry(attempts=None, backoff=BACKOFF, budget=budget))


def for_dask() -> Connector:
    """Return a connector for tasks, each of which connects. Dask runs a failed task again at once."""
    # Enough for an outage of two minutes. In a longer one the budget ends the retries.
    budget = RetryBudget(tokens=100, ratio=10)
    return Connector(timeout=120, attempt_timeout=5, retry=Retry(attempts=None, backoff=BACKOFF, budget=budget))

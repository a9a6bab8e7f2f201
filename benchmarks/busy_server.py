"""How long after a busy server has room again its clients get in.

A server whose accept queue is full drops SYNs, and the kernel of a client that waits sends its SYN again after pauses
that grow. The queue gets room after a while, and what counts is the time from then on until the client is connected:
for a connect that waits, and for those that begin anew. All wait at the same time, each for a server of its own.
Linux only, and nothing leaves the host.
"""

import socket
import statistics
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from time import monotonic
from typing import Any

from measure import arguments, report, show, target

import safeconnect
from safeconnect import Backoff, Retry, testing

MOMENTS = (0.5, 2.5, 5.2, 7.5, 11.5, 20.0)  # when the queue has room, seconds after the client began
TIMEOUT = 60.0
ATTEMPT = 1.0
MAXIMUM = 1.0
ANEW = f"attempt_timeout={ATTEMPT:g}, retry"
OURS, WITHOUT = "safeconnect", "safeconnect, second_attempt_delay=None"
# What is wanted, in seconds: no second without a SYN, and something for the machine.
SOON = 1.1
# And with a retry: an attempt that was under way, the longest pause, and something for the machine.
LIMIT = ATTEMPT + MAXIMUM + 0.1

Address = tuple[str, int]


def anew(address: Address) -> socket.socket:
    """As docs/servers.md recommends."""
    retry = Retry(attempts=None, backoff=Backoff(maximum=MAXIMUM))
    return safeconnect.create_connection(address, TIMEOUT, attempt_timeout=ATTEMPT, retry=retry)


def loop(address: Address) -> socket.socket:
    """What people write."""
    deadline = monotonic() + TIMEOUT
    while True:
        try:
            return socket.create_connection(address, ATTEMPT)
        except TimeoutError:
            if monotonic() > deadline:
                raise


CLIENTS: dict[str, Callable[[Address], socket.socket]] = {
    "stdlib": lambda address: socket.create_connection(address, TIMEOUT),
    "stdlib in a loop, 1 s each": loop,
    OURS: lambda address: safeconnect.create_connection(address, TIMEOUT),
    WITHOUT: lambda address: safeconnect.create_connection(address, TIMEOUT, second_attempt_delay=None),
    ANEW: anew,
}


def late(client: Callable[[Address], socket.socket], moment: float) -> float:
    """How many seconds after the queue had room the client was connected."""
    with testing.blackhole() as busy:
        timer = threading.Timer(moment, busy.heal)
        began = monotonic()
        timer.start()
        try:
            with client(busy.address):
                return monotonic() - began - moment
        finally:
            timer.cancel()
            timer.join()


def measure_all(rounds: int) -> dict[str, dict[str, Any]]:
    """The figures by client and moment."""
    cases = list(product(CLIENTS, MOMENTS))
    taken: dict[tuple[str, float], list[float]] = {case: [] for case in cases}
    with ThreadPoolExecutor(len(cases)) as pool:
        for _ in range(rounds):
            waiting = {case: pool.submit(late, CLIENTS[case[0]], case[1]) for case in cases}
            for case, seconds in waiting.items():
                taken[case].append(seconds.result())
    return {
        name: {
            f"{moment:g}": {
                "median_s": round(statistics.median(taken[name, moment]), 3),
                "slowest_s": round(max(taken[name, moment]), 3),
            }
            for moment in MOMENTS
        }
        for name in CLIENTS
    }


def aims(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, object]]:
    """The targets, and whether they were met."""
    met = []
    for name, limit in ((OURS, SOON), (ANEW, LIMIT)):
        slowest = max(figure["slowest_s"] for figure in results[name].values())
        met.append(target(f"{name}: in within {limit:g} s at any moment (is {slowest:.2f})", met=slowest <= limit))
    return met


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=5, quick=None).parse_args()
    results = measure_all(options.rounds)
    headers = ("client", *(f"{moment:g} s" for moment in MOMENTS))
    rows = [(name, *(f"{figure['median_s']:.2f}" for figure in figures.values())) for name, figures in results.items()]
    show("seconds until connected, from when the queue had room; by when that was", headers, rows)
    report("busy_server", options, results, aims(results), ("safeconnect",))


if __name__ == "__main__":
    main()

"""What a PersistentConnection costs and saves: the time of one exchange, and the replies that get crossed.

The cost: a block without a request, in each driver; and a request with its reply, beside a bare socket, http.client,
urllib3's pool and redis-py (`exchange_peers.py`). The saving: exchanges whose replies come up to twice the timeout
late, beside a naive client, which uses its socket again after a timeout. The server is a process of its own.
"""

import argparse
import asyncio
import random
import socket
import statistics
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

import exchange_peers
import trio
from measure import PACKAGES, arguments, report, show, spread, target

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Backoff, PersistentConnection, Retry

NUMBER = struct.Struct("!Q")
QUESTION = struct.Struct("!QI")  # number, how many microseconds late the reply comes
TIMEOUT = 0.008
CONNECTIONS = 10
AT_ONCE = Retry(backoff=Backoff(initial=0))
# Microseconds that a request and its reply may take beyond those on a socket.
LIMITS = {"blocking": 10.0, "asyncio": 25.0}
OURS = "PersistentConnection"


def serve(ready: Any) -> None:
    """Answer each question as late as it asks, each connection in a thread, until this process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready.send(listener.getsockname())
    while True:
        threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()


def answer(sock: socket.socket) -> None:
    """Answer the questions of one connection."""
    late = threading.Event()
    with sock, suppress(OSError):  # a client that gave up has reset it
        while len(data := sock.recv(QUESTION.size)) == QUESTION.size:
            number, microseconds = QUESTION.unpack(data)
            if microseconds:
                late.wait(microseconds / 1e6)
            sock.sendall(NUMBER.pack(number))


def blocking(address: Any, rounds: int) -> list[float]:
    """Seconds that exchanges without a request take, with threads."""
    times = []
    with PersistentConnection(address) as connection:
        for _ in range(rounds):
            began = perf_counter()
            with connection.exchange(5) as exchange:
                assert exchange.socket
            times.append(perf_counter() - began)
    return times


async def awaited(kind: Any, address: Any, rounds: int) -> list[float]:
    """The same with tasks."""
    times = []
    async with kind(address) as connection:
        for _ in range(rounds):
            began = perf_counter()
            async with connection.exchange(5) as exchange:
                assert exchange.socket
            times.append(perf_counter() - began)
    return times


def cost(address: Any, rounds: int) -> dict[str, float]:
    """Microseconds that an exchange adds to the request and its reply, the median."""
    on_asyncio = asyncio.run(awaited(safeconnect.asyncio.PersistentConnection, address, rounds))
    on_trio = trio.run(awaited, safeconnect.trio.PersistentConnection, address, rounds)
    times = {"threads": blocking(address, rounds), "asyncio": on_asyncio, "trio": on_trio}
    return {driver: round(statistics.median(taken) * 1e6, 1) for driver, taken in times.items()}


class Tally:
    """What has become of the exchanges of one client."""

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.random = random.Random(seed)

    def question(self, number: int) -> bytes:
        """A question whose reply comes up to twice the timeout late."""
        return QUESTION.pack(number, self.random.randrange(round(2e6 * TIMEOUT)))

    def answered(self, number: int, reply: bytes) -> None:
        """Take note of a reply."""
        self.counts["right" if NUMBER.unpack(reply)[0] == number else "crossed"] += 1


def naive(address: Any, each: int, tally: Tally) -> None:
    """The client that uses its socket again after a timeout."""
    with socket.create_connection(address, TIMEOUT) as sock:
        for number in range(each):
            try:
                sock.sendall(tally.question(number))
                tally.answered(number, sock.recv(8))
            except TimeoutError:
                tally.counts["late"] += 1


def persistent(address: Any, each: int, tally: Tally) -> None:
    """Ours, with threads."""
    with PersistentConnection(address, retry=AT_ONCE) as connection:
        for _ in range(each):
            try:
                with connection.exchange(TIMEOUT) as exchange:
                    exchange.sendall(tally.question(exchange.id))
                    tally.answered(exchange.id, exchange.recv(8))
            except TimeoutError:
                tally.counts["late"] += 1


async def persistent_async(kind: Any, address: Any, each: int, tally: Tally) -> None:
    """Ours, with tasks."""
    async with kind(address, retry=AT_ONCE) as connection:
        for _ in range(each):
            try:
                async with connection.exchange(TIMEOUT) as exchange:
                    await exchange.sendall(tally.question(exchange.id))
                    tally.answered(exchange.id, await exchange.recv(8))
            except TimeoutError:
                tally.counts["late"] += 1


def in_threads(work: Callable[..., None], address: Any, each: int, tallies: list[Tally]) -> None:
    """Let each client work in a thread."""
    threads = [threading.Thread(target=work, args=[address, each, tally]) for tally in tallies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def on_loop(address: Any, each: int, tallies: list[Tally]) -> None:
    """Let each client work in a task of asyncio's."""
    work = partial(persistent_async, safeconnect.asyncio.PersistentConnection, address, each)

    async def main() -> None:
        await asyncio.gather(*map(work, tallies))

    asyncio.run(main())


def in_trio(address: Any, each: int, tallies: list[Tally]) -> None:
    """Let each client work in a task of trio's."""
    work = partial(persistent_async, safeconnect.trio.PersistentConnection, address, each)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for tally in tallies:
                nursery.start_soon(work, tally)

    trio.run(main)


CLIENTS: dict[str, Callable[[Any, int, list[Tally]], None]] = {
    "a socket used again": partial(in_threads, naive),
    "PersistentConnection": partial(in_threads, persistent),
    "asyncio.PersistentConnection": on_loop,
    "trio.PersistentConnection": in_trio,
}


def crossing(address: Any, exchanges: int) -> dict[str, Counter[str]]:
    """How many replies each client took for another request's."""
    found = {}
    for name, client in CLIENTS.items():
        tallies = [Tally(seed) for seed in range(CONNECTIONS)]
        client(address, exchanges // CONNECTIONS, tallies)
        found[name] = sum((tally.counts for tally in tallies), Counter())
    return found


def show_peers(requests: dict[str, exchange_peers.Added]) -> None:
    """Print what a request adds to that on a socket."""
    rows = [
        (driver, name, each["added_us"], each["median_us"], f"{each['ratio']:.2f}", spread(each))
        for driver, contenders in requests.items()
        for name, each in contenders.items()
    ]
    headers = ("driver", "contender", "adds us", "median us", "x a socket", "spread")
    show("a request and its reply, beside the same on a socket", headers, rows)


def check(requests: dict[str, exchange_peers.Added]) -> Iterator[dict[str, object]]:
    """The targets for what an exchange adds: so many microseconds, and less than the peers."""
    for driver, contenders in requests.items():
        ours = contenders[OURS]["added_us"]
        if driver in LIMITS:
            text = f"{driver}: an exchange adds at most {LIMITS[driver]:g} us to a socket's (is {ours})"
            yield target(text, met=ours <= LIMITS[driver])
        for name, each in contenders.items():
            if name != OURS:
                text = f"{driver}: an exchange adds less than {name} ({ours} and {each['added_us']} us)"
                yield target(text, met=ours < each["added_us"])


def options() -> argparse.Namespace:
    """The options of this benchmark."""
    parser = arguments(__doc__, rounds=5000)
    parser.add_argument("--exchanges", type=int, default=10_000, help="for the crossed replies (default 10000)")
    given = parser.parse_args()
    if given.quick:
        given.exchanges = 400
    return given


def main() -> None:
    """Measure both."""
    chosen = options()
    requests = exchange_peers.measure(chosen.rounds)
    show_peers(requests)
    with exchange_peers.running(serve) as address:
        added = cost(address, chosen.rounds)
        show("what a block without a request takes", ("driver", "median us"), list(added.items()))
        found = crossing(address, chosen.exchanges)
    kinds = ("right", "late", "crossed")
    show("replies", ("client", *kinds), [(name, *(counts[kind] for kind in kinds)) for name, counts in found.items()])
    targets = [*check(requests)]
    targets += [target(f"{name}: no reply crossed", met=not found[name]["crossed"]) for name in list(CLIENTS)[1:]]
    results = {"added_us": added, "requests": requests, "crossing": found}
    report("exchanges", chosen, results, targets, (*PACKAGES, "redis", "trio"))


if __name__ == "__main__":
    main()

"""What a PersistentConnection costs and saves: the time of one exchange, and the replies that get crossed.

The cost: a block without a request, in each driver. The saving: exchanges whose replies come up to twice the timeout
late, beside a naive client, which uses its socket again after a timeout. The server is a process of its own.
"""

import argparse
import asyncio
import multiprocessing
import random
import socket
import statistics
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import perf_counter
from typing import Any

import trio
from measure import arguments, report, show, target

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Backoff, PersistentConnection, Retry

NUMBER = struct.Struct("!Q")
QUESTION = struct.Struct("!QI")  # number, how many microseconds late the reply comes
TIMEOUT = 0.008
CONNECTIONS = 10
AT_ONCE = Retry(backoff=Backoff(initial=0))


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


@contextmanager
def server() -> Iterator[Any]:
    """The address of the server."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=[theirs], daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


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


def options() -> argparse.Namespace:
    """The options of this benchmark."""
    parser = arguments(__doc__, rounds=5000)
    parser.add_argument("--exchanges", type=int, default=10_000, help="for the crossed replies (default 10000)")
    return parser.parse_args()


def main() -> None:
    """Measure both."""
    chosen = options()
    with server() as address:
        added = cost(address, chosen.rounds)
        show("what an exchange adds", ("driver", "median us"), list(added.items()))
        found = crossing(address, chosen.exchanges)
    kinds = ("right", "late", "crossed")
    show("replies", ("client", *kinds), [(name, *(counts[kind] for kind in kinds)) for name, counts in found.items()])
    targets = [target(f"{name}: no reply crossed", met=not found[name]["crossed"]) for name in list(CLIENTS)[1:]]
    report("exchanges", chosen, {"added_us": added, "crossing": found}, targets, ("safeconnect", "trio"))


if __name__ == "__main__":
    main()

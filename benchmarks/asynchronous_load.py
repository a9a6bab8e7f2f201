"""Awaited connects under load: 1,000 at once, few source ports left, and what a busy task leaves to another one.

The contenders are those of `asynchronous.py`, toward 127.0.0.1. The 1,000 are timed from the first to the last; the
listener's queue holds them all, so no server competes for the processor. The source ports are taken by plain connects
of child processes, as in `pressure.py`; Linux 6.3 or later.
"""

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any, NamedTuple

import anyio
import trio
from asynchronous import (
    COMPARISONS,
    HEADERS,
    PEERS,
    Call,
    Comparison,
    check,
    compare,
    drop,
    interleave,
    loops,
    measure_one,
    peers,
    run,
    turn,
)
from measure import PACKAGES, Server, arguments, raise_descriptor_limit, report, row, show, target
from pressure import HOST, Holders, order_of_ports, server_outside_the_range

from safeconnect._sockets import kernel

QUEUE = Path("/proc/sys/net/core/somaxconn")
LEVELS = (60, 80, 95)  # percent of the source ports in use
PRESSURE_LIMIT = 0.12  # the largest part of each peer's time that is wanted there
UNDER_PRESSURE = (("asyncio", "sockets"), ("asyncio", "streams"), ("trio", "streams"))
WANTED = (("asyncio", "sockets"), ("trio", "streams"))  # those for which it is
BUSY = 400  # connects of a busy task, one right after the other
# How many of ours there may be between two turns of another task. On trio each has its turn, but the order of the two
# is drawn by lot: now it is the first, then the last.
BETWEEN = {"asyncio": 8, "uvloop": 8, "trio": 2}

Figures = dict[str, dict[str, float]]


# 1,000 at once


async def all_at_once(loop: str, connect: Call[Any], count: int) -> list[Any]:
    """So many connects, each in a task of its own."""
    if loop != "trio":
        return list(await asyncio.gather(*(connect() for _ in range(count))))
    connections = []

    async def one() -> None:
        connections.append(await connect())

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return connections


def measure_crowd(loop: str, comparison: Comparison, count: int, rounds: int) -> Figures:
    """The figures for all of them together."""
    with Server(HOST) as server:
        server.socket.listen(count)

        async def main() -> dict[str, list[float]]:
            connects = comparison.connects(server)
            calls = {name: partial(all_at_once, loop, connect, count) for name, connect in connects.items()}
            return await interleave(calls, partial(drop, server, turn(loop)), rounds, warm_up=1)

        return compare(run(loop, main))


def crowds(count: int, rounds: int) -> Iterator[dict[str, Any]]:
    """All comparisons; there is no target."""
    headers = ("contender", "median ms", "p90 ms", "mean ms", "us each", "ours x it")
    for loop in loops():
        for kind, comparison in COMPARISONS[loop].items():
            taken = measure_crowd(loop, comparison, count, rounds)
            rows = []
            for name, figure in taken.items():
                figure["each_us"] = round(figure["median_us"] / count, 2)
                times = (figure[key] / 1e3 for key in ("median_us", "p90_us", "mean_us"))
                rows.append((name, *times, figure["each_us"], f"{figure['ratio']:.3f}"))
            show(f"{loop}, {kind}: {count} at once", headers, rows)
            yield {"loop": loop, "kind": kind, "count": count, "contenders": taken}


# Few source ports left


def pressures(rounds: int, levels: Sequence[int] = LEVELS) -> Iterator[dict[str, Any]]:
    """The comparisons at each level, lowest first, in processor time.

    What the kernel walks is told in full by that, and nothing waits. Told by the clock on the wall, a peer that takes
    a millisecond is interrupted by other programs more often than one that takes a tenth: it would flatter us.
    """
    ports = order_of_ports("plain")
    with ExitStack() as stack:
        server = stack.enter_context(server_outside_the_range())
        holders = Holders(server, stack, len(ports) * levels[-1] // 100)
        for level in levels:
            holders.add(ports[holders.held : len(ports) * level // 100])
            for loop, kind in UNDER_PRESSURE:
                taken = measure_one(loop, COMPARISONS[loop][kind], server, rounds, clock=thread_time)
                show(f"{loop}, {kind}: {level} % in use", HEADERS, [row(*each) for each in taken.items()])
                yield {"loop": loop, "kind": kind, "percent_in_use": level, "contenders": taken}


def check_pressure(result: dict[str, Any]) -> Iterator[dict[str, object]]:
    """The targets of one comparison at one level."""
    loop, kind, taken = result["loop"], result["kind"], result["contenders"]
    if (loop, kind) in WANTED:
        limits = dict.fromkeys(peers(taken), PRESSURE_LIMIT)
        yield from check(f"{loop}, {result['percent_in_use']} % in use", taken, limits)


# Beside a busy task


class Turns(NamedTuple):
    """What another task saw while one connected without a pause.

    From turn to turn: seconds of this thread's processor time, which no other program can lengthen (the event loop
    never sleeps meanwhile), and connects at most.
    """

    gaps: list[float]
    most: int


async def beside(loop: str, connect: Call[Any], server: Server) -> Turns:
    """Connect one by one and keep all, while another task does nothing but give way."""
    connections: list[Any] = []
    gaps: list[float] = []
    counts: list[int] = []
    rest = turn(loop)

    async def watch() -> None:
        last, had = thread_time(), 0
        while len(connections) < BUSY:
            await rest()
            now, has = thread_time(), len(connections)
            gaps.append(now - last)
            counts.append(has - had)
            last, had = now, has

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await rest()
        while len(connections) < BUSY:
            connections.append(await connect())
    await drop(server, rest, connections)
    return Turns(gaps, max(counts))


def measure_fairness(loop: str, comparison: Comparison, rounds: int) -> Figures:
    """The other task's waits, and how many connects it saw at most from one turn to the next."""
    with Server(HOST) as server:
        server.socket.listen(BUSY)

        async def main() -> dict[str, list[Turns]]:
            connects = comparison.connects(server)
            seen: dict[str, list[Turns]] = {name: [] for name in connects}
            for number in range(rounds + 1):
                for name, connect in connects.items():
                    turns = await beside(loop, connect, server)
                    if number:  # the first round warms up
                        seen[name].append(turns)
            return seen

        seen = run(loop, main)
    return {
        name: {
            "connects": max(each.most for each in turns),
            "median_us": round(statistics.median(gap for each in turns for gap in each.gaps) * 1e6, 2),
            "p99_us": round(statistics.quantiles((gap for each in turns for gap in each.gaps), n=100)[-1] * 1e6, 2),
            "longest_us": round(statistics.median(max(each.gaps) for each in turns) * 1e6, 2),
        }
        for name, turns in seen.items()
    }


def waits(rounds: int) -> Iterator[dict[str, Any]]:
    """The first comparison of each event loop."""
    headers = ("contender", "connects at most", "median us", "p99 us", "longest us")
    for loop in loops():
        kind, comparison = next(iter(COMPARISONS[loop].items()))
        taken = measure_fairness(loop, comparison, rounds)
        title = f"{loop}, {kind}: how long another task waits for its turn beside {BUSY} connects in a row"
        show(title, headers, [(name, *figure.values()) for name, figure in taken.items()])
        yield {"loop": loop, "kind": kind, "connects": BUSY, "contenders": taken}


def check_waits(result: dict[str, Any]) -> Iterator[dict[str, object]]:
    """That the other task has its turn as often as the documentation says."""
    loop = result["loop"]
    ours, figure = next(iter(result["contenders"].items()))
    most = figure["connects"]
    text = f"{loop}: another task's turn after at most {BETWEEN[loop]} connects of {ours}"
    text += f" (is {most}; median {figure['median_us']:.0f} us, the longest of {BUSY} {figure['longest_us']:.0f} us)"
    yield target(text, met=most <= BETWEEN[loop])


def main() -> None:
    """Measure the three, or those that are asked for."""
    parser = arguments(__doc__, rounds=200)
    parser.add_argument("--count", type=int, default=1000, help="connects at once (default 1000)")
    options = parser.parse_args()
    if options.quick:
        options.count = 200
    if not kernel.has_port_range():
        raise SystemExit("this benchmark needs IP_LOCAL_PORT_RANGE: Linux 6.3 or later")
    if int(QUEUE.read_text(encoding="ascii")) < options.count:
        raise SystemExit(f"{QUEUE} is below {options.count}: the listener's queue cannot hold so many")
    raise_descriptor_limit()
    targets: list[dict[str, object]] = []
    crowded = list(crowds(options.count, max(options.rounds // 20, 2)))
    pressed = list(pressures(options.rounds, LEVELS[: 1 if options.quick else None]))
    beside_one = list(waits(max(options.rounds // 10, 2)))
    for result in pressed:
        targets += check_pressure(result)
    for result in beside_one:
        targets += check_waits(result)
    results = {"at_once": crowded, "pressure": pressed, "fairness": beside_one}
    report("asynchronous_load", options, results, targets, (*PACKAGES, *PEERS))


if __name__ == "__main__":
    main()

"""Many connects: 20,000 at once on asyncio, 64 threads that block, and a race of 64 addresses.

The 20,000 are made by a process for each contender, toward several addresses or toward one, which is more than there
are source ports of one parity. The listeners' queues hold them all, so no server competes for the processor. Linux 6.3
or later, in a network of its own (as ``python -m benchmarks`` runs it).
"""

import asyncio
import errno
import json
import resource
import socket
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import aiohappyeyeballs
from asynchronous import by_sock_connect
from measure import BASE, LINGER_0, PACKAGES, arguments, raise_descriptor_limit, ratios, report, show, spread, target

import safeconnect
import safeconnect.asyncio
from safeconnect._connect.state_machine import Dial, Rules
from safeconnect._sockets import kernel
from safeconnect.events import Failed, GiveUp, Resolve, Resolved, Start, Tick

CROWD = 20_000
QUEUE = 4000  # of a listener, below the usual somaxconn of 4096
SPARE = 500  # descriptors that a process has beside its connections
THREADS = 64
CONNECTS = 50  # of each thread in one round
CANDIDATES = 64
LIMITS = {"crowd": 0.6, "threads": 1.0, "dial": 15.0}

Address = tuple[str, int]
Target = list[tuple[int, int, int, str, Address]]


# 20,000 at once


def found(address: Address) -> Target:
    """As getaddrinfo() gives it."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


CONTENDERS: dict[str, Callable[[Address], Awaitable[Any]]] = {
    "safeconnect.asyncio.create_connection": safeconnect.asyncio.create_connection,
    "loop.sock_connect": partial(by_sock_connect, socket.AF_INET),
    "aiohappyeyeballs.start_connection": lambda address: aiohappyeyeballs.start_connection(found(address)),
    "safeconnect.asyncio.open_connection": safeconnect.asyncio.open_connection,
    "asyncio.open_connection": lambda address: asyncio.open_connection(*address),
}
# Each peer, and what of ours it is compared with.
OURS = {
    "loop.sock_connect": "safeconnect.asyncio.create_connection",
    "aiohappyeyeballs.start_connection": "safeconnect.asyncio.create_connection",
    "asyncio.open_connection": "safeconnect.asyncio.open_connection",
}


async def crowd(name: str, addresses: list[Address], count: int) -> dict[str, Any]:
    """So many connects at once, in this process, and what they took."""
    connect = CONTENDERS[name]
    warm = [await connect(addresses[0]) for _ in range(10)]
    kept = len(warm)
    before = resident()
    began, busy = perf_counter(), process_time()
    connects = (connect(addresses[number % len(addresses)]) for number in range(count))
    results = await asyncio.gather(*connects, return_exceptions=True)
    seconds, busy = perf_counter() - began, process_time() - busy
    failed = Counter(type(each).__name__ for each in results if isinstance(each, BaseException))
    return {
        "wall_us": round(seconds / count * 1e6, 1),
        "cpu_us": round(busy / count * 1e6, 1),
        "kept_bytes": round((resident() - before) / (count + kept)),
        "peak_bytes": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / count),
        "failed": dict(failed),
    }


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


@contextmanager
def listeners(hosts: list[str], count: int) -> Iterator[list[Address]]:
    """Addresses that take so many connections in all without accepting one; several listeners share each."""
    with ExitStack() as stack:
        addresses = []
        for host in hosts:
            port = 0
            # The kernel spreads them over the listeners by chance, so there is room for a third more.
            for _ in range(-(-count * 4 // (3 * QUEUE * len(hosts)))):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                sock.bind((host, port))
                sock.listen(QUEUE)
                port = sock.getsockname()[1]
            addresses.append((host, port))
        yield addresses


def measure_crowd(hosts: list[str], count: int, rounds: int) -> dict[str, Any]:
    """The medians of each contender, each round in a process of its own, in turns."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, each in taken.items():
            with listeners(hosts, count) as addresses:
                command = [sys.executable, __file__, "--crowd", json.dumps([name, addresses, count])]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                each.append(json.loads(done.stdout))
    return {
        name: {key: statistics.median(each[key] for each in rows) for key in rows[0] if key != "failed"}
        | {"failed": max(sum(each["failed"].values()) for each in rows), "errors": rows[-1]["failed"]}
        for name, rows in taken.items()
    }


def crowds(count: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Toward several addresses, and toward one."""
    count = min(count, raise_descriptor_limit() - SPARE)
    headers = ("contender", "wall us", "cpu us", "kept bytes", "peak bytes", "failed", "ours: wall", "cpu")
    for hosts in ([f"127.0.0.{last}" for last in range(2, 8)], ["127.0.0.2"]):
        figures = measure_crowd(hosts, count, rounds if len(hosts) > 1 else 1)
        rows = []
        for name, each in figures.items():
            ours = figures[OURS.get(name, name)]
            each["ratio"] = round(ours["wall_us"] / each["wall_us"], 3)
            each["cpu_ratio"] = round(ours["cpu_us"] / each["cpu_us"], 3)
            shown = list(each.values())
            rows.append((name, *shown[:4], each["failed"], each["ratio"], each["cpu_ratio"]))
        show(f"{count:,} at once toward {len(hosts)} addresses, for each connect", headers, rows)
        yield {"count": count, "addresses": len(hosts), "contenders": figures}


# Threads


def in_threads(connect: Callable[[], socket.socket]) -> None:
    """Connect in all threads at once, each so often, one after the other."""

    def work() -> None:
        for _ in range(CONNECTS):
            sock = connect()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            sock.close()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure_threads(rounds: int) -> dict[str, dict[str, float]]:
    """Connects a second of all threads together, in turns; the ratio is of throughputs: above 1 ours is faster."""
    connects: dict[str, Callable[[Address, float], socket.socket]] = {
        BASE: socket.create_connection,
        "safeconnect": safeconnect.create_connection,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in connects}
    for number in range(rounds + 1):
        for name, connect in connects.items():
            with socket.create_server(("127.0.0.1", 0), backlog=QUEUE) as listener:
                call = partial(connect, listener.getsockname(), 30)
                began, busy = perf_counter(), process_time()
                in_threads(call)
                if number:  # the first round warms up
                    taken[name].append((perf_counter() - began, process_time() - busy))
    walls = {name: [wall for wall, _ in each] for name, each in taken.items()}
    busies = {name: [busy for _, busy in each] for name, each in taken.items()}
    count = THREADS * CONNECTS
    return {
        name: {
            "per_second": round(count / statistics.median(walls[name])),
            "cpu_us": round(statistics.median(busies[name]) / count * 1e6, 1),
            **ratios(walls[BASE], walls[name]),
            "cpu_ratio": ratios(busies[name], busies[BASE])["ratio"],
        }
        for name in connects
    }


# The state machine


def race(*, silent: bool) -> tuple[int, float]:
    """How many events one race of 64 addresses has, and how long the machine takes for all; all fail in the end.

    Silent addresses give way after their time, the others refuse at once.
    """
    dial = Dial(Rules(timeout=60), draw=lambda: 0.5)
    candidates = tuple(
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (f"192.0.2.{last}", 443))
        for last in range(CANDIDATES)
    )
    refusal = OSError(errno.ECONNREFUSED, "refused")
    now, seconds, events = 0.0, 0.0, 0
    pending: list[Any] = []

    def timed(call: Callable[..., list[Any]], *arguments: Any) -> None:
        nonlocal seconds, events
        began = perf_counter()
        orders = call(*arguments)
        wake = dial.wake_at
        seconds += perf_counter() - began
        events += 1
        del wake
        for order in orders:
            if isinstance(order, Resolve):
                pending.append(Resolved(order.lookup, candidates))
            elif isinstance(order, Start) and not silent:
                pending.append(Failed(order.attempt, refusal))
            elif isinstance(order, GiveUp):
                order.error.__traceback__ = None

    timed(dial.begin, now)
    while not dial.over:
        if pending:
            timed(dial.receive, pending.pop(0), now)
        else:
            now = dial.wake_at or now
            timed(dial.receive, Tick(), now)
    return events, seconds


def measure_dial(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of one event, at the median of the races."""
    figures = {}
    for name, silent in (("all refuse", False), ("all are silent", True)):
        taken = [race(silent=silent) for _ in range(rounds)]
        each = [seconds / events * 1e6 for events, seconds in taken]
        figures[name] = {"events": taken[0][0], "median_us": round(statistics.median(each), 2)}
    return figures


def check(results: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """The targets, and whether they were met."""
    for result in results["crowd"]:
        for name in OURS:
            each = result["contenders"][name]
            text = f"{result['count']:,} at once toward {result['addresses']}: at most {LIMITS['crowd']} x {name}"
            text += f" (is {each['ratio']:.3f}, of the processor {each['cpu_ratio']:.3f})"
            yield target(text, met=each["ratio"] <= LIMITS["crowd"])
    ours = results["threads"]["safeconnect"]
    text = f"{THREADS} threads: at least the connects a second of {BASE} (is {ours['ratio']:.3f}, {spread(ours)})"
    yield target(text, met=ours["ratio"] >= LIMITS["threads"])
    for name, each in results["dial"].items():
        text = f"{CANDIDATES} addresses, {name}: at most {LIMITS['dial']:g} us an event (is {each['median_us']})"
        yield target(text, met=each["median_us"] <= LIMITS["dial"])


def main() -> None:
    """Measure all three; or be a process that makes a crowd."""
    parser = arguments(__doc__, rounds=20, quick=2)
    parser.add_argument("--crowd", help="[contender, addresses, count]: what the processes are started with")
    options = parser.parse_args()
    if options.crowd:
        raise_descriptor_limit()
        print(json.dumps(asyncio.run(crowd(*json.loads(options.crowd)))))
        return
    if not kernel.has_port_range():
        raise SystemExit("this benchmark needs IP_LOCAL_PORT_RANGE: Linux 6.3 or later")
    results = {
        "dial": measure_dial(options.rounds * 5),
        "threads": measure_threads(options.rounds),
        "crowd": list(crowds(2_000 if options.quick else CROWD, max(options.rounds // 7, 1))),
    }
    headers = ("", "connects a second", "cpu us", "x", "lowest", "highest", "cpu x")
    show(f"{THREADS} threads", headers, [(name, *each.values()) for name, each in results["threads"].items()])
    rows = [(name, *each.values()) for name, each in results["dial"].items()]
    show(f"a race of {CANDIDATES} addresses", ("", "events", "us for each"), rows)
    report("scale", options, results, list(check(results)), (*PACKAGES, "aiohappyeyeballs"))


if __name__ == "__main__":
    main()

"""How late `wait_for_port` returns, what it costs meanwhile, and how long ``safeconnect wait`` takes to its first SYN.

A server in a process of its own begins to listen at some moment of the wait. Each client waits for a server of its own,
one after the other; the processor time is that of the process that waits. The start of a command is the time from
before its process is made until a listener has its connection. Linux only, and nothing leaves the host.
"""

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import monotonic, sleep
from typing import Any

from measure import arguments, report, show, target

import safeconnect
import safeconnect.asyncio

Address = tuple[str, int]

MOMENTS = ((0.0, 1.0), (1.0, 3.0), (3.0, 6.0))  # when the server begins to listen, in seconds after the wait has begun
COSTS = (1.0, 3.0, 10.0)  # seconds without a server
TIMEOUT = 30.0
MEDIAN_MS, WORST_MS, SHARE, START_MS = 2.0, 30.0, 0.005, 60.0

SERVER = """
import socket, sys, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(float(sys.stdin.readline()))
listens = time.monotonic()
server.listen()
print(listens, flush=True)
sys.stdin.read()
"""


def with_asyncio(address: Address, timeout: float) -> None:
    """The same on asyncio."""
    import asyncio

    asyncio.run(safeconnect.asyncio.wait_for_port(address, timeout))


def with_trio(address: Address, timeout: float) -> None:
    """The same on trio."""
    import trio

    import safeconnect.trio

    trio.run(safeconnect.trio.wait_for_port, address, timeout)


def plain_loop(pause: float) -> Callable[[Address, float], None]:
    """What people write: connect, and sleep a while."""

    def wait(address: Address, timeout: float) -> None:
        deadline = monotonic() + timeout
        while True:
            try:
                socket.create_connection(address, 1).close()
            except OSError:
                if monotonic() > deadline:
                    raise TimeoutError from None
                sleep(pause)
            else:
                return

    return wait


def by_portend(address: Address, timeout: float) -> None:
    """The function of portend, where that is installed."""
    import portend

    try:
        portend.occupied(*address, timeout=timeout)
    except portend.Timeout:
        raise TimeoutError from None


def clients() -> dict[str, Callable[[Address, float], None]]:
    """Those that are installed."""
    found: dict[str, Callable[[Address, float], None]] = {
        "safeconnect": safeconnect.wait_for_port,
        "safeconnect, asyncio": with_asyncio,
        "safeconnect, trio": with_trio,
        "a loop with 4 ms": plain_loop(0.004),
        "a loop with 100 ms": plain_loop(0.1),
    }
    if find_spec("portend"):
        found["portend"] = by_portend
    return found


def late(client: Callable[[Address, float], None], moment: float) -> float:
    """How many seconds after listen() the client returned."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        server.stdin.write(f"{moment}\n")
        server.stdin.flush()
        client(address, TIMEOUT)
        returned = monotonic()
        return returned - float(server.stdout.readline())


def share(client: Callable[[Address, float], None], seconds: float) -> float:
    """The share of one core while nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        before = getrusage(RUSAGE_SELF)
        try:
            client(held.getsockname(), seconds)
        except TimeoutError:
            after = getrusage(RUSAGE_SELF)
            return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds
    raise SystemExit("somebody listens where nobody should")


def waits(rounds: int) -> dict[str, dict[str, Any]]:
    """The figures by client."""
    draw = random.Random(0).random
    known = clients()
    taken: dict[tuple[str, int], list[float]] = {(name, number): [] for name in known for number in range(len(MOMENTS))}
    for number, (first, last) in enumerate(MOMENTS):
        for _ in range(rounds if number == 0 else max(rounds // 4, 2)):
            for name, client in known.items():
                taken[name, number].append(late(client, first + (last - first) * draw()))
    return {
        name: {
            "late_ms": {
                f"{first:g}-{last:g} s": {
                    "median": round(statistics.median(taken[name, number]) * 1e3, 2),
                    "worst": round(max(taken[name, number]) * 1e3, 2),
                }
                for number, (first, last) in enumerate(MOMENTS)
            },
            "core_percent": {f"{seconds:g} s": round(share(client, seconds) * 100, 2) for seconds in COSTS},
        }
        for name, client in known.items()
    }


def commands(address: Address) -> dict[str, list[str]]:
    """What a command line starts, each for the same server."""
    host, port = address[0], str(address[1])
    found = {
        "python": [sys.executable, "-c", f"import _socket; _socket.socket().connect(({host!r}, {port}))"],
        "safeconnect wait": [sys.executable, "-m", "safeconnect", "wait", f"{host}:{port}"],
        "safeconnect wait, two targets": [
            *(sys.executable, "-m", "safeconnect", "wait"),
            *(f"{host}:{port}", f"localhost:{port}"),
        ],
    }
    others = {"nc -z": ["nc", "-z", host, port], "wait-for-it": ["wait-for-it", "-q", f"{host}:{port}"]}
    return found | {name: words for name, words in others.items() if shutil.which(words[0])}


def starts(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds from before the process is made until its connection is there, and its processor time."""
    with tempfile.TemporaryDirectory() as cache, socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        known = commands(server.getsockname())
        taken: dict[str, list[float]] = {name: [] for name in known}
        spent: dict[str, list[float]] = {name: [] for name in known}
        server.settimeout(60)
        for number in range(-1, rounds):  # the first round fills the cache of compiled modules
            for name, words in known.items():
                before, began = getrusage(RUSAGE_CHILDREN), monotonic()
                with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
                    server.accept()[0].close()
                    seconds = monotonic() - began
                    if "two" in name:
                        server.accept()[0].close()
                    process.wait()
                after = getrusage(RUSAGE_CHILDREN)
                if number >= 0:
                    taken[name].append(seconds)
                    spent[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        name: {
            "median_ms": round(statistics.median(taken[name]) * 1e3, 1),
            "fastest_ms": round(min(taken[name]) * 1e3, 1),
            "processor_ms": round(statistics.median(spent[name]) * 1e3, 1),
        }
        for name in known
    }


def aims(figures: Mapping[str, Any], started: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
    """The targets, and whether they were met."""
    first = figures["late_ms"]["0-1 s"]
    shares = figures["core_percent"]
    start = started["safeconnect wait"]["median_ms"]
    return [
        target(
            f"in the first second back within {MEDIAN_MS:g} ms at the median (is {first['median']})",
            met=first["median"] <= MEDIAN_MS,
        ),
        target(f"and within {WORST_MS:g} ms at worst (is {first['worst']})", met=first["worst"] <= WORST_MS),
        *(
            target(
                f"at most {SHARE * 100:g} % of a core in a wait of {seconds} (is {percent})", met=percent <= SHARE * 100
            )
            for seconds, percent in shares.items()
        ),
        target(f"the first SYN of safeconnect wait within {START_MS:g} ms (is {start})", met=start <= START_MS),
    ]


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=20).parse_args()
    figures, started = waits(options.rounds), starts(options.rounds)
    spans = [f"{first:g}-{last:g} s" for first, last in MOMENTS]
    rows = [
        (
            name,
            *(f"{each['late_ms'][span]['median']:.1f} / {each['late_ms'][span]['worst']:.1f}" for span in spans),
            *(f"{percent:.2f} %" for percent in each["core_percent"].values()),
        )
        for name, each in figures.items()
    ]
    headers = ("client", *spans, *(f"a core, {seconds:g} s" for seconds in COSTS))
    show("ms from listen() to the return, median / worst, by when that was; and the cost of waiting", headers, rows)
    show(
        "from the start of the process to its connection",
        ("command", "median ms", "fastest ms", "processor ms"),
        [(name, *each.values()) for name, each in started.items()],
    )
    results = {"waits": figures, "starts": started}
    report("waiting", options, results, aims(figures["safeconnect"], started), ("safeconnect", "trio", "portend"))


if __name__ == "__main__":
    main()

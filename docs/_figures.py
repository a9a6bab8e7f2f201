"""Renews the figures of the pages from benchmarks/results: ``python docs/_figures.py`` writes those that have changed.

The pages are written by hand. Here stands each passage of them that has a measured figure, with ``{}`` in the place of
the figure, and what the figure is now. A passage may be broken into lines in any way. ``at`` names the heading after
which it stands, where the same words stand elsewhere, too.

``--check`` writes nothing, and fails where a page shows other figures than the results.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
VERSIONS = ("3.11", "3.12", "3.13")
LATEST = VERSIONS[-1]

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)*"
_FIGURE = rf"({_NUMBER}(?:\s+to\s+{_NUMBER})?)"


class Passage(NamedTuple):
    """What stands in a page, and the figures in it."""

    page: str
    text: str
    figures: tuple[str, ...]
    at: str = ""


@cache
def written(name: str, version: str = LATEST) -> Any:
    """Return what a benchmark has written."""
    return json.loads((RESULTS / f"{name}-{version}.json").read_text(encoding="utf-8"))


def results(name: str, version: str = LATEST) -> Any:
    """Return the results of a benchmark."""
    return written(name, version)["results"]


def rounded(value: float, digits: int = 0) -> str:
    """Return a number with so many digits after the point; negative ones: rounded to tens, hundreds."""
    number = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{number:,.{max(digits, 0)}f}"


def span(values: Iterable[float], digits: int = 2) -> str:
    """Return the lowest and the highest of several values."""
    listed = list(values)
    lowest, highest = rounded(min(listed), digits), rounded(max(listed), digits)
    return lowest if lowest == highest else f"{lowest} to {highest}"


def connect_ratios(
    *hosts: str, contender: str = "safeconnect", key: str = "ratio", timeouts: tuple[float | None, ...] = (None, 5.0)
) -> list[float]:
    """Return the ratios to the standard library of all versions."""
    return [
        each["contenders"][contender][key]
        for version in VERSIONS
        for each in results("connect", version)
        if each["host"] in (hosts or {"127.0.0.1", "::1", "localhost"}) and each["timeout"] in timeouts
    ]


def connect() -> Iterator[Passage]:
    """One connect that blocks."""
    every, literal = connect_ratios(), connect_ratios("127.0.0.1", "::1")
    first = next(each for each in results("connect") if (each["host"], each["timeout"]) == ("127.0.0.1", None))
    medians = [rounded(first["contenders"][name]["median_us"], 1) for name in ("stdlib", "safeconnect")]
    takes = "A connect on loopback takes {} times as long as"
    yield Passage("docs/index.md", "| one connect on loopback | {} µs | {} µs |", tuple(medians))
    yield Passage("docs/limits.md", f"{takes} the standard library's", (span(every),))
    by_name = (span(literal), span(connect_ratios("localhost")))
    yield Passage("docs/why.md", f"{takes} the standard library's, by a name {{}} times", by_name)
    rows = {f"`{host}`": span(connect_ratios(host)) for host in ("127.0.0.1", "::1", "localhost")}
    rows["the machine's own name, in `/etc/hosts` with one address"] = span(connect_ratios("own name"))
    rows["`127.1`, with a timeout: looked up in another thread"] = span(connect_ratios("127.1", timeouts=(5.0,)), 1)
    for row, figure in rows.items():
        yield Passage("docs/speed.md", f"| {row} | {{}} |", (figure,), "## One connect")
    means = span(connect_ratios(key="mean_ratio"))
    yield Passage("docs/speed.md", "The means, without the slowest hundredth, are {}.", (means,))
    peer = span(connect_ratios(contender="urllib3"))
    yield Passage("docs/speed.md", "urllib3's own function is at {}.", (peer,))
    peers = ("asyncio", "sockets", "loop.sock_connect"), ("trio", "streams", "trio.open_tcp_stream")
    asyncio, trio = (span(ratios(*peer)["ratio"], 1) for peer in peers)
    text = f"{takes} with the standard library, on asyncio {{}} times as long as `loop.sock_connect`, on trio {{}}"
    yield Passage("README.md", text, (span(every), asyncio, trio))


def counts() -> Iterator[Passage]:
    """Instructions and system calls."""
    rows = {
        "127.0.0.1": "`127.0.0.1`",
        "::1": "`::1`",
        "localhost": "`localhost`",
        "a name of /etc/hosts": "a name of `/etc/hosts`",
        "a name of /etc/hosts, timeout": "the same, with a timeout",
        "refused, timeout": "refused",
        "asyncio: a socket": "asyncio, a socket",
        "asyncio: streams": "asyncio, streams",
        "uvloop: streams": "uvloop, streams",
        "trio: a stream": "trio, a stream",
        "an exchange": "an exchange of a `PersistentConnection`",
        "asyncio: an exchange": "the same on asyncio",
        "trio: an exchange": "the same on trio",
    }
    for case, title in rows.items():
        found = [results("counts", version)["cases"][case] for version in VERSIONS]
        each = [list(contenders.values())[:2] for contenders in found]
        figures = [span(mine["instructions"] / its["instructions"] for mine, its in each)]
        for which in (0, 1):
            calls = [pair[which]["system_calls"] + pair[which]["futex"] for pair in each]
            figures.append(span(calls, 0))
        yield Passage("docs/speed.md", f"| {title} | {{}} | {{}} | {{}} |", tuple(figures), "## Instructions")


def pressure() -> Iterator[Passage]:
    """One connect while source ports are in use."""
    levels = {
        each["percent_in_use"]: {name: each["contenders"][name]["median_us"] for name in each["contenders"]}
        for each in results("pressure")["levels"]
        if each["fill"] == "plain"
    }

    def of(level: int, *names: str) -> tuple[str, ...]:
        return tuple(rounded(levels[level][name]) for name in names)

    for level in (0, 10, 25, 50, 60, 80, 90, 95, 96, 98, 99):
        figures = of(level, "stdlib", "urllib3", "safeconnect")
        yield Passage("docs/speed.md", f"| {level} % | {{}} | {{}} | {{}} |", figures, "## When source ports")
    for level in (0, 50, 80, 99):
        yield Passage("docs/why.md", f"| {level} % | {{}} µs | {{}} µs |", of(level, "stdlib", "safeconnect"))
    half = of(50, "stdlib", "safeconnect")
    yield Passage("docs/index.md", "| half of the source ports in use | {} µs | {} µs |", half)
    high = {name: [each[name] for level, each in levels.items() if level >= 50] for name in levels[50]}
    figures = span(high["stdlib"], -1), span(high["safeconnect"], 0)
    yield Passage("README.md", "| half of the source ports are in use | {} µs | {} µs |", figures)
    near = (rounded(median(high["safeconnect"]), -1), rounded(median(high["stdlib"]), -2))
    for page in ("README.md", "docs/speed.md"):
        text = "safeconnect stays near {} microseconds, the others go to {}"
        yield Passage(page, text, near)
    last = next(each for each in reversed(results("pressure")["levels"]) if each["fill"] == "random")
    text = "at 99 % safeconnect takes {} times as long"
    yield Passage("docs/speed.md", text, (rounded(last["contenders"]["safeconnect"]["ratio"], 1),))


def many() -> Iterator[Passage]:
    """Connections held at once."""
    theirs, ours = (results("many")[name] for name in ("stdlib", "safeconnect"))
    at, page = "connections to one server", "docs/speed.md"
    both = theirs, ours
    held = tuple(f"{each['connections']:,}" for each in both)
    yield Passage(page, "| connections | {}, then EADDRNOTAVAIL | {} |", held, at)
    yield Passage(page, "| time for all | {} s | {} s |", tuple(rounded(each["seconds"]) for each in both), at)
    for which in ("first", "last"):
        medians = tuple(rounded(each[f"{which}_thousand_us"]) for each in both)
        yield Passage(page, f"| median of the {which} thousand | {{}} µs | {{}} µs |", medians, at)
    memory = tuple(rounded(each["bytes_per_connection"] / 1000, 1) for each in both)
    text = "| memory for each connection, both ends and their processes | {} kB | {} kB |"
    yield Passage(page, text, memory, at)


def racing() -> Iterator[Passage]:
    """A name with two addresses."""
    found = {True: [], False: []}
    for version in VERSIONS:
        for each in results("racing", version):
            found[each["lookup_for_nothing"]].append(each["contenders"]["safeconnect"]["ratio"])
    yield Passage("docs/limits.md", "answers at once takes {} times what", (span(found[False]),))
    text = "safeconnect takes {} times as long as the standard library ({} times if the lookup cost nothing)"
    yield Passage("docs/speed.md", text, (span(found[False]), span(found[True], 1)))


def failover() -> Iterator[Passage]:
    """Dead addresses, and a lookup that hangs."""
    theirs, ours, remembering = (results("failover")[name] for name in ("stdlib", "safeconnect", "safeconnect, memory"))
    at = "## Several addresses"

    def seconds(case: str, digits: int, *clients: Any) -> tuple[str, ...]:
        return tuple(rounded(each[case]["median_s"], digits) for each in clients)

    dead = seconds("dead", 1, theirs) + seconds("dead", 2, ours)
    many_dead = seconds("dead_20", 0, theirs) + seconds("dead_20", 1, ours)
    hangs = seconds("lookup", 1, theirs) + seconds("lookup", 2, ours)
    yield Passage("README.md", "| first address dead, `timeout=2` | {} s | {} s |", dead)
    for page in ("README.md", "docs/index.md"):
        yield Passage(page, "| 20 addresses dead, `timeout=2` | {} s | {} s |", many_dead)
    yield Passage("README.md", "| lookup hangs 3 s, `timeout=0.5` | {} s | {} s |", hangs)
    exact = seconds("dead_20", 1, theirs) + seconds("dead_20", 2, ours)
    yield Passage("docs/why.md", "20 addresses that do not answer, then one that does | {} s | {} s |", exact)
    yield Passage("docs/why.md", "one address that does not answer, then one that does | {} s | {} s |", dead)
    yield Passage("docs/why.md", "the resolver hangs for 3 s | {} s | {} s |", hangs)
    yield Passage("docs/limits.md", "so that the good one is reached ({} s)", seconds("dead_20", 2, ours))
    plain = (*seconds("dead", 1, theirs), *seconds("again", 1, theirs), *seconds("dead_20", 0, theirs))
    yield Passage("docs/speed.md", "| standard library, urllib3 | {} s | {} s | {} s |", plain, at)
    yield Passage("docs/speed.md", "gives each address a new timeout, which makes {} s.", plain[2:])
    for name, each in (("safeconnect", ours), ("safeconnect with a `ConnectMemory`", remembering)):
        figures = (*milliseconds(each), *seconds("dead_20", 1, each), *seconds("lookup", 2, each))
        yield Passage("docs/speed.md", f"| {name} | {{}} ms | {{}} ms | {{}} s | {{}} s |", figures, at)
    names = {"anyio": "anyio on asyncio", "asyncio": "asyncio with `happy_eyeballs_delay`"}
    for name in ("trio", "anyio", "aiohappyeyeballs", "asyncio"):
        each = results("failover")[name]
        text = f"| {names.get(name, name)} | {{}} ms | {{}} ms | gives up | {{}} s"
        yield Passage("docs/speed.md", text, (*milliseconds(each), *seconds("lookup", 2, each)), at)


def milliseconds(client: Any) -> tuple[str, ...]:
    """Return the first and the second connect to a name whose first address is dead."""
    medians = [client[case]["median_s"] * 1000 for case in ("dead", "again")]
    return tuple(rounded(each, 0 if each >= 10 else 1) for each in medians)


def ratios(loop: str, kind: str, peer: str, versions: Iterable[str] = VERSIONS) -> dict[str, list[float]]:
    """Return our ratios to a peer, in the mix with its control, and alone."""
    found = [
        each["contenders"]
        for version in versions
        for each in results("asynchronous", version)
        if (each["loop"], each["kind"]) == (loop, kind)
    ]
    names = (peer, f"{peer} again")
    return {
        "ratio": [each[name]["ratio"] for each in found for name in names if name in each],
        "alone": [each[peer]["alone_ratio"] for each in found],
    }


AWAITED = {
    "| `asyncio.create_connection` | `loop.sock_connect` |": ("asyncio", "sockets", "loop.sock_connect"),
    "| | aiohappyeyeballs |": ("asyncio", "sockets", "aiohappyeyeballs.start_connection"),
    "| `asyncio.open_connection` | asyncio's |": ("asyncio", "streams", "asyncio.open_connection"),
    "| | anyio |": ("asyncio", "streams", "anyio.connect_tcp"),
    "| | aiohttp's pool |": ("asyncio", "streams", "aiohttp.TCPConnector.connect"),
    "| `anyio.connect_tcp` | anyio's, on asyncio |": ("asyncio", "anyio", "anyio.connect_tcp"),
    "| | anyio's, on trio |": ("trio", "anyio", "anyio.connect_tcp"),
    "| `trio.open_tcp_stream` | trio's |": ("trio", "streams", "trio.open_tcp_stream"),
    "| `asyncio.create_connection`, uvloop | `loop.sock_connect` |": ("uvloop", "sockets", "loop.sock_connect"),
    "| `asyncio.open_connection`, uvloop | asyncio's |": ("uvloop", "streams", "asyncio.open_connection"),
}


def awaited() -> Iterator[Passage]:
    """One connect that is awaited."""
    for row, which in AWAITED.items():
        found = ratios(*which)
        figures = tuple(span(found[key]) for key in ("ratio", "alone"))
        yield Passage("docs/speed.md", f"{row} {{}} | {{}} |", figures, "## Awaited connects")
    streams = ratios("uvloop", "streams", "asyncio.open_connection")
    both = span(streams["ratio"] + streams["alone"])
    yield Passage("docs/limits.md", "On uvloop `open_connection` takes {} times", (both,))


def load() -> Iterator[Passage]:
    """Awaited connects under load."""
    page, at = "docs/speed.md", "`benchmarks/asynchronous_load.py`"
    rows = {row: AWAITED[row] for row in list(AWAITED)[:3]} | {row: AWAITED[row] for row in list(AWAITED)[7:]}
    scarce = []
    for row, (loop, kind, peer) in rows.items():
        names = (peer, f"{peer} again")
        found: dict[str, list[float]] = {"at_once": [], "pressure": []}
        for version in VERSIONS:
            for part, listed in found.items():
                for each in results("asynchronous_load", version)[part]:
                    if (each["loop"], each["kind"]) == (loop, kind):
                        listed += [each["contenders"][name]["ratio"] for name in names if name in each["contenders"]]
        scarce += found["pressure"]
        if loop != "uvloop":
            figures = (span(found["at_once"]), span(found["pressure"]))
            yield Passage(page, f"{row} {{}} | {{}} |", figures, at)
        elif kind == "streams":
            yield Passage(page, f"{row} {{}} | |", (span(found["at_once"]),), at)
    yield Passage("docs/why.md", "safeconnect takes {} times as long.", (span(scarce),))
    waits: list[str] = []
    for loop, name in (
        ("asyncio", "safeconnect.asyncio.create_connection"),
        ("asyncio", "loop.sock_connect"),
        ("trio", "safeconnect.trio.open_tcp_stream"),
    ):
        found = [
            each["contenders"][name]
            for version in VERSIONS
            for each in results("asynchronous_load", version)["fairness"]
            if each["loop"] == loop
        ]
        for key, digits in (("median_us", 2), ("longest_us", 1)):
            waits.append(rounded(max(each[key] for each in found) / 1000, digits))
    text = "another task waits {} ms for its turn, and {} ms at most, because every 8th connect lets it run"
    text += " (`loop.sock_connect`: {} and {}). On trio it runs at each connect: {} and {}."
    yield Passage(page, text, tuple(waits))
    text = "so they usually wait {} ms ({} ms at most, as measured)"
    yield Passage("docs/asyncio-and-trio.md", text, tuple(rounded(float(each), 1) for each in waits[:2]))


def rest() -> Iterator[Passage]:
    """Import, exchanges, and servers that are busy."""
    imported = [results("importing", version)["safeconnect"] for version in VERSIONS]
    memory = rounded(max(each["median_mb"] for each in imported), 1)
    times = span([each["median_ms"] for each in imported], 0)
    yield Passage("docs/why.md", "`import` adds {} ms and {} MB", (times, memory))
    yield Passage("docs/speed.md", "adds {} ms and at most {} MB to `import socket`", (times, memory))
    exchanges = results("exchanges")
    crossed = (f"{exchanges['crossing']['a socket used again']['crossed']:,}",)
    yield Passage("docs/why.md", "| a socket that is used again after a timeout | {} |", crossed)
    yield Passage("docs/closing-connections.md", "such a client took {} replies for another request's", crossed)
    added = tuple(rounded(exchanges["added_us"][driver]) for driver in ("threads", "asyncio", "trio"))
    yield Passage("docs/closing-connections.md", "An exchange adds {} microseconds (asyncio: {}, trio: {})", added)
    clients = {
        "standard library, `timeout=60`": "stdlib",
        "standard library in a loop, 1 s each": "stdlib in a loop, 1 s each",
        "**safeconnect, `timeout=60`**": "safeconnect",
        "safeconnect, `second_attempt_delay=None`": "safeconnect, second_attempt_delay=None",
        "safeconnect, `patient`": "attempt_timeout=1, retry",
    }
    for title, name in clients.items():
        figures = [each["median_s"] for each in results("busy_server")[name].values()]
        text = f"| {title} |{' {} |' * len(figures)}"
        yield Passage("docs/servers.md", text, tuple(rounded(each, 2) for each in figures))
    fixtures = results("fixtures")
    for name in ("refused", "echo", "silent", "self_connecting", "blackhole", "dead_peer", "exposed_host", "tls"):
        took = fixtures["fixtures"][name]["median_ms"]
        yield Passage("docs/testing.md", f"| `{name}` | {{}} ms |", (rounded(took, 0 if took >= 10 else 2),))
    first = tuple(rounded(fixtures["first"][name]) for name in ("refused", "dead_peer"))
    text = "takes {} ms for `refused`. The first one with a host of its own also finds out whether there can be any: "
    yield Passage("docs/testing.md", text + "{} ms", first)
    plugin = tuple(rounded(fixtures["plugin"][key]) for key in ("plugin_adds_ms", "pytest_run_alone_ms"))
    text = "takes {} ms of processor time more than the {} ms of pytest itself"
    yield Passage("docs/testing.md", text, plugin)
    packages = written("failover")["packages"] | written("asynchronous")["packages"]
    names = ("urllib3", "trio", "anyio", "aiohappyeyeballs", "uvloop")
    versions = [written("connect")["python"], *(packages[name] for name in names)]
    text = f"Python {{}}, {', '.join(f'{name} {{}}' for name in names)} and curl"
    yield Passage("docs/comparison.md", text, tuple(versions))


PARTS = (connect, counts, pressure, many, racing, failover, awaited, load, rest)


def passages() -> list[Passage]:
    """Return all of them."""
    return [passage for part in PARTS for passage in part()]


def place(passage: Passage, page: str) -> re.Match[str]:
    """Return where the passage stands, its figures as groups.

    :raises LookupError: it does not.
    """
    literals = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in passage.text.split("{}")]
    pattern = re.compile(_FIGURE.join(literals))
    found = pattern.search(page, page.index(passage.at))
    if not found:
        raise LookupError(f"{passage.page} has no such passage: {passage.text}")
    return found


def renewed(name: str, page: str) -> str:
    """Return a page with its figures as they are now."""
    for passage in passages():
        if passage.page != name:
            continue
        found = place(passage, page)
        for number in range(len(passage.figures), 0, -1):
            begin, end = found.span(number)
            figure = passage.figures[number - 1]
            if " ".join(page[begin:end].split()) != figure:
                page = page[:begin] + figure + page[end:]
    return page


def main() -> int:
    """Write the pages that have changed, or say which they are."""
    stale = 0
    for name in sorted({passage.page for passage in passages()}):
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = renewed(name, text)
        if new != text and "--check" in sys.argv:
            print(f"{name} shows other figures than benchmarks/results")
            stale = 1
        elif new != text:
            path.write_text(new, encoding="utf-8")
            print(f"renewed {name}")
    return stale


if __name__ == "__main__":
    sys.exit(main())

"""Draw the figures of results/ as SVG, each for light and dark pages and for narrow ones, into docs/plots/.

``python benchmarks/plots.py`` writes them all; ``--check`` says whether those that are there show what the figures say
now. It compares a digest of the data, which each file bears, and so needs no matplotlib and no certain version of it.
"""

import argparse
import errno
import hashlib
import heapq
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from typing import Any, NamedTuple

from plot_looks import THEMES, Theme, draw_connect, draw_failover, draw_pressure, draw_race, draw_storm

from safeconnect._connect.state_machine import Dial, Rules
from safeconnect.events import Abandon, Connected, Failed, Keep, Resolve, Resolved, Start, Tick

RESULTS = Path(__file__).parent / "results"
PLOTS = Path(__file__).parent.parent / "docs" / "plots"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def results(name: str) -> Any:
    """The figures that a benchmark has written."""
    return json.loads((RESULTS / f"{name}-3.13.json").read_text(encoding="utf-8"))["results"]


def pressure_data() -> Any:
    """Median microseconds by per cent of the source ports in use, for each client."""
    levels = [level for level in results("pressure")["levels"] if level["fill"] == "plain"]
    return {
        name: [(level["percent_in_use"], level["contenders"][name]["median_us"]) for level in levels]
        for name in ("stdlib", "urllib3", "safeconnect")
    }


def failover_data() -> Any:
    """Seconds, and whether that was a failure where success was possible, for each case and client."""
    clients = results("failover")
    cases = ("dead", "again", "refused", "dead_20", "lookup")
    data: dict[str, Any] = {
        case: {
            name: (each[case]["median_s"], case != "lookup" and each[case]["errors"] != [""])
            for name, each in clients.items()
        }
        for case in cases
    }
    return data | {"exit": {name: (each["exit_s"], False) for name, each in clients.items()}}


def storm_data() -> Any:
    """SYNs by second for some contenders, and when all were back."""
    storm = results("storm")
    names = ("at once", "fixed pause, 1 s", "exponential, no jitter", "full jitter: Backoff()", "requests, with budget")
    return {
        "scene": {key: storm["scene"][key] for key in ("clients", "outage", "rate")},
        "contenders": {
            name: {"syns_per_s": storm["series"][name]["syns_per_s"], "all": storm["contenders"][name]["back_all_s"]}
            for name in names
        },
    }


def connect_data() -> Any:
    """Groups of clients of one kind, with the median microseconds of each for one connect to 127.0.0.1."""
    blocking = next(each for each in results("connect") if (each["host"], each["timeout"]) == ("127.0.0.1", 5))
    groups = {"blocking, timeout=5": blocking["contenders"]}
    for loop, kind in (("asyncio", "sockets"), ("asyncio", "streams"), ("trio", "streams"), ("uvloop", "streams")):
        groups[f"{loop}, {kind}"] = next(
            each["contenders"]
            for each in results("asynchronous")
            if (each["loop"], each["kind"], each["host"]) == (loop, kind, "127.0.0.1")
        )
    return {
        group: {name: each["median_us"] for name, each in contenders.items() if not name.endswith(" again")}
        for group, contenders in groups.items()
    }


class Outcome(NamedTuple):
    """What becomes of an attempt, and after how many seconds."""

    what: str
    after: float


# In the resolver's order.
RACE = {
    "2001:db8::1": Outcome("silent", 0),
    "2001:db8::2": Outcome("answers", 0.4),
    "192.0.2.1": Outcome("refuses", 0.045),
    "192.0.2.2": Outcome("answers", 0.08),
}


def race_data() -> Any:
    """One race as the library's own dial runs it, on a clock of our own: (address, begin, end, outcome)."""
    dial = Dial(Rules(timeout=5), draw=lambda: 0.5)
    coming: list[tuple[float, int, Any]] = []
    begun: dict[int, tuple[str, float]] = {}
    bars: list[tuple[str, float, float, str]] = []

    def ends(attempt: int, now: float, outcome: str) -> None:
        address, begin = begun.pop(attempt)
        bars.append((address, round(begin, 6), round(now, 6), outcome))

    def obey(orders: list[Any], now: float) -> None:
        for order in orders:
            if isinstance(order, Resolve):
                heapq.heappush(coming, (now, 0, Resolved(order.lookup, tuple(map(candidate, RACE)))))
            elif isinstance(order, Start):
                address = order.candidate[4][0]
                begun[order.attempt] = (address, now)
                heapq.heappush(coming, news(order, now))
            elif isinstance(order, (Abandon, Keep)):
                ends(order.attempt, now, "connected" if isinstance(order, Keep) else "abandoned")

    now = 0.0
    obey(dial.begin(now), now)
    while not dial.over:
        wake_at = dial.wake_at
        event: Any = Tick()
        if wake_at is None or coming[0][0] <= wake_at:
            now, _, event = heapq.heappop(coming)
        else:
            now = wake_at
        if isinstance(event, Failed):
            ends(event.attempt, now, "refused")
        obey(dial.receive(event, now), now)
    return sorted(bars, key=lambda bar: bar[1])


def candidate(address: str) -> Any:
    """As getaddrinfo() gives it."""
    six = ":" in address
    return AF_INET6 if six else AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (address, 443, 0, 0) if six else (address, 443)


def news(start: Start, now: float) -> tuple[float, int, Any]:
    """What will be heard of an attempt, and when."""
    peer = start.candidate[4]
    outcome = RACE[peer[0]]
    if outcome.what == "silent":
        return float("inf"), start.attempt, None
    if outcome.what == "refuses":
        return now + outcome.after, start.attempt, Failed(start.attempt, OSError(errno.ECONNREFUSED, "refused"))
    return now + outcome.after, start.attempt, Connected(start.attempt, ("198.51.100.1", 40000), peer)


KINDS: dict[str, tuple[Callable[[], Any], Callable[..., None]]] = {
    "connect": (connect_data, draw_connect),
    "failover": (failover_data, draw_failover),
    "pressure": (pressure_data, draw_pressure),
    "race": (race_data, draw_race),
    "storm": (storm_data, draw_storm),
}


def digest(name: str, data: Any) -> str:
    """What a plot of this data bears."""
    return "sha256:" + hashlib.sha256(json.dumps([name, data], sort_keys=True).encode()).hexdigest()


class Version(NamedTuple):
    """What a plot is drawn for."""

    theme: Theme
    narrow: bool


VERSIONS = [Version(theme, narrow) for narrow in (False, True) for theme in THEMES]


def path_of(name: str, version: Version) -> Path:
    """Where a plot lies."""
    return PLOTS / f"{name}-{'narrow-' if version.narrow else ''}{version.theme.name}.svg"


def write(name: str, version: Version) -> Path:
    """Draw one plot; the same data gives the same bytes, with the same matplotlib."""
    import matplotlib as mpl  # the one thing here that --check does without
    from matplotlib.figure import Figure

    theme, narrow = version
    data_of, draw = KINDS[name]
    data = data_of()
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "DejaVu Sans",  # comes with matplotlib, and is wider than most: what fits in it fits
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme.text),
        "axes.edgecolor": theme.faint,
    }
    path = path_of(name, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(settings):
        figure = Figure(layout="constrained")
        draw(figure, data, theme, narrow=narrow)
        facts = {"Title": name, "Identifier": digest(name, data), "Date": None, "Creator": None}
        figure.savefig(path, transparent=True, metadata=facts)
    path.write_text(trimmed(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def trimmed(svg: str) -> str:
    """The same without what only costs room: indents, comments, names of groups, more than hundredths of a point."""
    # The reader's own sans-serif; matplotlib names the one that it has measured.
    svg = re.sub(r"'DejaVu Sans'(, sans-serif)?", "sans-serif", svg)
    svg = re.sub(r"<!--.*?-->|(?<=<g) id=\"\w+\"", "", svg)
    svg = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), svg)
    return "\n".join(line for line in map(str.strip, svg.splitlines()) if line) + "\n"


def stale() -> Iterator[str]:
    """Which plots do not show what the figures say now, and why."""
    for name, (data_of, _) in KINDS.items():
        wanted = digest(name, data_of())
        for version in VERSIONS:
            path = path_of(name, version)
            if not path.exists():
                yield f"{path.name} is missing"
            elif DIGEST.findall(path.read_text(encoding="utf-8")) != [wanted]:
                yield f"{path.name} shows other figures than results/ has"


def main() -> int:
    """Write all plots, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a plot is not up to date")
    if parser.parse_args().check:
        complaints = list(stale())
        print("\n".join(complaints) or "all plots are up to date")
        return 1 if complaints else 0
    for name in KINDS:
        for version in VERSIONS:
            path = write(name, version)
            print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

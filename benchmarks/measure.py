"""What the benchmarks share: interleaved timing, figures, tables, result files and a loopback server.

The contenders of one comparison take turns in one process, one of each per round, so that whatever slows the machine
down slows all of them. Each round gives one ratio to the base, and the median of these ratios is what counts: it is
steadier than a ratio of two medians, let alone of figures from two runs.
"""

import argparse
import gc
import json
import platform
import random
import resource
import socket
import statistics
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, Self, TypeVar

Result = TypeVar("Result")
Call = TypeVar("Call")

BASE = "stdlib"
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("safeconnect", "urllib3", "httpcore")
# Closed with this, a connection is reset and nothing stays behind in TIME_WAIT, which would take up a source port.
LINGER_0 = struct.pack("ii", 1, 0)


def turns(
    calls: Mapping[str, Call], times: Mapping[str, list[float]], rounds: int, warm_up: int
) -> Iterator[tuple[Call, list[float]]]:
    """Whose turn it is, and the list for its seconds; for the warm-up that is a list which nobody reads.

    Each round has an order of its own. In a fixed one every contender would always find the processor's caches as the
    same neighbour left them, and that was worth 3 %: the same function, listed twice, came out as two speeds.
    """
    order = random.Random(0)
    contenders = [(call, times[name]) for name, call in calls.items()]
    gc.collect()
    gc.disable()
    try:
        for number in range(-warm_up, rounds):
            order.shuffle(contenders)
            for call, taken in contenders:
                yield call, taken if number >= 0 else []
    finally:
        gc.enable()


def interleave(
    calls: Mapping[str, Callable[[], Result]],
    after: Callable[[Result], object],
    rounds: int,
    warm_up: int,
) -> dict[str, list[float]]:
    """Seconds that each call took, round by round; ``after`` disposes of the results outside of the timed part."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call, taken in turns(calls, times, rounds, warm_up):
        began = perf_counter()
        result = call()
        seconds = perf_counter() - began
        after(result)
        taken.append(seconds)
    return times


def figures(times: Mapping[str, Sequence[float]], base: str = BASE) -> dict[str, dict[str, float]]:
    """Median, 90th percentile and mean in microseconds, and the median of the ratios to the base, round by round.

    The mean leaves out the slowest hundredth, which is the machine's doing. It tells what the median hides: work that
    is done at some calls only, such as safeconnect's draw of its next 64 windows.
    """
    means = {name: statistics.fmean(sorted(taken)[: -(len(taken) // 100) or None]) for name, taken in times.items()}
    return {
        name: {
            "median_us": round(statistics.median(taken) * 1e6, 2),
            "p90_us": round(statistics.quantiles(taken, n=10)[-1] * 1e6, 2),
            "mean_us": round(means[name] * 1e6, 2),
            **ratios(taken, times[base]),
            "mean_ratio": round(means[name] / means[base], 3),
        }
        for name, taken in times.items()
    }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The median of the rounds' ratios, and its spread: the lowest and highest of the medians of the run's tenths."""
    each = [mine / its for mine, its in zip(ours, theirs, strict=True)]
    size = max(len(each) // 10, 1)
    parts = [statistics.median(each[start : start + size]) for start in range(0, len(each) - size + 1, size)]
    return {
        "ratio": round(statistics.median(each), 3),
        "lowest_ratio": round(min(parts), 3),
        "highest_ratio": round(max(parts), 3),
    }


def spread(figure: Mapping[str, float]) -> str:
    """Between which medians the tenths of a run lie."""
    return f"{figure['lowest_ratio']:.2f}-{figure['highest_ratio']:.2f}"


def target(text: str, *, met: bool) -> dict[str, object]:
    """A line for the list of targets, as `report` prints and writes it."""
    return {"target": text, "met": met}


def row(name: str, figure: dict[str, float]) -> tuple[object, ...]:
    """A contender's line in a table: its times, and its ratios to the base."""
    times = figure["median_us"], figure["p90_us"], figure["mean_us"]
    return name, *times, f"{figure['ratio']:.3f} ({spread(figure)})", f"{figure['mean_ratio']:.3f}"


def show(title: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: with rich where it is installed, else in plain columns."""
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    try:
        from rich.console import Console  # the one dependency of the tables, and only for their looks
        from rich.table import Table
    except ImportError:
        _show_plain(title, [list(headers), *cells])
        return
    table = Table(title=title, title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _show_plain(title: str, rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\n{title}")
    for first, *others in rows:
        print(first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)))


class Arguments(argparse.ArgumentParser):
    """The options that every benchmark has; ``quick`` are the rounds with ``--quick``, None: it cannot be shortened."""

    def __init__(self, description: str | None, rounds: int, quick: int | None) -> None:
        super().__init__(description=(description or "").partition("\n")[0])
        self.quick = quick
        self.add_argument("--rounds", type=int, help=f"measurements of each kind (default {rounds})")
        self.add_argument("--json", type=Path, metavar="PATH", help="where to write the figures (default in results/)")
        self.add_argument("--quick", action="store_true", help="a short run, whose figures are not kept")
        self.set_defaults(rounds=rounds)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, rest = super().parse_known_args(args, namespace)
        if options.quick and self.quick is None:
            print("left out: it cannot be shortened")
            self.exit()
        if options.quick and options.rounds == self.get_default("rounds"):
            options.rounds = self.quick
        return options, rest


def arguments(description: str | None, rounds: int, quick: int | None = 0) -> Arguments:
    """The options that every benchmark has; a quick run has a fortieth of the rounds, where nothing else is said."""
    return Arguments(description, rounds, max(rounds // 40, 2) if quick == 0 else quick)


def path_of(name: str) -> Path:
    """Where the figures of a benchmark lie, for this version of Python."""
    return RESULTS / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}.json"


def written(
    name: str,
    options: argparse.Namespace,
    results: object,
    targets: Sequence[Mapping[str, object]],
    packages: Sequence[str] = PACKAGES,
) -> dict[str, Any]:
    """What is written down of a run."""
    return {
        "benchmark": name,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": options.rounds,
        "packages": {package: version for package in packages if (version := _version(package))},
        "targets": list(targets),
        "results": results,
    }


def report(
    name: str,
    options: argparse.Namespace,
    results: object,
    targets: Sequence[Mapping[str, object]],
    packages: Sequence[str] = PACKAGES,
) -> None:
    """Print which targets were met and write everything down as JSON; of a quick run only where that is asked for."""
    for line in targets:
        print(f"{'met   ' if line['met'] else 'MISSED'}  {line['target']}")
    path = options.json or (None if options.quick else path_of(name))
    if path is None:
        return
    if path.is_dir():
        path /= path_of(name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(written(name, options, results, targets, packages), indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"written to {path}\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # not installed, or found by PYTHONPATH
        return getattr(sys.modules.get(package), "__version__", None)


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as it may have, and say how many these are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Server:
    """A listener that takes each connection right after it was timed, in the same thread, and resets it.

    A server thread or process would compete with the timed calls for the processor; a connection to a listener is
    complete before it is accepted, so none is needed.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        self.family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.socket = socket.socket(self.family)
        self.socket.bind(sockaddr)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)  # accepted sockets inherit it
        self.socket.listen(16)
        self.port: int = self.socket.getsockname()[1]

    def drop(self, sock: socket.socket) -> None:
        """Accept the connection that ``sock`` has made, and reset it from both ends."""
        accepted, _ = self.socket.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        sock.close()
        accepted.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

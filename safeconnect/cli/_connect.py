"""``safeconnect connect``."""

from __future__ import annotations

import socket
import statistics
from collections import Counter
from dataclasses import asdict
from time import perf_counter

from .. import close_gracefully, reset, tcp_info
from .._connect.blocking import create_connection
from .._connect.names import look_up_in_time
from .._host.holders import in_the_way
from .._sockets import port_window
from .._sockets.endpoint import written
from .._sockets.resolve import Question
from ..events import Connected, Start
from . import FAILED, INTERRUPTED, TIMED_OUT
from ._console import Console
from ._timeline import duration, lines, spans

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from .._inspect.tcp_info import TcpInfo
    from ._targets import Target
    from ._timeline import Moment, Span

_ROOM = 24  # columns for the bars, between an address on the left and an outcome on the right
_CLOSING = 1.0  # seconds that the peer has to end its side as well
_PERCENTILES = (50, 90, 99)


class _Race:
    """One connect, observed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._moments: list[Moment] = []
        self._began = perf_counter()
        self.sock: socket.socket | None = None
        self.error: OSError | None = None
        try:
            self.sock = create_connection(
                arguments.target,
                arguments.timeout,
                happy_eyeballs_delay=arguments.happy_eyeballs_delay,
                family=arguments.family,
                trace=lambda message: self._moments.append((perf_counter() - self._began, message)),
            )
        except OSError as error:
            self.error = error
        self.seconds = perf_counter() - self._began
        self.notes = [] if self.error is None else [*getattr(self.error, "__notes__", ()), *self._in_the_way()]
        self.spans = spans(self._moments, self.seconds)

    def _in_the_way(self) -> Iterator[str]:
        """What keeps a server from the port, where that is one of this host."""
        return map(
            str, in_the_way({message.candidate[4] for _, message in self._moments if isinstance(message, Start)})
        )

    @property
    def ends(self) -> tuple[object, object] | None:
        """The two ends of the connection, as they were: the peer may have reset it by now."""
        if self.sock is None:
            return None
        found = (message for _, message in reversed(self._moments) if isinstance(message, Connected))
        return next((message.local, message.peer) for message in found)


def run(arguments: argparse.Namespace) -> int:
    """Connect once, or many times, and tell."""
    console = Console()
    with socket.socket() as unused:
        # The first of a process reads the kernel's range, and is not to be timed.
        port_window.choose(unused, arguments.target)
    return _measure(arguments, console) if arguments.repeat else _show(arguments, console)


def _show(arguments: argparse.Namespace, console: Console) -> int:
    race = _Race(arguments)
    status = 0 if race.error is None else _status(race.error)
    info = _info(race.sock)
    if arguments.json:
        console.data.json(_as_dict(arguments, race, info, status))
    else:
        for line in lines(race.spans, _ROOM):
            console.data.line(*line)
        _tell(console, race, info)
    if race.sock is not None:
        ended = close_gracefully(race.sock, timeout=_CLOSING)
        if not arguments.json:
            console.data.line(f"ended: {ended.how}" + (f", {ended.dropped:,} bytes not read" if ended.dropped else ""))
    return status


def _tell(console: Console, race: _Race, info: TcpInfo | None) -> None:
    if race.error is not None:
        console.data.line(("not connected", "red"), f" after {duration(race.seconds)}: {race.error}")
        for note in race.notes:
            console.data.line(f"  {note}")
    if race.ends is not None:
        local, peer = map(written, race.ends)
        console.data.line(("connected", "green"), f" after {duration(race.seconds)}, {local} to {peer}")
    if info is not None:
        told = {name.replace("_", " "): value for name, value in asdict(info).items() if value is not None}
        width = max(map(len, told))
        for name, value in told.items():
            console.data.line(f"  {name:<{width}}  {duration(value) if isinstance(value, float) else value}")


def _info(sock: socket.socket | None) -> TcpInfo | None:
    """What the kernel knows of the connection; None where there is none, or the platform does not tell."""
    if sock is None:
        return None
    try:
        return tcp_info(sock)
    except OSError:
        return None


def _as_dict(arguments: argparse.Namespace, race: _Race, info: TcpInfo | None, status: int) -> dict[str, object]:
    ends = race.ends
    return {
        "target": str(arguments.target),
        "connected": race.error is None,
        "seconds": round(race.seconds, 6),
        "local": written(ends[0]) if ends else None,
        "peer": written(ends[1]) if ends else None,
        "error": None if race.error is None else str(race.error),
        "notes": race.notes,
        "race": [_span_as_dict(span) for span in race.spans],
        "tcp_info": None if info is None else asdict(info),
        "exit_status": status,
    }


def _span_as_dict(span: Span) -> dict[str, object]:
    return {
        "what": span.label,
        "began_seconds": round(span.began, 6),
        "ended_seconds": round(span.ended, 6),
        "outcome": span.outcome,
        "kind": span.kind,
    }


def _status(error: OSError) -> int:
    return TIMED_OUT if isinstance(error, TimeoutError) else FAILED


def _measure(arguments: argparse.Namespace, console: Console) -> int:
    """Connect many times, one after another; each connection is reset at once, so that none takes up a port."""
    times: list[float] = []
    failures: Counter[str] = Counter()
    status = 0
    try:
        with console.messages.progress(f"connecting to {arguments.target}", arguments.repeat) as advance:
            for _ in range(arguments.repeat):
                began = perf_counter()
                try:
                    sock = create_connection(
                        arguments.target,
                        arguments.timeout,
                        happy_eyeballs_delay=arguments.happy_eyeballs_delay,
                        family=arguments.family,
                    )
                except OSError as error:
                    failures[str(error)] += 1
                    status = status or _status(error)
                else:
                    times.append(perf_counter() - began)
                    reset(sock)
                advance()
    except KeyboardInterrupt:
        status = INTERRUPTED  # what there is so far is told, as ping(8) does
    _tell_figures(arguments, console, times, failures, status)
    return status


def _tell_figures(
    arguments: argparse.Namespace,
    console: Console,
    times: Sequence[float],
    failures: Counter[str],
    status: int,
) -> None:
    figures = _figures(times)
    notes = _in_the_way(arguments.target) if failures else []
    if arguments.json:
        written_figures = {f"{name}_seconds": round(value, 9) for name, value in figures.items()}
        tried = len(times) + failures.total()
        result = {"target": str(arguments.target), "times": tried, "connected": len(times)}
        console.data.json(
            {**result, **written_figures, "failures": dict(failures), "notes": notes, "exit_status": status}
        )
        return
    console.data.line(f"{arguments.target}: {len(times):,} of {len(times) + failures.total():,} connected")
    if figures:
        console.data.table(list(figures), [[duration(value) for value in figures.values()]], right=range(len(figures)))
    for text, number in failures.most_common():
        console.data.line((f"{number:,} x ", "red"), text)
    for note in notes:
        console.data.line(f"  {note}")


def _in_the_way(target: Target) -> list[str]:
    """What keeps a server from the target's port, where that is one of this host."""
    try:
        found = look_up_in_time(Question(tuple(target)), _CLOSING)
    except (OSError, UnicodeError):
        return []
    return list(map(str, in_the_way({candidate[4] for candidate in found})))


def _figures(times: Sequence[float]) -> dict[str, float]:
    if not times:
        return {}
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    percentiles = {f"p{percent}": cuts[percent - 1] for percent in _PERCENTILES}
    return {"min": min(times), **percentiles, "max": max(times), "mean": statistics.fmean(times)}

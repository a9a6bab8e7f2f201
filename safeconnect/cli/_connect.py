"""``safeconnect connect``: connect once and show the race of the addresses, or many times and print percentiles."""

from __future__ import annotations

import socket
import statistics
from collections import Counter
from dataclasses import asdict, fields
from time import perf_counter

from .. import close_gracefully, reset, tcp_info
from .._connect.blocking import create_connection
from .._connect.names import look_up_in_time
from .._connect.story import Span, spans
from .._host.holders import in_the_way
from .._sockets import port_window
from .._sockets.answers import Question
from .._sockets.endpoint import written
from .._text import duration
from ..events import Connected, Start
from . import FAILED, INTERRUPTED, TIMED_OUT
from ._console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from .._connect.story import Moment
    from .._inspect.tcp_info import TcpInfo
    from ..typing import Event, Order, SockAddr
    from ._console import Line, Stream

_BAR_WIDTH, _LEAST_BAR_WIDTH = 24, 8  # columns
_LEAST_OUTCOME = 20  # columns beside a bar
_TIMEOUT = 1.0  # seconds for the peer to end its side, and for another lookup
_STYLES = {"won": "green", "lost": "red", "left": "yellow", "looked up": "cyan"}


def run(arguments: argparse.Namespace) -> int:
    """Connect once, or many times, and print the result."""
    console = Console()
    with socket.socket() as unused:
        # The first connect of a process reads the kernel's range. Do that now, outside the measured time.
        port_window.choose(unused, arguments.target)
    return _connect_often(arguments, console) if arguments.repeat else _connect_once(arguments, console)


def _connect(arguments: argparse.Namespace, trace: Callable[[Event | Order], object] | None = None) -> socket.socket:
    delay = arguments.happy_eyeballs_delay
    return create_connection(
        arguments.target, arguments.timeout, happy_eyeballs_delay=delay, family=arguments.family, trace=trace
    )


def _status(error: OSError) -> int:
    return TIMED_OUT if isinstance(error, TimeoutError) else FAILED


# Once


def _connect_once(arguments: argparse.Namespace, console: Console) -> int:
    moments: list[Moment] = []
    sock: socket.socket | None = None
    error: OSError | None = None
    began = perf_counter()
    try:
        sock = _connect(arguments, lambda message: moments.append((perf_counter() - began, message)))
    except OSError as failure:
        error = failure
    seconds = perf_counter() - began
    tried = {message.candidate[4] for _, message in moments if isinstance(message, Start)}
    notes = [] if error is None else [*getattr(error, "__notes__", ()), *map(str, in_the_way(tried))]
    race = spans(moments, seconds)
    # The peer may have reset the connection by now, so its ends are those of the event.
    connected = [message for _, message in moments if isinstance(message, Connected)][-1:] if sock else []
    ends = [written(end) for each in connected for end in (each.local, each.peer)]
    info = _info(sock) if sock else None
    status = 0 if error is None else _status(error)
    if arguments.json:
        local, peer = ends or (None, None)
        console.data.json(
            {
                "target": str(arguments.target),
                "connected": error is None,
                "seconds": round(seconds, 6),
                "local": local,
                "peer": peer,
                "error": None if error is None else str(error),
                "notes": notes,
                "race": [span.as_dict() for span in race],
                "tcp_info": None if info is None else _info_as_dict(info),
                "exit_status": status,
            }
        )
    else:
        _draw(race, console.data)
        if ends:
            console.data.line(("connected", "green"), f" after {duration(seconds)}, {' to '.join(ends)}")
        else:
            console.data.line(("not connected", "red"), f" after {duration(seconds)}: {error}")
        drawn = tuple(f"{span.label}: " for span in race)  # with what became of each
        for line in [*(note for note in notes if not note.startswith(drawn)), *_info_lines(info)]:
            console.data.line(f"  {line}")
    if sock is not None:
        ended = close_gracefully(sock, timeout=_TIMEOUT)
        if not arguments.json:
            console.data.line(f"ended: {ended.how}" + (f", {ended.dropped:,} bytes not read" if ended.dropped else ""))
    return status


def _info(sock: socket.socket) -> TcpInfo | None:
    try:
        return tcp_info(sock)
    except OSError:  # the platform does not tell
        return None


def _info_lines(info: TcpInfo | None) -> list[str]:
    facts = {} if info is None else asdict(info)
    told = {name.replace("_", " "): value for name, value in facts.items() if value is not None}
    width = max(map(len, told), default=0)
    return [f"{name:<{width}}  {duration(v) if isinstance(v, float) else v}" for name, v in told.items()]


def _info_as_dict(info: TcpInfo) -> dict[str, object]:
    """Return the fields with their units in the keys."""
    units = {"unsent": "_bytes"} | {each.name: "_seconds" for each in fields(info) if "float" in str(each.type)}
    return {name + units.get(name, ""): value for name, value in asdict(info).items()}


def _draw(race: Sequence[Span], data: Stream) -> None:
    """Draw the race; in a narrow terminal with shorter bars, so that the outcomes are beside them, or without any."""
    names = _longest(span.label for span in race)
    width = _BAR_WIDTH
    if data.columns is not None:
        room = data.columns - names - len(" ││ ")
        width = min(width, max(room - _longest(span.outcome for span in race) - len(", 0.123 ms"), _LEAST_BAR_WIDTH))
        width = width if room - width >= _LEAST_OUTCOME else 0
    for line in lines(race, width):
        data.line(*line, keep=names + (width + len(" ││ ") if width else 2))


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def lines(found: Sequence[Span], width: int) -> list[Line]:
    """Return a line with a bar for each span, and a last one with the scale.

    :param width: the columns of a bar; 0 for neither bars nor a scale.
    """
    total = max((span.ended for span in found), default=0.0)
    names = _longest(span.label for span in found)
    if not width:
        return [[f"{span.label:<{names}}  {span.outcome}, {duration(span.ended - span.began)}"] for span in found]
    drawn: list[Line] = []
    for span in found:
        begin, end = (round(width * at / total) if total else 0 for at in (span.began, span.ended))
        bar = " " * min(begin, width - 1) + "━" * max(end - begin, 1)
        outcome = f"{span.outcome}, {duration(span.ended - span.began)}"
        drawn.append([f"{span.label:<{names}} │", (f"{bar:<{width}}", _STYLES[span.kind]), f"│ {outcome}"])
    drawn.append([f"{'':<{names}} 0{duration(total):>{width + 1}}"])
    return drawn


# Many times


def _connect_often(arguments: argparse.Namespace, console: Console) -> int:
    """Connect many times, one after another; reset each connection at once, so that none takes up a port."""
    times: list[float] = []
    failures: Counter[str] = Counter()
    status = 0
    try:
        with console.messages.progress(f"connecting to {arguments.target}", arguments.repeat) as advance:
            for _ in range(arguments.repeat):
                began = perf_counter()
                try:
                    sock = _connect(arguments)
                except OSError as error:
                    failures[str(error)] += 1
                    status = status or _status(error)
                else:
                    times.append(perf_counter() - began)
                    reset(sock)
                advance()
    except KeyboardInterrupt:
        status = INTERRUPTED  # print the figures so far, as ping(8) does
    tried = len(times) + failures.total()
    figures = _figures(times)
    notes = list(map(str, in_the_way(_addresses(arguments.target)))) if failures else []
    if arguments.json:
        result = {"target": str(arguments.target), "tries": tried, "connected": len(times)}
        rounded = {f"{name}_seconds": round(value, 9) for name, value in figures.items()}
        console.data.json({**result, **rounded, "failures": dict(failures), "notes": notes, "exit_status": status})
        return status
    console.data.line(f"{arguments.target}: {len(times):,} of {tried:,} connected")
    if figures:
        console.data.table(list(figures), [list(map(duration, figures.values()))], right=range(len(figures)))
    for text, number in failures.most_common():
        console.data.line((f"{number:,} x ", "red"), text)
    for note in notes:
        console.data.line(f"  {note}")
    return status


def _addresses(target: tuple[str, int]) -> set[SockAddr]:
    try:
        return {candidate[4] for candidate in look_up_in_time(Question(tuple(target)), _TIMEOUT)}
    except (OSError, UnicodeError):
        return set()


def _figures(times: Sequence[float]) -> dict[str, float]:
    if not times:
        return {}
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    percentiles = {f"p{percent}": cuts[percent - 1] for percent in (50, 90, 99)}
    return {"min": min(times), **percentiles, "max": max(times), "mean": statistics.fmean(times)}

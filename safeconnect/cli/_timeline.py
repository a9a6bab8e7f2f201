"""A race as bars in time: from the events and orders of one connect, each with its moment, to lines of text.

Pure: moments are seconds from the beginning, and nothing is printed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._connect.order import without_duplicates
from .._sockets.endpoint import same_endpoint, written
from ..events import Abandon, Connected, Failed, Keep, Resolve, Resolved, ResolveFailed, Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..typing import Event, Order
    from ._console import Line

    Moment = tuple[float, Event | Order]

_GOING = "unanswered when it was over"
_OVERTAKEN = "given up: another was faster"
_LOOKUPS = {"both": "lookup", "A": "lookup of IPv4", "AAAA": "lookup of IPv6"}
_STYLES = {"won": "green", "lost": "red", "left": "yellow", "looked up": "cyan"}


@dataclass(slots=True)
class Span:
    """Something that took time: a lookup, or an attempt on one address.

    :ivar kind: ``"looked up"``, ``"won"``, ``"lost"``, or ``"left"`` where it was given up without an answer.
    """

    label: str
    began: float
    ended: float
    outcome: str = _GOING
    kind: str = "left"

    def end(self, now: float, outcome: str, kind: str) -> None:
        """It has ended so."""
        self.ended, self.outcome, self.kind = now, outcome, kind


def spans(moments: Iterable[Moment], end: float) -> list[Span]:
    """What took time, in the order in which it began.

    :param end: when it was over: so long took what has no end of its own.
    """
    found: dict[object, Span] = {}
    for now, message in moments:
        if isinstance(message, Resolve):
            found[message.lookup] = Span(_LOOKUPS[message.lookup], now, end)
        elif isinstance(message, Start):
            found[message.attempt] = Span(written(message.candidate[4]), now, end)
        elif isinstance(message, Resolved):
            number = len(without_duplicates(message.candidates, {}))
            found[message.lookup].end(now, f"{number} {'address' if number == 1 else 'addresses'}", "looked up")
        elif isinstance(message, ResolveFailed):
            found[message.lookup].end(now, str(message.error), "lost")
        elif isinstance(message, (Connected, Failed, Abandon, Keep)):
            _end_attempt(found[message.attempt], now, message)
    if any(span.kind == "won" for span in found.values()):
        for span in found.values():
            span.outcome = _OVERTAKEN if span.outcome == _GOING else span.outcome
    return list(found.values())


def _end_attempt(span: Span, now: float, message: Connected | Failed | Abandon | Keep) -> None:
    if isinstance(message, Failed):
        span.end(now, str(message.error) or type(message.error).__name__, "lost")
    elif isinstance(message, Connected):
        if same_endpoint(message.local, message.peer):
            span.end(now, "met itself", "lost")
        else:
            span.end(now, f"connected from {written(message.local)}", "left")
    elif isinstance(message, Keep):
        span.kind = "won"
    elif span.outcome == _GOING:
        span.ended = now


def duration(seconds: float) -> str:
    """A time with the unit that suits it; a connect on one host takes some microseconds."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def lines(found: Sequence[Span], room: int) -> list[Line]:
    """One line for each, with a bar of the time that it took; and one with the scale.

    :param room: how many columns the bars have.
    """
    total = max((span.ended for span in found), default=0.0)
    names = max((len(span.label) for span in found), default=0)
    drawn: list[Line] = []
    for span in found:
        begin, end = (round(room * at / total) if total else 0 for at in (span.began, span.ended))
        bar = " " * min(begin, room - 1) + "━" * max(end - begin, 1)
        outcome = f"{span.outcome}, {duration(span.ended - span.began)}"
        drawn.append([f"{span.label:<{names}} │", (f"{bar:<{room}}", _STYLES[span.kind]), f"│ {outcome}"])
    scale = duration(total)
    drawn.append([f"{'':<{names}} 0{scale:>{room + 1}}"])
    return drawn

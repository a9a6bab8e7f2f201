"""The story of a connect, made of the events and orders of its trace: what was tried, when, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from .._sockets.endpoint import same_endpoint, written
from ..events import Abandon, Connected, Failed, Keep, Resolve, Resolved, ResolveFailed, Start
from .order import without_duplicates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..typing import Event, Order

    Moment = tuple[float, Event | Order]  # seconds since the connect began

_GOING = "unanswered when it was over"
_REPLACED = "unanswered, and replaced by another"
_OVERTAKEN = "given up: another was faster"
_LOOKUPS = {"both": "lookup", "A": "lookup of IPv4", "AAAA": "lookup of IPv6"}


@dataclass(slots=True)
class Span:
    """A lookup or an attempt on one address, with its time.

    :ivar kind: ``"looked up"``, ``"won"``, ``"lost"``, or ``"left"`` if it was given up without an answer.
    """

    label: str
    began: float
    ended: float
    outcome: str = _GOING
    kind: str = "left"

    def end(self, now: float, outcome: str, kind: str) -> None:
        """Set how and when it ended."""
        self.ended, self.outcome, self.kind = now, outcome, kind

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        began, ended = round(self.began, 6), round(self.ended, 6)
        what, outcome, kind = self.label, self.outcome, self.kind
        return {"what": what, "began_seconds": began, "ended_seconds": ended, "outcome": outcome, "kind": kind}


def spans(moments: Iterable[Moment], end: float) -> list[Span]:
    """Return the lookups and attempts of one connect, in the order in which they began.

    :param moments: its events and orders.
    :param end: when the connect was over, which ends whatever has no end of its own.
    """
    found: list[Span] = []
    latest: dict[object, Span] = {}  # a retry looks the name up again
    for now, message in moments:
        if isinstance(message, Resolve):
            latest[message.lookup] = Span(_LOOKUPS[message.lookup], now, end)
            found.append(latest[message.lookup])
        elif isinstance(message, Start):
            second = "" if message.beside is None else ", second attempt"
            latest[message.attempt] = Span(written(message.candidate[4]) + second, now, end)
            found.append(latest[message.attempt])
        elif isinstance(message, Resolved):
            number = len(without_duplicates(message.candidates, {}))
            latest[message.lookup].end(now, f"{number} {'address' if number == 1 else 'addresses'}", "looked up")
        elif isinstance(message, ResolveFailed):
            latest[message.lookup].end(now, str(message.error), "lost")
        elif isinstance(message, (Connected, Failed, Abandon, Keep)):
            _end_attempt(latest[message.attempt], now, message)
    if any(span.kind == "won" for span in found):
        for span in found:
            span.outcome = _OVERTAKEN if span.outcome == _GOING else span.outcome
    return found


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
        span.end(now, _REPLACED if isinstance(message, Abandon) and message.replaced else _GOING, "left")

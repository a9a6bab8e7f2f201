"""The error of a connect that failed: which one to raise, and the notes that tell what was tried."""

from __future__ import annotations

import errno

from .._sockets.endpoint import printable, written
from .._text import duration
from ..errors import SelfConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import SockAddr

    # Where to, what happened, after how many seconds.
    Outcome = tuple[SockAddr, OSError, float]

# The more an error says about the target, the higher it ranks; anything not named is a matter of local set-up.
_ANSWER, _SILENCE, _NO_WAY, _LOCAL = 3, 2, 1, 0
_RANKS = {
    errno.ECONNREFUSED: _ANSWER,
    errno.ECONNRESET: _ANSWER,
    errno.ETIMEDOUT: _SILENCE,
    errno.ENETUNREACH: _NO_WAY,
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETDOWN: _NO_WAY,
}

_MOST_UNTRIED = 8  # addresses in one note


def rank(error: OSError) -> int:
    """Rank an error by how much it says about the target: an answer, silence, no way there, local set-up."""
    if error.errno is None:
        return _SILENCE if isinstance(error, TimeoutError) else _LOCAL
    return _RANKS.get(error.errno, _LOCAL)


def chosen(outcomes: Sequence[Outcome]) -> OSError:
    """Choose the error to raise: the highest rank, and the last among equals, as in the standard library."""
    if len(outcomes) == 1:
        return outcomes[0][1]
    return max(reversed(outcomes), key=lambda outcome: rank(outcome[1]))[1]


def conclude(
    outcomes: Sequence[Outcome],
    source: object,
    all_errors: bool,
    error: OSError | None = None,
    untried: Sequence[SockAddr] = (),
) -> OSError | ExceptionGroup[OSError]:
    """Return the error to raise, with notes on what was tried.

    :param error: the one to raise; left out, it is chosen among the outcomes.
    :param all_errors: an `ExceptionGroup` instead, with the last error of each address.
    :param untried: the addresses that were never tried, for a note of their own.
    """
    if all_errors and outcomes:
        last = {outcome[0]: outcome for outcome in outcomes}
        for outcome in last.values():
            _tell(outcome[1], [each for each in outcomes if each[0] == outcome[0]], source)
        group = ExceptionGroup("create_connection failed", [outcome[1] for outcome in last.values()])
        _tell_untried(group, untried)
        return group
    error = error or chosen(outcomes)
    _tell(error, outcomes, source)
    _tell_untried(error, untried)
    return error


def _tell(error: OSError, outcomes: Sequence[Outcome], source: object) -> None:
    """Add a line for each address and kind of error, in the order in which they first happened.

    A line that is the only one does not repeat what the error says.
    """
    start = f" from {written(source)}" if source else ""
    if len(outcomes) == 1 and outcomes[0][1] is error:  # most often; what follows would say the same
        target, _, seconds = outcomes[0]
        error.add_note(f"{written(target)}{start}: failed after {duration(seconds)}")
        return
    alike: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault((outcome[0], type(outcome[1]), outcome[1].errno), []).append(outcome)
    is_alone = len(alike) == 1
    for group in alike.values():
        target, what, seconds = group[-1]
        where = written(target)
        told = str(what)
        # A user-supplied resolver may say anything.
        told = "failed" if is_alone and told == str(error) else printable(told.replace(_nobody_listens(where), ""))
        count = f" ({len(group)} times)" if len(group) > 1 else ""
        error.add_note(f"{where}{start}: {told} after {duration(seconds)}{count}")


def _tell_untried(error: Exception, untried: Sequence[SockAddr]) -> None:
    if untried:
        more = f" and {len(untried) - _MOST_UNTRIED} more" if len(untried) > _MOST_UNTRIED else ""
        error.add_note(f"not tried: {', '.join(map(written, untried[:_MOST_UNTRIED]))}{more}")


def self_connect_error(target: SockAddr, count: int) -> SelfConnectError:
    """Make the error for a candidate whose every connection was a self-connect."""
    why = f"{count} of {count} tries" if count > 1 else "its source address is the target"
    text = f"{_nobody_listens(written(target))}the socket connected to itself ({why})"
    return SelfConnectError(errno.ECONNREFUSED, text)


def _nobody_listens(where: str) -> str:
    return f"nobody listens on {where}: "


def late_handshake(host: object, port: object) -> TimeoutError:
    """Make the error for a TLS handshake that was not done in time."""
    return timed_out(f"during the TLS handshake with {host!r}, port {port!r}")


def timed_out(*told: str) -> TimeoutError:
    """Make the error for a deadline that has passed, with notes on what took the time."""
    error = TimeoutError("timed out")
    for note in told:
        error.add_note(note)
    return error

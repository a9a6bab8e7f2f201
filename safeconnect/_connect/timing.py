"""When things are due in a dial: the end of a share of the time, the end of a pause, a second attempt."""

from __future__ import annotations

from dataclasses import dataclass

from .._sockets.endpoint import written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..typing import SockAddr

SHORTEST_DELAY = 0.010  # also the shortest share of the time
LAST_ROUND = 0.1  # the time that the last round has at least
CUT_SPREAD = 0.1

# Chance moves a second attempt by a twentieth of the delay to either side. Its mean is the delay itself, so that there
# is no more than one SYN in that time. And the latest is early enough for a client to be in within 1.1 s.
SILENCE_SPREAD = 0.1
# When the kernel sends a SYN again, in seconds after the first one. This is what RFC 6298 asks for, and what is assumed
# where the kernel does not say: if it does better, a second attempt comes sooner than it has to.
DOUBLING = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0)
_MOST_TOLD = 8  # addresses in one note


def partial_deadline(now: float, deadline: float, left: int) -> float:
    """Return when the first of ``left`` candidates must end: it gets an equal part of the time, 10 ms at least.

    Go's net.Dialer gives each 2 s at least, and what comes after is never tried where the deadline is short.
    """
    remaining = deadline - now
    share = max(remaining / left, SHORTEST_DELAY)
    return now + share if share < remaining else deadline


def end_of_pause(
    now: float, pause: float, deadline: float, took: float, draw: Callable[[], float]
) -> tuple[float | None, bool]:
    """Return when a pause ends, None if there is no time for another round; and True if it was cut.

    :param took: how long the last round took.
    """
    end = now + pause
    latest = deadline - took - LAST_ROUND
    if end > latest > now:
        return latest - (latest - now) * CUT_SPREAD * draw(), True
    return (end if end < deadline else None), False


@dataclass(frozen=True, slots=True)
class SecondAttempts:
    """When a silent address gets another attempt.

    :ivar delay: the longest time without a SYN, in seconds.
    :ivar syns: when the kernel sends the SYN of an attempt again, in seconds after the attempt began.
    """

    delay: float = 1.0
    syns: tuple[float, ...] = DOUBLING

    def due(self, now: float, draw: Callable[[], float]) -> float:
        """Return when the next attempt is due, if the latest one begins now: when its SYNs have become too rare."""
        last = 0.0
        for again in self.syns:
            if again - last > self.delay * (1 + SILENCE_SPREAD / 2):
                break
            last = again
        return now + last + self.delay * (1 + SILENCE_SPREAD * (draw() - 0.5))


def times_of_syns(linear: int) -> tuple[float, ...]:
    """Return when Linux sends a SYN again, by ``net.ipv4.tcp_syn_linear_timeouts``; 0 is what it did before 6.5.

    >>> times_of_syns(4)[:7]
    (1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 11.0)
    """
    return (*(float(second) for second in range(1, linear + 1)), *(linear + time for time in DOUBLING))


def second_attempts_note(counts: Mapping[SockAddr, int]) -> str:
    """Say how many second attempts there were, and at which addresses."""
    told = [f"{written(address)} ({count} time{'s' * (count > 1)})" for address, count in counts.items()]
    more = f" and {len(told) - _MOST_TOLD} more addresses" if len(told) > _MOST_TOLD else ""
    return f"second attempts, beside a first one without an answer: {', '.join(told[:_MOST_TOLD])}{more}"

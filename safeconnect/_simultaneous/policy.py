"""Meeting: when to try next, in a simultaneous open.

Two sides meet only while both are connecting. Where a refusal comes back at once, as on one host or between hosts
without a firewall, that is a matter of microseconds: so both try without a pause around the agreed instant. Whoever is
early or late by more than that goes on with short pauses, and meets the other's tight tries.

Behind a SYN filter (`syn_filter`) there is no such haste: whoever tries while this side pauses is not refused but
waits, and this side's next try meets it. Tries there are a few milliseconds apart, unless an answer takes longer than
that: then both SYNs must cross on their way, where a firewall refuses what it does not expect.

An error that this host makes by itself (no route, say) comes at once and says nothing of the other side. The pauses
grow from the first one on, whatever the time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long before and after the agreed instant to try without a pause, in seconds: what clocks may differ by.
EARLY = 0.1
TIGHT = 0.5
# The time from one try to the next behind a shield; the first ones are as close as the first pauses.
SPACING = 0.01
FIRST_PAUSE = 0.001
FACTOR = 1.5


class Meeting:
    """The tries of one side.

    :param at: the agreed instant, on the caller's clock.
    :param interval: the longest pause between two tries, in seconds.
    :param draw: gives a number of ``[0, 1)``: pauses of both sides must not keep step.
    :param shielded: whether the other side's tries are not refused while this side pauses.
    """

    def __init__(self, at: float, interval: float, draw: Callable[[], float], *, shielded: bool) -> None:
        self._at = at
        self._spacing = min(FIRST_PAUSE, interval) if shielded else 0.0
        self._pause = min(FIRST_PAUSE, interval)
        self._interval = interval
        self._draw = draw
        self.next_try = at - EARLY

    def failed(self, now: float, *, answered: bool) -> None:
        """A try has ended without a connection: `next_try` is when to make the next.

        :param answered: the error came from the other side, or from a firewall before it.
        """
        if answered and now < self._at + TIGHT:
            self.next_try = max(now, self.next_try + self._spacing)
            self._spacing = min(self._spacing * FACTOR, SPACING, self._interval)
            return
        self.next_try = now + self._pause * (0.5 + self._draw())
        self._pause = min(self._pause * FACTOR, self._interval)

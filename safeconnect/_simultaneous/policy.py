"""The policy of `simultaneous_open`: when to try next.

Two sides connect only if both are connecting at the same time. Where a refusal comes back at once, as on one host or
between hosts without a firewall, that is a matter of microseconds. So both try without a pause around the agreed
instant. A side whose clock is off by more goes on with short pauses, and then its tries fall among the dense tries of
the other.

Behind a SYN filter (`shared.open_syn_filter`) there is no such hurry: the other side's try is not refused while this
side pauses. It waits, and this side's next try connects to it. Such tries are a few milliseconds apart, unless an
answer takes longer than that. Then both SYNs must cross on their way, because a firewall refuses what it does not
expect.

An error that this host makes by itself (no route, say) comes at once and says nothing about the other side. After these
the pauses grow from the first one on.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long before and after the agreed instant to try without a pause, in seconds: how much clocks may differ.
EARLY = 0.1
TIGHT = 0.5
# The time from one try to the next behind a SYN filter; it begins at FIRST_PAUSE and grows to this.
SPACING = 0.01
FIRST_PAUSE = 0.001
FACTOR = 1.5


class Schedule:
    """The schedule of one side's tries.

    :param at: the agreed instant, on the caller's clock.
    :param interval: the longest pause between two tries, in seconds.
    :param draw: returns a number of ``[0, 1)``, so that the pauses of both sides do not keep step.
    :param filtered: True if there is a SYN filter: the other side's tries are not refused while this side pauses.
    """

    def __init__(self, at: float, interval: float, draw: Callable[[], float], *, filtered: bool) -> None:
        self._at = at
        self._spacing = min(FIRST_PAUSE, interval) if filtered else 0.0
        self._pause = min(FIRST_PAUSE, interval)
        self._interval = interval
        self._draw = draw
        self.next_try = at - EARLY

    def failed(self, now: float, *, answered: bool) -> None:
        """Take note that a try has failed, and set `next_try`.

        :param answered: True if the error came from the other side, or from a firewall in front of it.
        """
        if answered and now < self._at + TIGHT:
            self.next_try = max(now, self.next_try + self._spacing)
            self._spacing = min(self._spacing * FACTOR, SPACING, self._interval)
            return
        self.next_try = now + self._pause * (0.5 + self._draw())
        self._pause = min(self._pause * FACTOR, self._interval)

"""Meeting: when to try next, in a simultaneous open.

Two sides meet only while both are connecting. Where a refusal comes back at once, as on one host or between hosts
without a firewall, that is a matter of microseconds: so both try without a pause around the agreed instant. Whoever is
early or late by more than that goes on with short pauses, and meets the other's tight tries.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long before and after the agreed instant to try without a pause, in seconds: what clocks may differ by.
EARLY = 0.1
TIGHT = 0.5
FIRST_PAUSE = 0.001
FACTOR = 1.5


class Meeting:
    """The tries of one side.

    :param at: the agreed instant, on the caller's clock.
    :param interval: the longest pause between two tries, in seconds.
    :param draw: gives a number of ``[0, 1)``: pauses of both sides must not keep step.
    """

    def __init__(self, at: float, interval: float, draw: "Callable[[], float]") -> None:
        self._at = at
        self._pause = min(FIRST_PAUSE, interval)
        self._interval = interval
        self._draw = draw
        self.next_try = at - EARLY

    def failed(self, now: float) -> None:
        """A try has ended without a connection: `next_try` is when to make the next."""
        if now < self._at + TIGHT:
            self.next_try = now
            return
        self.next_try = now + self._pause * (0.5 + self._draw())
        self._pause = min(self._pause * FACTOR, self._interval)

"""An event that no interrupt can wedge."""

from __future__ import annotations

import threading
from contextlib import suppress


class Latch:
    """`threading.Event`, for what happens once.

    An Event has a lock in it that Python code takes: an exception from a signal handler can leave it taken, and then
    whoever sets the event or waits for it hangs. Here everybody who waits has a lock of their own.
    """

    __slots__ = ("__weakref__", "_gates", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._gates: list[threading.Lock] = []  # of those who wait, each held until it is set

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """It has happened: nobody waits any more. May be called again, and from a signal handler."""
        self._is_set = True
        for gate in tuple(self._gates):
            with suppress(RuntimeError):  # released already
                gate.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has happened, so long at most; says whether it has."""
        if self._is_set:
            return True
        gate = threading.Lock()
        gate.acquire()
        self._gates.append(gate)
        try:
            # It may have been set just before the gate was there to be released.
            if not self._is_set:
                gate.acquire(timeout=-1 if seconds is None else min(max(seconds, 0), threading.TIMEOUT_MAX))
        finally:
            self._gates.remove(gate)
        return self._is_set

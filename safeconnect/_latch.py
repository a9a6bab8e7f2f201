"""An event that an interrupt cannot leave locked."""

from __future__ import annotations

import threading
from contextlib import suppress


class Latch:
    """`threading.Event`, for what happens once.

    An Event has a lock inside that Python code takes: an exception from a signal handler can leave it taken, and then
    whoever sets the event or waits for it hangs. Here every waiter has a lock of its own, which it holds until the
    event is set.
    """

    __slots__ = ("__weakref__", "_gates", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._gates: list[threading.Lock] = []  # of those that wait

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all that wait, and let nobody wait any more. May be called again, and from a signal handler."""
        self._is_set = True
        for gate in tuple(self._gates):
            with suppress(RuntimeError):  # released already
                gate.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return True if it is."""
        if self._is_set:
            return True
        gate = threading.Lock()
        gate.acquire()
        self._gates.append(gate)
        try:
            # It may have been set just before the gate was there to be released.
            if not self._is_set:
                gate.acquire(timeout=-1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX))
        finally:
            self._gates.remove(gate)
        return self._is_set

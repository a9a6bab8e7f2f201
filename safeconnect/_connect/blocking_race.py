"""The blocking driver of a dial: it waits in the calling thread, with one selector for all attempts.

Only lookups take threads, and only if they could outlast the deadline or if the two families are looked up apart.

`selectors.PollSelector` and `time.sleep` are looked up at each call: gevent and eventlet replace them, and may do so
after this module was loaded.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from time import monotonic

from .._sockets.lifecycle import DEFAULT_TIMEOUT, handed_over
from .shared import Race, won

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import Candidate, Lookup
    from .settings import Settings
    from .shared import Outcome


def dial(
    settings: Settings,
    address: tuple[Any, ...],
    timeout: float | None,
    candidates: Sequence[Candidate] = (),
    *,
    began: float | None = None,
    first: socket.socket | OSError | None = None,
    first_began: float | None = None,
) -> socket.socket:
    """Connect by all the rules of the dial.

    :param candidates: the result of the host's first lookup, if it was made already.
    :param began: when the call began, on the monotonic clock.
    :param first: the socket or the error of the first candidate, if it was started already.
    :param first_began: when that was; None: just now.
    """
    if timeout is DEFAULT_TIMEOUT:
        timeout = socket.getdefaulttimeout()
    began = monotonic() if began is None else began
    race = _BlockingRace(settings, address, timeout, candidates, clock=monotonic, began=began)
    race.first, race.first_began, first = first, first_began, None
    try:
        sock = won(race.run())
    finally:
        race.close()
    return handed_over(sock, timeout)


class _BlockingRace(Race):
    """A dial whose sockets are watched by one selector."""

    _selector: selectors.BaseSelector | None = None
    _wakeup: tuple[socket.socket, socket.socket] | None = None  # written to by a lookup's thread

    def run(self) -> Outcome:
        while (outcome := self.step()) is None:
            self._wait()
        return outcome

    def close(self) -> None:
        super().close()
        for end in self._wakeup or ():
            end.close()
        if self._selector is not None:
            self._selector.close()

    def watch(self, number: int, sock: socket.socket) -> None:
        self._register(sock, selectors.EVENT_WRITE, number)

    def unwatch(self, number: int, sock: socket.socket) -> None:  # noqa: ARG002 - the other drivers need the number
        if self._selector is not None:
            with suppress(KeyError):  # an attempt that was done at once was never watched
                self._selector.unregister(sock)

    def looks_up_here(self) -> bool:
        return self.deadline is None or super().looks_up_here()

    def look_up_in_thread(self, lookup: Lookup) -> None:
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.settimeout(0)
            self._register(self._wakeup[0], selectors.EVENT_READ, None)
        super().look_up_in_thread(lookup)

    def notify(self) -> None:
        if self._wakeup is not None:
            with suppress(OSError):  # it is full, or the race was interrupted and is gone
                self._wakeup[1].send(b"!")

    def _wait(self) -> None:
        seconds = self.seconds_left()
        if self._selector is None or not self._selector.get_map():
            time.sleep(seconds or 0)  # a pause between two rounds
            return
        for key, _ in self._selector.select(seconds):
            if key.data is not None:
                self._selector.unregister(key.fileobj)
                self.finish(key.data)
            elif self._wakeup is not None:
                self._wakeup[0].recv(64)

    def _register(self, sock: socket.socket, events: int, data: int | None) -> None:
        if self._selector is None:
            self._selector = new_selector()
        self._selector.register(sock, events, data)


def new_selector() -> selectors.BaseSelector:
    """Return a selector, if possible of the kind that takes no descriptor of its own.

    Windows has only select(). There SelectSelector also looks at the third set, in which a failed connect is reported,
    and calls it writable (Lib/selectors.py).
    """
    return getattr(selectors, "PollSelector", selectors.SelectSelector)()

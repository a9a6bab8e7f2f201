"""A memory of earlier connects: which address of a host answered, and how fast."""

from __future__ import annotations

from collections.abc import Hashable

from .._fork import Guard
from .._lazy import publish

# RFC 8305, section 5: a delay drawn from history is at least 100 ms and at most 2 s.
_SHORTEST_DELAY = 0.1
_LONGEST_DELAY = 2.0
# A connection attempt takes one round trip; one that takes twice as long as the last will probably not answer soon.
_PATIENCE = 2.0


class ConnectMemory:
    """Remembers, for each host and port, which address answered last and how fast.

    Given to several connects or a `Connector`, the remembered address is tried first, and the time it took sets the
    attempt delay (twice that time, 0.1 s to 2 s), so that a dead first address costs its delay once and not on every
    connect. Thread-safe. A copy (`copy.copy`, `copy.deepcopy`, pickle) has the same settings and begins empty.

    :param size: how many hosts it holds, 1 or more; the one unused for longest is dropped.
    :param lifetime: after how many seconds an answer is forgotten.
    :raises TypeError: ``size`` is not an int, or ``lifetime`` not a number.
    :raises ValueError: ``size`` is below 1, or ``lifetime`` is not positive.

    >>> memory = ConnectMemory()
    >>> memory.remember(("db.internal", 5432), ("192.0.2.7", 5432), seconds=0.08, now=100.0)
    >>> memory.recall(("db.internal", 5432), now=160.0)
    (('192.0.2.7', 5432), 0.16)
    >>> memory.recall(("db.internal", 5432), now=800.0) is None
    True

    Source: RFC 8305, sections 4 (historical RTT data) and 5.
    """

    def __init__(self, size: int = 1024, lifetime: float = 600.0) -> None:
        if not isinstance(size, int):
            raise TypeError(f"size must be an int, not {type(size).__name__}")
        if not isinstance(lifetime, (int, float)):
            raise TypeError(f"lifetime must be a number of seconds, not {type(lifetime).__name__}")
        if size < 1:
            raise ValueError(f"size must be 1 or more, not {size!r}")
        if not lifetime > 0:
            raise ValueError(f"lifetime must be more than 0 seconds, not {lifetime!r}")
        self._size = size
        self._lifetime = lifetime
        self._guard = Guard()
        self._answers: dict[Hashable, tuple[tuple[object, ...], float, float]] = {}  # the last used is last

    def __reduce__(self) -> tuple[type[ConnectMemory], tuple[int, float]]:
        return type(self), (self._size, self._lifetime)

    def remember(self, host: Hashable, sockaddr: tuple[object, ...], seconds: float, now: float) -> None:
        """Note that this address of ``host`` answered at ``now``, after so many seconds."""
        with self._guard.lock:
            # Code that runs in between, such as a finalizer that connects, finds less remembered, and nothing wrong.
            self._answers.pop(host, None)
            self._answers[host] = (sockaddr, seconds, now)
            while len(self._answers) > self._size:
                self._answers.pop(next(iter(self._answers)), None)

    def recall(self, host: Hashable, now: float) -> tuple[tuple[object, ...], float] | None:
        """Return the address to try first and the attempt delay in seconds; None if nothing recent is known."""
        with self._guard.lock:
            answer = self._answers.pop(host, None)
            if answer is None:
                return None
            sockaddr, seconds, when = answer
            if now - when > self._lifetime:
                return None
            self._answers[host] = answer
        return sockaddr, min(max(_PATIENCE * seconds, _SHORTEST_DELAY), _LONGEST_DELAY)

    def forget(self) -> None:
        """Forget everything."""
        with self._guard.lock:
            self._answers.clear()

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<ConnectMemory: {len(self)} hosts>"


publish("safeconnect", ConnectMemory)

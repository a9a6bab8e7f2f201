"""How a connection ended, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from .._checks import check_int
from .._connect.settings import check_seconds
from .._lazy import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import How


# What a peer may still send after our end before it is cut off: more than any reply that is merely late.
LIMIT = 2**20
# The most that is read at a time.
CHUNK = 2**16
# How often to look whether the peer's system has all that was sent: no event tells.
LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Closed:
    """How `close_gracefully` has ended a connection.

    :param how: ``"clean"``: both sides have closed, and the peer's system has all that was sent (asked on Linux only).
        ``"reset"``: the peer has reset the connection, or was gone already; it may have missed what was sent last.
        ``"timed out"``: the peer had not closed in time (or had vanished, as the kernel says), ``"overflow"``: it went
        on sending; in both cases the connection has been reset.
    :param dropped: how many bytes the peer has still sent, which nobody has read. Over TLS a record of them (16 KiB)
        may go uncounted.

    >>> Closed("clean", 0).is_clean
    True
    """

    how: How
    dropped: int

    @property
    def is_clean(self) -> bool:
        """Whether both sides have closed in order."""
        return self.how == "clean"


class Goodbye:
    """What is counted and decided while the rest is read, in any driver; ``how`` is None until it is over."""

    __slots__ = ("dropped", "how", "limit", "timeout")

    def __init__(self, timeout: float | None, limit: int) -> None:
        self.timeout = check_seconds("timeout", timeout)
        check_int("limit", limit, 0, 2**62)
        self.limit = limit
        self.dropped = 0
        self.how: How | None = None

    def got(self, size: int) -> bool:
        """So many bytes have been read, 0 at the end; says whether to go on."""
        self.dropped += size
        if not size:
            self.how = "clean"
        elif self.dropped > self.limit:
            self.how = "overflow"
        return self.how is None

    def failed(self, error: OSError) -> None:
        """Reading or shutting down has failed."""
        # A deadline of ours, or the kernel's verdict about a peer that no longer answers.
        self.how = "timed out" if isinstance(error, TimeoutError) else "reset"

    def result(self) -> Closed:
        """How it ended; a goodbye that was broken off has timed out."""
        return Closed(self.how or "timed out", self.dropped)


publish("safeconnect", Closed)

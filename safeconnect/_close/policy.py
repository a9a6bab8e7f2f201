"""The policy of `close_gracefully`: what to do with what the peer still sends, and the result."""

from __future__ import annotations

from dataclasses import dataclass

from .._checks import check_int
from .._connect.settings import check_seconds
from .._lazy import publish
from .._lazy import typing as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import How


# How many bytes a peer may still send after our FIN before it is cut off: more than any reply that is merely late.
LIMIT = 2**20
# How many bytes to read at a time.
CHUNK = 2**16
# How often to check, in seconds, whether the peer's system has all that was sent: there is no event for it.
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Closed:
    """The result of `close_gracefully`.

    :param how: ``"clean"``: both sides have closed, and the peer's system has all that was sent (checked on Linux
        only). ``"reset"``: the peer has reset the connection, or was gone already; it may have missed what was sent
        last. ``"timed out"``: the peer did not close in time, or has vanished, as the kernel says. ``"overflow"``: it
        went on sending. In these last two cases the connection has been reset.
    :param dropped: how many bytes the peer has still sent, which nobody has read. Over TLS a record of them (16 KiB)
        may go uncounted.

    >>> Closed("clean", 0).is_clean
    True
    """

    how: t.How
    dropped: int

    @property
    def is_clean(self) -> bool:
        """True if both sides have closed in order."""
        return self.how == "clean"


class Closing:
    """The state of one graceful close, for every driver; ``how`` is None until it is decided."""

    __slots__ = ("deadline", "dropped", "how", "limit")

    def __init__(self, timeout: float | None, limit: int, now: float) -> None:
        timeout = check_seconds("timeout", timeout)
        self.deadline = None if timeout is None else now + timeout
        check_int("limit", limit, 0, 2**62)
        self.limit = limit
        self.dropped = 0
        self.how: How | None = None

    def received(self, size: int) -> bool:
        """Count the bytes that were read, 0 at the end of the stream; return True to read on."""
        self.dropped += size
        if not size:
            self.how = "clean"
        elif self.dropped > self.limit:
            self.how = "overflow"
        return self.how is None

    def failed(self, error: OSError) -> None:
        """Take note that reading or shutting down has failed."""
        # A TimeoutError is our own deadline, or the kernel's verdict on a peer that no longer answers.
        self.how = "timed out" if isinstance(error, TimeoutError) else "reset"

    def seconds_left(self, now: float) -> float | None:
        """Return how many seconds are left; None without a timeout.

        :raises TimeoutError: it is over.
        """
        if self.deadline is None:
            return None
        if now >= self.deadline:
            raise TimeoutError("timed out")
        return self.deadline - now

    def result(self) -> Closed:
        """Return how it ended; "timed out" if it was broken off."""
        return Closed(self.how or "timed out", self.dropped)


publish("safeconnect", Closed)

"""When a lost connection is made again: the policy of `PersistentConnection`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..retry import Retry
    from ..typing import Draw


class Reconnection:
    """Pauses between connections that failed, ever longer; none after one that has done its work.

    A connection counts as lost when an exchange on it fails or when it cannot be made: the server may be down, and a
    fleet that comes back at once keeps it there. One that the server closed while it was idle is no failure.
    """

    __slots__ = ("_draw", "_due", "_pause", "_retry", "lost")

    def __init__(self, retry: Retry, draw: Draw) -> None:
        self._retry = retry
        self._draw = draw
        self._due = 0.0
        self._pause: float | None = None
        self.lost = 0  # in a row

    def failed(self, now: float, *, charge: bool = True) -> None:
        """A connection has been lost, or could not be made.

        :param charge: whether the budget has to be told; of a connect it knows.
        """
        self.lost += 1
        self._pause = self._retry.backoff.delay(self.lost, self._draw, self._pause)
        self._due = now + self._pause
        if charge and self._retry.budget is not None:
            self._retry.budget.failed()

    def succeeded(self) -> None:
        """An exchange is done."""
        self.lost = 0
        self._pause = None
        self._due = 0.0
        if self._retry.budget is not None:
            self._retry.budget.succeeded()

    def seconds(self, now: float) -> float:
        """How long to wait until the next connection, from now."""
        return max(self._due - now, 0.0) if self.lost else 0.0

    def resends(self, sendings: int, error: BaseException) -> bool:
        """Whether a request that may be sent twice is sent again, after so many sendings."""
        retry = self._retry
        if retry.attempts is not None and sendings >= retry.attempts:
            return False
        return retry.on(error) and (retry.budget is None or retry.budget.allows())

"""The policy of `PersistentConnection`: when to make a lost connection again, and when to send a request again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..retry import Retry
    from ..typing import Draw


class Reconnection:
    """Pauses between connections that fail, ever longer; no pause after a connection that has served an exchange.

    A connection counts as lost when an exchange on it fails, or when it cannot be made: the server may be down, and a
    fleet that comes back at once would keep it down. One that the server closed while it was idle is not a failure.
    """

    __slots__ = ("_draw", "_due", "_pause", "_retry", "lost")

    def __init__(self, retry: Retry, draw: Draw) -> None:
        self._retry = retry
        self._draw = draw
        self._due = 0.0
        self._pause: float | None = None
        self.lost = 0  # in a row

    def failed(self, now: float, *, charge: bool = True) -> None:
        """Take note that a connection has been lost, or could not be made.

        :param charge: False if the budget knows already, as of a connect.
        """
        self.lost += 1
        self._pause = self._retry.backoff.delay(self.lost, self._draw, self._pause)
        self._due = now + self._pause
        if charge and self._retry.budget is not None:
            self._retry.budget.failed()

    def succeeded(self) -> None:
        """Take note that an exchange has succeeded."""
        self.lost = 0
        self._pause = None
        self._due = 0.0
        if self._retry.budget is not None:
            self._retry.budget.succeeded()

    def seconds(self, now: float) -> float:
        """Return how long to wait from now until the next connection."""
        return max(self._due - now, 0.0) if self.lost else 0.0

    def resends(self, sendings: int, error: BaseException) -> bool:
        """Return True to send a request again that may be sent twice, after so many sendings."""
        retry = self._retry
        if retry.attempts is not None and sendings >= retry.attempts:
            return False
        return retry.on(error) and (retry.budget is None or retry.budget.allows())

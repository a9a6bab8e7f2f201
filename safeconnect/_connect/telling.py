"""Report the events and orders of a connect: to the caller's ``trace`` and to the logger ``safeconnect``."""

from __future__ import annotations

from .trace import is_logged, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..typing import Event, Order, Trace

    class Listener(Protocol):
        """Is told of one connect."""

        def __call__(self, message: Event | Order, /) -> object: ...

        def close(self) -> None:
            """The connect is over, also if neither a `Keep` nor a `GiveUp` came: it was interrupted or cancelled."""


class ConnectTrace:
    """A ``trace`` that tells connects apart: it has a listener for each of them."""

    def begin(self, address: tuple[Any, ...]) -> Listener:
        """Return the listener for a connect to the address."""
        raise NotImplementedError

    def __call__(self, message: Event | Order) -> None:
        """Do nothing: `begin` is called in its place."""


class Teller:
    """Is called with every event and order of one connect, and tells those who listen."""

    __slots__ = ("_listener", "_listeners")

    def __init__(self, trace: Trace | None, address: tuple[Any, ...]) -> None:
        self._listener: Listener | None = trace.begin(address) if isinstance(trace, ConnectTrace) else None
        listener = self._listener or trace
        self._listeners: list[Callable[[Any], object]] = [] if listener is None else [listener]
        if is_logged():
            self._listeners.append(log)

    def __call__(self, message: Event | Order) -> None:
        for listener in self._listeners:
            listener(message)

    def close(self) -> None:
        """End: the connect is over, whatever ended it."""
        if self._listener is not None:
            self._listener.close()

"""Report the events and orders of a connect: to the caller's ``trace`` and to the logger ``safeconnect``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..typing import Event, Order, Trace


_DEBUG = 10  # logging.DEBUG
_logger: Any = None  # kept, for asking for it takes a lock


def is_logged() -> bool:
    """Return True if the logger is enabled for DEBUG. It is not in a program that has not loaded logging."""
    global _logger
    if _logger is None:
        logging = sys.modules.get("logging")
        if logging is None or not hasattr(logging, "getLogger"):  # another thread may be loading it right now
            return False
        _logger = logging.getLogger("safeconnect")
    return bool(_logger.isEnabledFor(_DEBUG))


def teller(trace: Trace | None) -> Callable[[Event | Order], object]:
    """Return the function to call with every event and order."""
    listeners: list[Callable[[Any], object]] = [trace] if trace is not None else []
    if is_logged():
        listeners.append(lambda message: _logger.debug("%s", message))

    def tell(message: Event | Order) -> None:
        for listener in listeners:
            listener(message)

    return tell

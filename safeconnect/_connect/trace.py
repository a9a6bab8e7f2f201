"""The logger ``safeconnect``, which is told the events and orders of connects if it is enabled for DEBUG."""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEBUG = 10  # logging.DEBUG
_logger: Any = None  # kept, for asking for it takes a lock


def is_logged() -> bool:
    """Return True if the logger is enabled for DEBUG. It is not in a program that has not loaded logging."""
    global _logger
    if _logger is None:
        logging = modules.get("logging")
        if logging is None or not hasattr(logging, "getLogger"):  # another thread may be loading it right now
            return False
        _logger = logging.getLogger("safeconnect")
    return bool(_logger.isEnabledFor(_DEBUG))


def log(message: object) -> None:
    """Tell the logger, which must have been asked for."""
    _logger.debug("%s", message)

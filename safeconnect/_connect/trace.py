"""The logger ``safeconnect``, which is told the events and orders of connects if it is enabled for DEBUG."""

from __future__ import annotations

from functools import lru_cache
from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEBUG = 10  # logging.DEBUG


def is_logged() -> bool:
    """Return True if the logger is enabled for DEBUG. It is not in a program that has not loaded logging."""
    try:
        return "logging" in modules and bool(_logger().isEnabledFor(_DEBUG))
    except AttributeError:  # another thread may be loading it right now
        return False


@lru_cache(maxsize=1)
def _logger() -> Any:
    """Return the logger. It is kept, for asking for it takes a lock."""
    return modules["logging"].getLogger("safeconnect")


def log(message: object) -> None:
    """Tell the logger, which must have been asked for."""
    _logger().debug("%s", message)

"""Checks of arguments, each naming the argument in its error. Every connect loads this, so it stays small."""

from __future__ import annotations

from ._fork import imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from .typing import AnyOption

    AnyOptionT = TypeVar("AnyOptionT", bound=AnyOption)

# IFNAMSIZ and TCP_CA_NAME_MAX are 16, a NUL at the end included; the kernel cuts longer names off without a word.
MAX_NAME = 15


def check_int(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be {lowest}-{highest}, not {shown(value)}")


def check_seconds(name: str, value: object, lowest: float, highest: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not lowest <= value <= highest:  # not-a-number fails, too
        raise ValueError(f"{name} must be {lowest}-{highest} seconds, not {shown(value)}")


def check_name(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not 0 < len(value.encode("utf-8", "surrogateescape")) <= MAX_NAME or "\0" in value:
        raise ValueError(f"{name} must be 1-{MAX_NAME} bytes long, without NUL, not {value!r}")


def check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def shown(value: object) -> str:
    """As `_text.shown`, which is loaded on the way to an error only."""
    with imports.lock:
        from ._text import shown

    return shown(value)


def check_options(options: Iterable[AnyOptionT]) -> tuple[AnyOptionT, ...]:
    """The options as a tuple, each of them a tuple that `socket.setsockopt` takes or a value with `settings`.

    :raises TypeError: it is something else, naming the item.
    """
    if not hasattr(options, "__iter__"):
        raise TypeError(f"options must be several options, as in options=[{options!r}]")
    checked = tuple(options)
    for option in checked:
        if isinstance(option, tuple):
            if len(option) in (3, 4) and isinstance(option[0], int) and isinstance(option[1], int):
                continue
        elif hasattr(option, "settings") and not isinstance(option, type):  # a class is a value without its call
            continue
        raise TypeError(
            f"options must be (level, name, value) tuples, as for setsockopt(), or values such as NoDelay(), "
            f"not {option!r}"
        )
    return checked

"""Socket options: what a caller may pass, and the check of it.

Every connect with options comes through here, so it stays small; the values themselves (`NoDelay`, `KeepAlive`, ...)
are in `safeconnect.socket_options`, loaded when one is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol, TypeVar

    # What socket.setsockopt() takes; urllib3 writes its socket_options the same way.
    Option = tuple[int, int, int | bytes] | tuple[int, int, None, int]
    # The same with the names of the socket module's constants, whose numbers differ between platforms.
    Setting = tuple[str, str, int | bytes]

    class SocketOption(Protocol):
        """An option as a value. A ``best_effort`` attribute may name options to leave out where there are none."""

        def settings(self, family: str) -> tuple[Setting, ...]:
            """What to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
            ...

    AnyOption = Option | SocketOption
    AnyOptionT = TypeVar("AnyOptionT", bound=AnyOption)


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

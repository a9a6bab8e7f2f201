"""Options as values, turned into what `socket.setsockopt` takes on this platform; and the names of options."""

from __future__ import annotations

import errno
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..typing import AnyOption, Option, SocketOption


# The same option by another name. macOS calls the idle time TCP_KEEPALIVE (tcp(4)). It counts SO_LINGER in ticks of its
# clock; SO_LINGER_SEC is what others call SO_LINGER (sys/socket.h).
_SUBSTITUTES = {
    ("darwin", "TCP_KEEPIDLE"): "TCP_KEEPALIVE",
    ("darwin", "SO_LINGER"): "SO_LINGER_SEC",
}

# Options of the kernel that Python's socket module lacks, or lacks in some versions: TCP_FASTOPEN_CONNECT (linux/tcp.h)
# came with Python 3.12, SO_LINGER_SEC (macOS's sys/socket.h) never did.
_NUMBERS = {
    ("linux", "TCP_FASTOPEN_CONNECT"): 30,
    ("darwin", "SO_LINGER_SEC"): 0x1080,
}


def resolve_options(options: Iterable[AnyOption], family: int) -> tuple[Option, ...]:
    """Return the options as tuples for `socket.setsockopt`, in their order; tuples pass unchanged.

    An option that the platform lacks is an error, unless the value calls it best effort: then it is left out.

    :param options: values and tuples that passed `check_options`.
    :param family: the socket's family, on which some options depend.
    :raises OSError: the platform has no such option (ENOPROTOOPT).
    """
    resolved: list[Option] = []
    for option in options:
        if isinstance(option, tuple):
            resolved.append(option)
        else:
            resolved.extend(_tuples(option, "AF_INET6" if family == socket.AF_INET6 else "AF_INET"))
    return tuple(resolved)


def _tuples(option: SocketOption, family: str) -> Iterator[Option]:
    best_effort = getattr(option, "best_effort", ())
    for level_name, name, value in option.settings(family):
        level, number = _number(level_name), _number(name)
        if level is not None and number is not None:
            yield level, number, value
        elif name not in best_effort:
            kind = type(option).__name__
            raise OSError(errno.ENOPROTOOPT, f"{name} ({kind}) does not exist on {sys.platform}")


def _number(name: str) -> int | None:
    """Return the number of a constant on this platform; None if there is no such constant."""
    name = _SUBSTITUTES.get((sys.platform, name), name)
    number: int | None = getattr(socket, name, None)
    return _NUMBERS.get((sys.platform, name)) if number is None else number


# Which constants of the socket module name the options of a level, and which of them are something else.
_OPTION_PREFIXES = {"SOL_SOCKET": "SO_", "IPPROTO_TCP": "TCP_", "IPPROTO_IP": "IP_", "IPPROTO_IPV6": "IPV6_"}
_NO_OPTIONS = ("SO_J1939_", "SO_VM_SOCKETS_", "IP_DEFAULT_", "IP_MAX_")


def option_name(option: Option) -> str:
    """Return the option as the manual pages write it: ``(IPPROTO_TCP, TCP_NODELAY, 1)``."""
    levels = (level for level in _OPTION_PREFIXES if getattr(socket, level, None) == option[0])
    level = next(levels, repr(option[0]))
    prefix = _OPTION_PREFIXES.get(level, "?")
    candidates = (name for name in dir(socket) if name.startswith(prefix) and not name.startswith(_NO_OPTIONS))
    names = (name for name in candidates if getattr(socket, name) == option[1])
    return f"({', '.join([level, next(names, repr(option[1])), *map(repr, option[2:])])})"

"""All settings of a connect, as one immutable value."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from socket import _GLOBAL_DEFAULT_TIMEOUT as DEFAULT_TIMEOUT  # type: ignore[attr-defined]

from .._checks import check_options, shown
from .._fork import imports
from .._lazy import typing as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Settings:
    """The settings of a connect, checked; the drivers read them. Users know them as `Connector`, which documents them.

    To add one: a parameter with its check, an attribute, and a key of `safeconnect.typing.Keywords`.
    """

    timeout: float | None
    source_address: t.AnySource | None
    source_ports: t.Ports | None
    share_source: bool
    options: tuple[t.AnyOption, ...]
    retry: t.Retry | None
    attempt_timeout: float | None
    second_attempt_delay: float | None
    happy_eyeballs_delay: float | None
    resolution_delay: float | None
    memory: t.ConnectMemory | None
    allow_self_connect: bool
    all_errors: bool
    trace: t.Trace | None
    resolver: t.Resolver | None
    family: int
    allow: t.Permits | tuple[t.IPNetwork, ...] | None
    # What follows from them:
    bind_to: t.SourceAddress | None  # the source address, where that is all there is to say of the source
    source: t.Source | None  # where there is more
    is_limited: bool  # True: each address is checked right before the connect
    needs_dial: bool  # True: even a single address goes through the state machine
    patience: float  # how many seconds after the last regular SYN a second attempt is due at the earliest

    __slots__ = tuple(__annotations__)

    def __init__(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: t.AnySource | None = None,
        source_ports: t.Ports | None = None,
        share_source: bool = False,
        options: Iterable[t.AnyOption] = (),
        retry: t.Retry | None = None,
        attempt_timeout: float | None = None,
        second_attempt_delay: float | None = 1.0,
        happy_eyeballs_delay: float | None = 0.25,
        resolution_delay: float | None = None,
        memory: t.ConnectMemory | None = None,
        allow_self_connect: bool = False,
        all_errors: bool = False,
        trace: t.Trace | None = None,
        resolver: t.Resolver | None = None,
        family: int = 0,
        allow: t.Allow | None = None,
        **unknown: t.Never,
    ) -> None:
        if unknown:
            raise unexpected(type(self).__name__, unknown) or TypeError(f"unexpected: {', '.join(unknown)}")
        if timeout is not DEFAULT_TIMEOUT:
            timeout = check_seconds("timeout", timeout)
        source_address, bind_to, source = _sources(source_address, source_ports, share_source)
        if attempt_timeout is not None:
            attempt_timeout = check_seconds("attempt_timeout", attempt_timeout, zero=False)
        second_attempt_delay = _checked_silence(second_attempt_delay)
        happy_eyeballs_delay = check_seconds("happy_eyeballs_delay", happy_eyeballs_delay)
        resolution_delay = check_seconds("resolution_delay", resolution_delay)
        if trace is not None or resolver is not None:
            _check_callables(trace=trace, resolver=resolver)
        if type(allow_self_connect) is not bool or type(all_errors) is not bool:
            _check_flags(allow_self_connect=allow_self_connect, all_errors=all_errors)
        if retry is not None and not hasattr(retry, "pause"):
            raise TypeError(f"retry must be a Retry, not {type(retry).__name__}")
        if memory is not None and not hasattr(memory, "recall"):
            raise TypeError(f"memory must be a ConnectMemory, not {type(memory).__name__}")
        options = check_options(options) if options else ()
        if allow is not None or type(family) is not int or family:
            allow = _checked_limits(family, allow)
        patience = float("inf") if bind_to and bind_to[1] else 0.95 * (second_attempt_delay or float("inf"))
        is_limited = bool(family) or allow is not None
        is_plain = retry is None and attempt_timeout is None and memory is None and trace is None
        needs_dial = not is_plain or resolution_delay is not None or patience < 0.95
        values = locals()
        for name, write in _SLOTS:  # each is a parameter or a variable
            write(self, values[name])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def replace(self, **changes: t.Any) -> t.Self:
        """The same with other values of some settings, by their names.

        :raises TypeError: there is no such setting, or its value is of a wrong type.
        :raises ValueError: as for the settings themselves.
        """
        return type(self)(**{**self._values(), **changes})

    def _values(self) -> dict[str, object]:
        """Every setting by its name."""
        return {name: getattr(self, name) for name in _NAMES}

    def _meaning(self) -> dict[str, object]:
        """The values by which settings are compared, however the source was written."""
        return {name: getattr(self, name) for name in Settings.__slots__ if name not in _SOURCE}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings) or type(self) is not type(other):
            return NotImplemented
        return self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(tuple(self._meaning().items()))

    def __reduce__(self) -> tuple[t.Any, ...]:
        values = self._values()
        if self.timeout is DEFAULT_TIMEOUT:
            del values["timeout"]  # the mark is itself only in this process
        return _rebuilt, (type(self), values)

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({', '.join(given)})"


_SLOTS = [(name, getattr(Settings, name).__set__) for name in Settings.__slots__]
_NAMES = tuple(sorted(Settings.__init__.__kwdefaults__))  # type: ignore[arg-type]
_SOURCE = {"source_address", "source_ports", "share_source"}  # as written; ``bind_to`` and ``source`` are the meaning


def check_seconds(name: str, value: Any, *, zero: bool = True) -> float | None:
    """A number of seconds that is not negative, as `socket.socket.settimeout` takes it, or None.

    :param zero: whether it may be 0.
    :returns: an int or a float, for arithmetic: what can be made one is.
    :raises TypeError: it is something else; as there, a `decimal.Decimal` is no number before Python 3.15.
    :raises ValueError: it is negative, or 0 where it may not be, or not a number at all.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float)):
        also = "__float__" if sys.version_info >= (3, 15) else "__index__"  # as settimeout() there
        convert = getattr(value, "__index__", None) or getattr(value, also, None)
        if not convert:
            raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
        value = convert()
    if not value >= 0 or not (value or zero):  # so that not-a-number fails, too
        raise ValueError(f"{name} must be {'0 or more' if zero else 'more than 0'} seconds, not {shown(value)}")
    return value  # type: ignore[no-any-return]


def unexpected(function: str, keywords: Iterable[str], own: Iterable[str] = ()) -> TypeError | None:
    """The error for a keyword that is no setting, with the one that may be meant; None where all of them are.

    :param function: what was called.
    :param own: its keywords that are no settings.
    """
    known = [*_NAMES, *own]
    strange = next((name for name in keywords if name not in known), None)
    if strange is None:
        return None
    with imports.lock:
        from difflib import get_close_matches  # only on the way to an error

    alike = get_close_matches(strange, known, 1)
    hint = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(sorted(known))}"
    return TypeError(f"{function}() got an unexpected keyword argument {strange!r}; {hint}")


def _checked_silence(value: object) -> float | None:
    seconds = check_seconds("second_attempt_delay", None if value is False else value)
    if seconds is not None and seconds < 0.1:
        raise ValueError(f"second_attempt_delay must be 0.1 seconds or more, or None, not {shown(value)}")
    return seconds


def _check_callables(**values: object) -> None:
    for name, value in values.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def _check_flags(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, int):
            raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def _checked_limits(family: object, allow: t.Allow | None) -> t.Permits | tuple[t.IPNetwork, ...] | None:
    with imports.lock:
        from .address_filter import checked_allow, checked_family  # few connects are limited

    checked_family(family)
    return None if allow is None else checked_allow(allow)


def _sources(address: Any, ports: object, share: object) -> tuple[Any, Any, t.Source | None]:
    """The source address as it is kept, and the two readings of it: ``bind_to`` and ``source``."""
    # An empty tuple is none, as in the standard library; an empty list of what is allowed is an error.
    if isinstance(address, tuple):
        address = address or None
    if ports is None and share is False and (address is None or isinstance(address, tuple)):
        if address:
            _check_source_address(address)
        return address, address, None
    with imports.lock:
        from .source import source_of  # few connects say more than an address

    source = source_of(address, ports, share)
    return list(address) if type(address) is list else address, None, source  # the caller may change a list


def _check_source_address(source_address: object) -> None:
    if not isinstance(source_address, tuple) or len(source_address) not in (2, 3, 4):
        raise TypeError(f"source_address must be (host, port), not {source_address!r}")
    host = source_address[0]
    nul: Any = "\0" if isinstance(host, str) else b"\0"
    if isinstance(host, (str, bytes, bytearray)) and nul in host:  # at which C would end it
        raise ValueError(f"source_address must be without NUL, not {host!r}")


def _rebuilt(kind: type[Settings], values: dict[str, Any]) -> Settings:
    return kind(**values)

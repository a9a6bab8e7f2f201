"""How to connect: all settings of a connect, as one immutable value."""

from ._fork import imports
from .options import check_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from typing import Any, Self

    from typing_extensions import TypedDict

    from ._core.messages import Event, Order
    from .memory import ConnectMemory
    from .options import AnyOption
    from .ports import PortRange, PortSet
    from .retry import Retry
    from .source import Pool, Source

    Ports = PortSet | PortRange | str
    SourceAddress = tuple[str | bytes | bytearray, int] | tuple[str | bytes | bytearray, int, int, int]
    # A list: one for each family. A str: an address, or the name of an interface.
    AnySource = SourceAddress | list[SourceAddress | str] | str | Pool
    Trace = Callable[[Event | Order], object]
    Resolver = Callable[..., Iterable[Any]]
    IPAddress = IPv4Address | IPv6Address
    IPNetwork = IPv4Network | IPv6Network
    Permits = Callable[[IPAddress], bool]
    Allow = Permits | Iterable[str | IPNetwork]

    class Keywords(TypedDict, total=False):
        """The settings that `create_connection` takes by keyword; their meaning is told at `Connector`."""

        options: Iterable[AnyOption]
        retry: Retry | None
        attempt_timeout: float | None
        happy_eyeballs_delay: float | None
        resolution_delay: float | None
        memory: ConnectMemory | None
        allow_self_connect: bool
        trace: Trace | None
        resolver: Resolver | None
        family: int
        allow: Allow | None
        source_ports: Ports | None
        share_source: bool

    class AsyncKeywords(Keywords, total=False):
        """The settings that the connects of `safeconnect.asyncio` and its twins take by keyword."""

        source_address: AnySource | None
        all_errors: bool
        connector: "Settings | None"


_DERIVED = {"bind_to", "is_limited", "needs_dial", "source"}  # from the others


class Settings:
    """The settings of a connect, checked; the drivers read them. Users know it as `Connector`."""

    __slots__ = (
        "all_errors",
        "allow",
        "allow_self_connect",
        "attempt_timeout",
        "bind_to",
        "family",
        "happy_eyeballs_delay",
        "is_limited",
        "memory",
        "needs_dial",
        "options",
        "resolution_delay",
        "resolver",
        "retry",
        "share_source",
        "source",
        "source_address",
        "source_ports",
        "trace",
    )

    source_address: "AnySource | None"
    source_ports: "Ports | None"
    share_source: bool
    bind_to: "SourceAddress | None"  # the source address, where that is all there is to say of the source
    source: "Source | None"  # where there is more
    options: "tuple[AnyOption, ...]"
    retry: "Retry | None"
    attempt_timeout: float | None
    happy_eyeballs_delay: float | None
    resolution_delay: float | None
    memory: "ConnectMemory | None"
    allow_self_connect: bool
    all_errors: bool
    trace: "Trace | None"
    resolver: "Resolver | None"
    family: int
    allow: "Permits | tuple[IPNetwork, ...] | None"
    is_limited: bool  # whether each address is looked at before it is connected to
    needs_dial: bool  # whether even one candidate takes the whole machine

    def __init__(
        self,
        *,
        source_address: "AnySource | None" = None,
        source_ports: "Ports | None" = None,
        share_source: bool = False,
        options: "Iterable[AnyOption]" = (),
        retry: "Retry | None" = None,
        attempt_timeout: float | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        resolution_delay: float | None = None,
        memory: "ConnectMemory | None" = None,
        allow_self_connect: bool = False,
        all_errors: bool = False,
        trace: "Trace | None" = None,
        resolver: "Resolver | None" = None,
        family: int = 0,
        allow: "Allow | None" = None,
    ) -> None:
        if isinstance(source_address, tuple):
            source_address = source_address or None  # an empty one is none, as in the standard library
        bind_to, source = _source(source_address, source_ports, share_source)
        if attempt_timeout is not None:
            attempt_timeout = check_seconds("attempt_timeout", attempt_timeout, zero=False)
        happy_eyeballs_delay = check_seconds("happy_eyeballs_delay", happy_eyeballs_delay)
        resolution_delay = check_seconds("resolution_delay", resolution_delay)
        _check_callables(trace=trace, resolver=resolver)
        _check_flags(allow_self_connect=allow_self_connect, all_errors=all_errors)
        if retry is not None and not hasattr(retry, "pause"):
            raise TypeError(f"retry must be a Retry, not {type(retry).__name__}")
        if memory is not None and not hasattr(memory, "recall"):
            raise TypeError(f"memory must be a ConnectMemory, not {type(memory).__name__}")
        permits = allow if allow is None and type(family) is int and not family else _checked_limits(family, allow)
        write = object.__setattr__
        # A list is copied, for the caller may change it.
        write(self, "source_address", list(source_address) if type(source_address) is list else source_address)
        write(self, "source_ports", source_ports)
        write(self, "share_source", share_source)
        write(self, "bind_to", bind_to)
        write(self, "source", source)
        write(self, "options", check_options(options) if options else ())
        write(self, "retry", retry)
        write(self, "attempt_timeout", attempt_timeout)
        write(self, "happy_eyeballs_delay", happy_eyeballs_delay)
        write(self, "resolution_delay", resolution_delay)
        write(self, "memory", memory)
        write(self, "allow_self_connect", allow_self_connect)
        write(self, "all_errors", all_errors)
        write(self, "trace", trace)
        write(self, "resolver", resolver)
        write(self, "family", family)
        write(self, "allow", permits)
        write(self, "is_limited", bool(family) or permits is not None)
        reasons = (retry, attempt_timeout, memory, trace, resolution_delay)
        write(self, "needs_dial", any(each is not None for each in reasons))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def replace(self, **changes: "Any") -> "Self":
        """The same with other values of some settings, by their names.

        :raises TypeError: there is no such setting, or its value is of a wrong type.
        :raises ValueError: as for the settings themselves.
        """
        return type(self)(**{**self._values(), **changes})

    def _values(self) -> "dict[str, object]":
        """Every setting by its name, also those of a subclass."""
        names = {name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())}
        return {name: getattr(self, name) for name in sorted(names - _DERIVED)}

    def _meaning(self) -> "dict[str, object]":
        """What tells settings apart, however the source was written."""
        written = ("source_address", "source_ports", "share_source")
        values = {name: value for name, value in self._values().items() if name not in written}
        return {**values, "bind_to": self.bind_to, "source": self.source}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings) or type(self) is not type(other):
            return NotImplemented
        return self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(tuple(self._meaning().items()))

    def __reduce__(self) -> "tuple[Any, ...]":
        # The standard library's mark for the default timeout is itself only in this process.
        marked = {name: value for name, value in self._values().items() if type(value) is object}
        return _rebuilt, (type(self), {name: value for name, value in self._values().items() if name not in marked})

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({', '.join(given)})"


def check_seconds(name: str, value: object, *, zero: bool = True) -> float | None:
    """A number of seconds that is not negative, as `socket.socket.settimeout` takes it, or None.

    :param zero: whether it may be 0.
    :returns: an int or a float, for arithmetic: what has ``__index__`` only is made one.
    :raises TypeError: it is something else; as there, ``__float__`` alone makes no number (`decimal.Decimal`).
    :raises ValueError: it is negative, or 0 where it may not be, or not a number at all.
    """
    if value is None:
        return None
    number: Any = value
    if not isinstance(value, (int, float)):
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
        number = number.__index__()
    if not number >= 0 or not (number or zero):  # so that not-a-number fails, too
        with imports.lock:
            from ._text import shown  # only on the way to an error

        raise ValueError(f"{name} must be {'0 or more' if zero else 'more than 0'} seconds, not {shown(value)}")
    return number  # type: ignore[no-any-return]


def unexpected(function: str, keywords: "Iterable[str]", own: "Iterable[str]" = ()) -> TypeError | None:
    """The error for a keyword that is no setting, with the one that may be meant; None where all of them are.

    :param function: what was called.
    :param own: its keywords that are no settings.
    """
    known = [*(name for name in Settings.__slots__ if name not in _DERIVED), "timeout", *own]
    strange = next((name for name in keywords if name not in known), None)
    if strange is None:
        return None
    with imports.lock:
        from difflib import get_close_matches  # only on the way to an error

    alike = get_close_matches(strange, known, 1)
    hint = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(sorted(known))}"
    return TypeError(f"{function}() got an unexpected keyword argument {strange!r}; {hint}")


def _source(
    source_address: "AnySource | None", source_ports: "Ports | None", share_source: bool
) -> "tuple[SourceAddress | None, Source | None]":
    """What to bind to, where one address says it all; else the source of the connect."""
    is_one = source_address is None or isinstance(source_address, tuple)
    if source_ports is not None or share_source is not False or not is_one:
        with imports.lock:
            from .source import source_of  # few connects say more than an address

        return None, source_of(source_address, source_ports, share_source)
    bind_to: Any = source_address
    if bind_to is not None:
        _check_source_address(bind_to)
    return bind_to, None


def _check_callables(**values: object) -> None:
    for name, value in values.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def _check_flags(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, int):
            raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def _checked_limits(family: object, allow: "Allow | None") -> "Permits | tuple[IPNetwork, ...] | None":
    with imports.lock:
        from .addresses import checked_allow, checked_family  # few connects are limited

    checked_family(family)
    return None if allow is None else checked_allow(allow)


def _check_source_address(source_address: object) -> None:
    if not isinstance(source_address, tuple) or len(source_address) not in (2, 3, 4):
        raise TypeError(f"source_address must be (host, port), not {source_address!r}")
    host = source_address[0]
    nul: Any = "\0" if isinstance(host, str) else b"\0"
    if isinstance(host, (str, bytes, bytearray)) and nul in host:  # at which C would end it
        raise ValueError(f"source_address must be without NUL, not {host!r}")


def _rebuilt(kind: "type[Settings]", values: "dict[str, Any]") -> Settings:
    return kind(**values)


_PLAIN = Settings()


def chosen(
    timeout: float | None,
    keywords: "AsyncKeywords",
    function: str = "create_connection",
    own: "Iterable[str]" = (),
) -> tuple[Settings, float | None]:
    """The settings of one call, and its timeout: the keywords' own, or those of ``connector``.

    :param function: what was called, and ``own``, its keywords that are no settings: for an error.
    :raises TypeError: a connector together with other settings, or something that is none; an unknown setting.
    """
    if timeout is not None:
        timeout = check_seconds("timeout", timeout)
    if not keywords:
        return _PLAIN, timeout
    others: Any = dict(keywords)
    connector = others.pop("connector", None)
    if connector is None:
        try:
            return Settings(**others), timeout
        except TypeError as error:
            raise unexpected(function, others, ("connector", *own)) or error from None
    if not isinstance(connector, Settings):
        raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
    if others:
        strange = unexpected(function, others, own)
        raise strange or TypeError(f"give either connector or {', '.join(others)}: a connector has all settings")
    if timeout is None:
        own_timeout = getattr(connector, "timeout", None)
        # A mark stands for the default, which is None here.
        timeout = own_timeout if isinstance(own_timeout, (int, float)) else None
    return connector, timeout

"""The types in the signatures of this library, for annotations of your own.

Nothing here is loaded by a connect.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from collections.abc import Callable as Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any as Any
from typing import Literal, Protocol, TypeVar
from typing import Never as Never
from typing import Self as Self

from typing_extensions import TypedDict
from typing_extensions import Unpack as Unpack

from ._connect.memory import ConnectMemory as ConnectMemory
from ._connect.settings import Settings
from ._connect.source import Source as Source
from ._local.binding import Reservation as Reservation
from ._local.source_pool import SourcePool
from .events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, ResolveFailed, Start, Tick
from .ports import PortRange as PortRange
from .ports import PortSet as PortSet
from .retry import Retry as Retry
from .retry import RetryBudget as RetryBudget
from .testing import Guard as Guard
from .testing._base import Peer

__all__ = [
    "Address",
    "Allow",
    "AnyOption",
    "AnySocket",
    "AnySource",
    "Args",
    "AsyncKeywords",
    "Candidate",
    "Check",
    "Draw",
    "DrawBelow",
    "End",
    "Event",
    "Failure",
    "Family",
    "Handler",
    "HasDelay",
    "HasFileno",
    "HasLinger",
    "HasNames",
    "HasNumbers",
    "HasOptions",
    "Host",
    "How",
    "IPAddress",
    "IPNetwork",
    "Jitter",
    "Keywords",
    "Lookup",
    "OnConnect",
    "Option",
    "Order",
    "Outcome",
    "Parity",
    "Permits",
    "Ports",
    "Reason",
    "Resolver",
    "Setting",
    "Settings",
    "Severity",
    "SockAddr",
    "SocketOption",
    "SourceAddress",
    "Step",
    "Streams",
    "TakesNumbers",
    "Trace",
    "Word",
]

# Where from, where to

Address = tuple[Any, ...]
SockAddr = tuple[Any, ...]
SourceAddress = tuple[str | bytes | bytearray, int] | tuple[str | bytes | bytearray, int, int, int]
AnySource = SourceAddress | list[SourceAddress | str] | str | SourcePool
Ports = PortSet | PortRange | str
Host = str | Sequence[str]
End = tuple[str, int]
IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Permits = Callable[[IPAddress], bool]
Allow = Permits | Iterable[str | IPNetwork]
Resolver = Callable[..., Iterable[Any]]
Candidate = tuple[int, int, int, str, SockAddr]

# Socket options

Option = tuple[int, int, int | bytes] | tuple[int, int, None, int]
Setting = tuple[str, str, int | bytes]


class SocketOption(Protocol):
    """An option as a value. A ``best_effort`` attribute may name options to leave out where there are none."""

    def settings(self, family: str) -> tuple[Setting, ...]:
        """Return the options to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
        ...


AnyOption = Option | SocketOption

# Time, chance and observers

Draw = Callable[[], float]
DrawBelow = Callable[[int], int]
Jitter = Literal["full", "equal", "decorrelated", "none"]


class HasDelay(Protocol):
    """Has the method ``delay`` of a `Backoff`."""

    def delay(self, n: int, draw: Draw, previous: float | None = None) -> float:
        """The pause before retry number ``n``, in seconds."""
        ...


Lookup = Literal["both", "AAAA", "A"]
Event = Resolved | ResolveFailed | Connected | Failed | Tick
Order = Resolve | Start | Abandon | Keep | GiveUp
Trace = Callable[[Event | Order], object]

# Settings by keyword


class Keywords(TypedDict, total=False):
    """The settings of a `Connector` that `create_connection` takes by keyword."""

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
    """Those of `Keywords`, ``source_address``, ``all_errors``, and ``connector``, which is given alone."""

    source_address: AnySource | None
    all_errors: bool
    connector: Settings | None


# Sockets of any library


class HasFileno(Protocol):
    """Has ``fileno()``: a socket of any library."""

    def fileno(self) -> int: ...


class HasNames(Protocol):
    """Has ``getsockname()`` and ``getpeername()``: a socket of any library."""

    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...


class HasLinger(Protocol):
    """Has ``setsockopt()`` and ``close()``: a socket of any library."""

    def setsockopt(self, level: int, optname: int, value: bytes, /) -> None: ...
    def close(self) -> None: ...


class HasOptions(Protocol):
    """Has ``getsockopt()`` for options that are bytes: a socket of any library."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


class HasNumbers(Protocol):
    """Has ``getsockopt()`` for options that are numbers: a socket of any library."""

    def getsockopt(self, level: int, optname: int, /) -> int: ...


class TakesNumbers(Protocol):
    """Has ``setsockopt()`` for options that are numbers: a socket of any library."""

    def setsockopt(self, level: int, optname: int, value: int, /) -> None: ...


AnySocket = Any
_Socket = TypeVar("_Socket")
Result = TypeVar("Result")
Check = bytes | Callable[[_Socket], object]
OnConnect = Callable[[_Socket], Awaitable[_Socket | None] | _Socket | None]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# Answers

How = Literal["clean", "reset", "timed out", "overflow"]
Parity = Literal["even", "odd"]
Reason = Literal["exposed", "other-parity", "foreign-host", "no-way", "outside-range", "reserved"]
Severity = Literal["error", "warning", "info", "ok"]
Family = Literal["IPv4", "IPv6", "both"]
Failure = Literal["unknown", "no-address", "no-answer", "timed-out", "failed"]
Outcome = Literal["connected", "refused", "met-itself", "silent", "unreachable", "no-source-port", "failed"]

# Faults and programs

Handler = Callable[[Peer], object]
Step = Literal["refuse", "reset", "close", "silent", "serve"] | Handler
Word = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Args = Word | Sequence[Word]

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
"""``(host, port)``, for IPv6 with flow and scope. The host is a name or a literal address."""
SockAddr = tuple[Any, ...]
"""The same as the kernel has it: the host is a literal address."""
SourceAddress = tuple[str | bytes | bytearray, int] | tuple[str | bytes | bytearray, int, int, int]
"""``(host, port)``, or with flow and scope for IPv6; port 0 leaves the port to the kernel. The host may be bytes."""
AnySource = SourceAddress | list[SourceAddress | str] | str | SourcePool
"""An address; a list of them, of which each family takes its own; an address or the name of an interface as text; or
a `SourcePool`."""
Ports = PortSet | PortRange | str
"""Text is read as `PortSet.parse` reads it."""
Host = str | Sequence[str]
"""An address, or several."""
End = tuple[str, int]
"""An address and a port."""
IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Permits = Callable[[IPAddress], bool]
"""Says whether an address may be connected to."""
Allow = Permits | Iterable[str | IPNetwork]
"""Which addresses may be connected to: a predicate, or networks, as text or of `ipaddress`."""
Resolver = Callable[..., Iterable[Any]]
"""Has the signature of `socket.getaddrinfo`, and gives what that gives."""
Candidate = tuple[int, int, int, str, SockAddr]
"""One answer of `socket.getaddrinfo`: family, type, protocol, canonical name, address."""

# Socket options

Option = tuple[int, int, int | bytes] | tuple[int, int, None, int]
"""The arguments of `socket.socket.setsockopt`."""
Setting = tuple[str, str, int | bytes]
"""The same with the names of the socket module's constants, whose numbers differ between platforms."""


class SocketOption(Protocol):
    """An option as a value. A ``best_effort`` attribute may name options to leave out where there are none."""

    def settings(self, family: str) -> tuple[Setting, ...]:
        """Return the options to set on a socket of that family (``"AF_INET"``, ``"AF_INET6"``), in this order."""
        ...


AnyOption = Option | SocketOption

# Time, chance and observers

Draw = Callable[[], float]
"""Chance as an argument of `Backoff` and `Retry`: returns a float of [0, 1), as `random.random` does."""
DrawBelow = Callable[[int], int]
"""Chance as an argument of `PortSet`: called with n, returns an integer of ``range(n)``, as `random.randrange`
does."""
Jitter = Literal["full", "equal", "decorrelated", "none"]
"""How a `Backoff` spreads its pauses at random."""


class HasDelay(Protocol):
    """Has the method ``delay`` of a `Backoff`."""

    def delay(self, n: int, draw: Draw, previous: float | None = None) -> float:
        """The pause before retry number ``n``, in seconds."""
        ...


Lookup = Literal["both", "AAAA", "A"]
"""The families that are looked up: both at once, IPv6 or IPv4."""
Event = Resolved | ResolveFailed | Connected | Failed | Tick
Order = Resolve | Start | Abandon | Keep | GiveUp
Trace = Callable[[Event | Order], object]
"""Is called with each event and order below of a connect, in their order."""

# Settings by keyword


class Keywords(TypedDict, total=False):
    """The settings of a `Connector` that `create_connection` takes by keyword."""

    options: Iterable[AnyOption]
    retry: Retry | None
    attempt_timeout: float | None
    second_attempt_delay: float | None
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
"""A socket of the driver's library: `socket.socket`, or trio's."""
_Socket = TypeVar("_Socket")
Result = TypeVar("Result")
Check = bytes | Callable[[_Socket], object]
"""Bytes that the server has to send first, or a function that is given the connected socket (trio's own with trio)
and returns something true, or raises, as its docstring says."""
OnConnect = Callable[[_Socket], Awaitable[_Socket | None] | _Socket | None]
"""A function that is called with each new connected socket, and returns None or another socket to be used in its
place; or a coroutine function that does."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""What `safeconnect.asyncio.open_connection` gives."""

# Answers

How = Literal["clean", "reset", "timed out", "overflow"]
"""How a connection was ended; see `Closed`."""
Parity = Literal["even", "odd"]
"""Which source ports the kernel prefers."""
Reason = Literal["exposed", "other-parity", "foreign-host", "no-way", "outside-range", "reserved"]
"""Why a connect can meet itself, or cannot; see `Exposure`."""
Severity = Literal["error", "warning", "info", "ok"]
"""How bad a finding is."""
Family = Literal["IPv4", "IPv6", "both"]
"""Which addresses were looked up."""
Failure = Literal["unknown", "no-address", "no-answer", "timed-out", "failed"]
"""Why a lookup gave nothing."""
Outcome = Literal["connected", "refused", "met-itself", "silent", "unreachable", "no-source-port", "failed"]
"""How a connect ended."""

# Faults and programs

Handler = Callable[[Peer], object]
"""What a server does with one connection; when it returns, the connection is closed."""
Step = Literal["refuse", "reset", "close", "silent", "serve"] | Handler
"""What a server of `safeconnect.testing.flaky` does with one connection."""
Word = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Args = Word | Sequence[Word]
"""What `subprocess.run` takes: a program, or a program and its arguments."""

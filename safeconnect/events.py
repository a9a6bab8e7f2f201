"""What the dial is told (events) and what it asks for (orders); their stream is the trace."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    SockAddr = tuple[Any, ...]
    Candidate = tuple[int, int, int, str, SockAddr]  # as getaddrinfo gives them
    Lookup = Literal["both", "AAAA", "A"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A lookup has given these candidates, in the resolver's order."""

    lookup: Lookup
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class ResolveFailed:
    """A lookup has failed."""

    lookup: Lookup
    error: OSError


@dataclass(frozen=True, slots=True)
class Connected:
    """An attempt has a connection between these two addresses."""

    attempt: int
    local: SockAddr
    peer: SockAddr


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt has failed, and its socket is closed."""

    attempt: int
    error: OSError


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `Dial.wake_at` is reached."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look the host up: for both families at once, or for one of them."""

    lookup: Lookup


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to connect to the candidate."""

    attempt: int
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Abandon:
    """Close the attempt's socket; with a reset where it has met itself."""

    attempt: int
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Hand this attempt's socket to the caller. The dial is over."""

    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error. The dial is over."""

    error: OSError | ExceptionGroup[OSError]


Event = Resolved | ResolveFailed | Connected | Failed | Tick
Order = Resolve | Start | Abandon | Keep | GiveUp

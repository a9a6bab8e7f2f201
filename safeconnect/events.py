"""The values that ``trace=`` is called with: events, which have happened, and orders, which say what is done next.

Each is immutable. Tell them apart by their classes:

>>> trace = [Resolve("both"), Keep(1)]
>>> [step for step in trace if isinstance(step, Keep)]
[Keep(attempt=1)]
"""

from __future__ import annotations

from dataclasses import dataclass

from ._lazy import typing as t

__all__ = [
    "Abandon",
    "Connected",
    "Failed",
    "GiveUp",
    "Keep",
    "Resolve",
    "ResolveFailed",
    "Resolved",
    "Start",
    "Tick",
]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A lookup has given these candidates, in the resolver's order.

    :ivar lookup: the families looked up: ``"both"``, ``"AAAA"`` or ``"A"``.
    :ivar candidates: addresses, as `socket.getaddrinfo` gives them.
    """

    lookup: t.Lookup
    candidates: tuple[t.Candidate, ...]


@dataclass(frozen=True, slots=True)
class ResolveFailed:
    """A lookup has failed.

    :ivar lookup: the families looked up, as in `Resolved`.
    :ivar error: what the resolver raised.
    """

    lookup: t.Lookup
    error: OSError


@dataclass(frozen=True, slots=True)
class Connected:
    """An attempt has a connection.

    :ivar attempt: the number of the attempt, as in `Start`.
    :ivar local: the address of this side.
    :ivar peer: the address of the other side.
    """

    attempt: int
    local: t.SockAddr
    peer: t.SockAddr


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt has failed, and its socket is closed.

    :ivar attempt: the number of the attempt, as in `Start`.
    :ivar error: why.
    """

    attempt: int
    error: OSError


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: something is due."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look the host up.

    :ivar lookup: the families: ``"both"`` at once, ``"AAAA"`` or ``"A"``.
    """

    lookup: t.Lookup


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to connect to an address.

    :ivar attempt: the number of the attempt, counted from 1.
    :ivar candidate: the address, as `socket.getaddrinfo` gives it.
    :ivar beside: None as a rule. Otherwise this is a second attempt, and here is the number of the first one at the
        same address, which has not been answered and goes on.
    """

    attempt: int
    candidate: t.Candidate
    beside: int | None = None


@dataclass(frozen=True, slots=True)
class Abandon:
    """Close the socket of an attempt.

    :ivar attempt: the number of the attempt, as in `Start`.
    :ivar reset: True where the socket is self-connected: it is closed with a reset.
    :ivar replaced: True where it is a second attempt without an answer, and the next `Start` takes its place.
    """

    attempt: int
    reset: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Hand the socket of an attempt to the caller. The connect is over.

    :ivar attempt: the number of the attempt, as in `Start`.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error. The connect is over.

    :ivar error: an `OSError`, or with ``all_errors=True`` a group of them.
    """

    error: OSError | ExceptionGroup[OSError]

"""Retry as values: how long to pause, after which errors, how often, and when a fleet must hold back.

Pure: no socket, no clock, no randomness. What is random comes from the caller through ``draw()``, a callable that
returns a float of [0, 1) as ``random.random`` does; nothing here sleeps.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from ._fork import Guard
from ._lazy import publish
from ._lazy import typing as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .typing import Draw, HasDelay


_REFUSED = frozenset({errno.ECONNREFUSED, 10061})
_ADDRESS_NOT_AVAILABLE = frozenset({errno.EADDRNOTAVAIL, 10049})
# What may be gone a moment later, each with Winsock's number for it, which no other system uses. What is not here is
# permanent: EACCES, EPERM, EAFNOSUPPORT, EINVAL, ... and EMFILE and ENFILE, for waiting cures no leak of descriptors.
_TRANSIENT = _ADDRESS_NOT_AVAILABLE | {
    *(errno.ETIMEDOUT, 10060, errno.EINTR, 10004, errno.EAGAIN, errno.EWOULDBLOCK, 10035),
    *(errno.ECONNRESET, 10054, errno.ECONNABORTED, 10053, errno.ENETRESET, 10052, errno.EPIPE),
    *(errno.ENETUNREACH, 10051, errno.EHOSTUNREACH, 10065, errno.ENETDOWN, 10050, errno.EHOSTDOWN, 10064),
    *(errno.EADDRINUSE, 10048, errno.ENOBUFS, 10055),
}
# Python's classes for some of them: asyncio and mocks raise these without a number.
_TRANSIENT_CLASSES = (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
# ConnectEx(), by which asyncio connects on Windows, speaks Win32: semaphore timeout, network name deleted, network
# unreachable, host unreachable, connection aborted. (Refused is 1225, which Python makes a ConnectionRefusedError.)
_TRANSIENT_WIN32 = frozenset({121, 64, 1231, 1232, 1236})
# Subclasses of OSError that number their errors in their own way, and which of the numbers pass by themselves. A
# gaierror's is EAI_AGAIN: -3 on Linux and OpenBSD, 2 on other BSDs, macOS and Android, 11002 on Windows. No system uses
# another's number for anything else. A herror's is TRY_AGAIN.
_OWN_NUMBERS = {"gaierror": frozenset({-3, 2, 11002}), "herror": frozenset({2, 11002}), "SSLError": frozenset[int]()}

# tcp_tw_reuse: Linux lets a new connection have the addresses and ports of one in TIME_WAIT after a second, see tcp(7).
_TIME_WAIT_REUSE = 1.0
_MANY = 1e9  # seconds, or anything else that is counted here


def is_transient(error: BaseException, *, refused: bool = True) -> bool:
    """Return True if a connect that failed so may well succeed a moment later.

    Transient are: a timeout, refused, reset, aborted; network or host unreachable or down; an address or port in use
    or not available; a lack of buffers; an interrupted call; a name server that did not answer (EAI_AGAIN). All else is
    permanent: no permission, no such name, an unsupported family, no descriptors left, wrong arguments, TLS errors,
    anything unknown. A group of errors is transient where any of its members is, for one address is enough.

    :param refused: whether a refused connection is transient: True (the default), for the server may just be starting
        again; False where that nobody listens is an answer.
    :returns: True for a transient error, False for any other; nothing is raised.

    >>> is_transient(TimeoutError()), is_transient(PermissionError(13, "denied"))
    (True, False)
    >>> is_transient(ConnectionRefusedError(), refused=False)
    False
    """
    if isinstance(error, ExceptionGroup):
        return any(is_transient(member, refused=refused) for member in error.exceptions)
    if not isinstance(error, OSError):
        return False
    for cls in type(error).__mro__:
        if cls.__name__ in _OWN_NUMBERS:
            return error.errno in _OWN_NUMBERS[cls.__name__]
    if isinstance(error, ConnectionRefusedError) or error.errno in _REFUSED:
        return refused
    if isinstance(error, _TRANSIENT_CLASSES) or error.errno in _TRANSIENT:
        return True
    return getattr(error, "winerror", None) in _TRANSIENT_WIN32


def _is_address_not_available(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_address_not_available, error.exceptions))
    return isinstance(error, OSError) and error.errno in _ADDRESS_NOT_AVAILABLE


def _number(name: str, value: object, least: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not least <= value <= _MANY:
        raise ValueError(f"{name} must be a number from {least:g} to {_MANY:g}, not {value!r}")
    return float(value)


class _Composable:
    __slots__ = ()

    def __add__(self: t.HasDelay, other: t.HasDelay | float) -> _Both:
        right = _operand(other)
        return NotImplemented if right is None else _Both(sum, self, right)

    def __or__(self: t.HasDelay, other: t.HasDelay | float) -> _Both:
        right = _operand(other)
        return NotImplemented if right is None else _Both(max, self, right)

    __radd__ = __add__
    __ror__ = __or__


@dataclass(frozen=True, slots=True)
class Backoff(_Composable):
    """Pauses that grow: before retry number n at most ``min(maximum, initial * factor ** (n - 1))`` seconds, the cap.

    Jitter keeps clients that failed together from coming back together. ``"full"``: anywhere from 0 to the cap.
    ``"equal"``: from half the cap to the cap. ``"decorrelated"``: from ``initial`` to three times the previous pause,
    within ``maximum``; ``factor`` is not used. ``"none"``: the cap itself. See the AWS Architecture Blog, "Exponential
    Backoff And Jitter".

    ``a + b`` pauses as long as both together, ``a | b`` as long as the longer of the two. Either may be a number of
    seconds: ``Backoff() | 0.5`` pauses for 0.5 s at least. The result has the same ``delay``, unbounded by ``maximum``.

    :param initial: the first cap in seconds, 0 or more; default 0.1.
    :param factor: how much the cap grows from one retry to the next, 1 or more; default 2.
    :param maximum: no pause is longer, in seconds, 0 or more, be it below ``initial``; default 10.
    :param jitter: ``"full"`` (the default), ``"equal"``, ``"decorrelated"`` or ``"none"``.
    :raises TypeError: something else than a number is given for one, here or beside ``+`` or ``|``.
    :raises ValueError: a number is out of bounds (1e9 at most), or ``jitter`` is none of the four.

    >>> [Backoff(jitter="none").delay(n, draw=lambda: 0.5) for n in (1, 2, 3, 99)]
    [0.1, 0.2, 0.4, 10.0]
    >>> (Backoff(jitter="equal") + 0.5).delay(1, draw=lambda: 0.0)
    0.55
    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 10.0
    jitter: t.Jitter = "full"

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", _number("initial", self.initial, 0))
        object.__setattr__(self, "factor", _number("factor", self.factor, 1))
        object.__setattr__(self, "maximum", _number("maximum", self.maximum, 0))
        if self.jitter not in ("full", "equal", "decorrelated", "none"):
            raise ValueError(f"jitter must be 'full', 'equal', 'decorrelated' or 'none', not {self.jitter!r}")

    def delay(self, n: int, draw: t.Draw, previous: float | None = None) -> float:
        """The pause before retry number ``n``, in seconds: from 0 to ``maximum``.

        :param n: the number of the retry, counted from 1.
        :param draw: returns a float of [0, 1); called once, and not at all for jitter ``"none"``.
        :param previous: the pause before the last retry, for jitter ``"decorrelated"``; ``initial`` when left out.
        :raises ValueError: ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be 1 or more, not {n}")
        if self.jitter == "decorrelated":
            last = self.initial if previous is None else min(max(previous, self.initial), self.maximum)
            return min(self.maximum, self.initial + draw() * (3 * last - self.initial))
        try:
            cap = min(self.maximum, self.initial * self.factor ** (n - 1))
        except OverflowError:
            cap = self.maximum if self.initial and self.factor > 1 else min(self.maximum, self.initial)
        if self.jitter == "none":
            return cap
        return draw() * cap if self.jitter == "full" else cap / 2 + draw() * cap / 2


@dataclass(frozen=True, slots=True)
class _Both(_Composable):
    combine: Callable[[tuple[float, float]], float]
    left: HasDelay
    right: HasDelay

    def delay(self, n: int, draw: Draw, previous: float | None = None) -> float:
        return self.combine((self.left.delay(n, draw, previous), self.right.delay(n, draw, previous)))


def _operand(other: HasDelay | float) -> HasDelay | None:
    if isinstance(other, (int, float)):
        seconds = _number("seconds", other, 0)
        return Backoff(seconds, 1, seconds, "none")
    return other if hasattr(other, "delay") else None


class RetryBudget:
    """A bucket of tokens that keeps clients from storming a server that is down; share one between connectors.

    It starts full. A failure takes a token, a success gives a part of one back, and while no more than half of the
    tokens are left nobody retries; first attempts are never held back. It is gRPC's retry throttling (proposal A6) and
    counts in thousandths of a token, too. Thread-safe; equal only to itself. A copy (`copy.copy`,
    `copy.deepcopy`, pickle) has the same settings, begins full and is a bucket of its own.

    :param tokens: how many tokens the full bucket holds, 1 or more; default 10.
    :param ratio: how much of a token a success gives back, 0.001 or more; default 0.1.
    :raises TypeError: an argument is not a number.
    :raises ValueError: an argument is out of bounds (1e9 at most).

    >>> budget = RetryBudget(tokens=4)
    >>> budget.failed(), budget.failed(), budget.allows()
    (None, None, False)
    >>> budget.succeeded(), budget.allows(), budget.level
    (None, True, 2.1)
    """

    __slots__ = ("_full", "_guard", "_level", "_share")

    def __init__(self, tokens: float = 10.0, ratio: float = 0.1) -> None:
        self._full = self._level = round(_number("tokens", tokens, 1) * 1000)
        self._share = round(_number("ratio", ratio, 0.001) * 1000)
        self._guard = Guard()

    def __reduce__(self) -> tuple[type[RetryBudget], tuple[float, float]]:
        return type(self), (self._full / 1000, self._share / 1000)

    @property
    def level(self) -> float:
        """The number of tokens that are left, from 0 to ``tokens``."""
        return self._level / 1000

    def failed(self) -> None:
        """Take a token for an attempt that failed, as far as there is one."""
        with self._guard.lock:
            self._level = max(self._level - 1000, 0)

    def succeeded(self) -> None:
        """Give ``ratio`` back for an attempt that succeeded, as far as there is room."""
        with self._guard.lock:
            self._level = min(self._level + self._share, self._full)

    def allows(self) -> bool:
        """Return True if a retry may be made: more than half of the tokens are left. Takes none."""
        return 2 * self._level > self._full

    def __repr__(self) -> str:
        return f"<RetryBudget level={self.level} tokens={self._full / 1000} ratio={self._share / 1000}>"


@dataclass(frozen=True, slots=True)
class Retry:
    """When a connect that failed at *all* addresses starts over, and after how long.

    A value only: it does not sleep, nor ask the clock or the budget. Whoever connects does. A pause that would outlast
    the deadline is cut, so that a last round has as long as the round before it took and a tenth of a second more; if
    there is less time than that, the last error is raised at once. A deadline that has passed is never retried: to
    retry silence takes an ``attempt_timeout``, by which an attempt ends before the deadline (see `Connector`).

    :param attempts: rounds in all, the first included, 1 or more; None: what the deadline allows; default 3.
    :param backoff: the pauses, a `Backoff` or anything with its ``delay`` method; default ``Backoff()``.
    :param on: called with the error, says whether to retry; default `is_transient`. Where a refused connection is an
        answer: ``on=lambda error: is_transient(error, refused=False)``.
    :param budget: a `RetryBudget` to be asked before each retry, or None (the default).
    :raises TypeError: an argument is of the wrong type.
    :raises ValueError: ``attempts`` is below 1 (or above 1e9).

    >>> retry = Retry(attempts=2, backoff=Backoff(initial=0.2, jitter="none"))
    >>> retry.pause(1, TimeoutError(), draw=lambda: 0.5), retry.pause(2, TimeoutError(), draw=lambda: 0.5)
    (0.2, None)
    """

    attempts: int | None = 3
    backoff: t.HasDelay = Backoff()
    on: t.Callable[[BaseException], bool] = is_transient
    budget: t.RetryBudget | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None:
            if not isinstance(self.attempts, int) or isinstance(self.attempts, bool):
                raise TypeError(f"attempts must be an int or None, not {type(self.attempts).__name__}")
            _number("attempts", self.attempts, 1)
        if not callable(getattr(self.backoff, "delay", None)):
            raise TypeError(f"backoff must have a delay method, as a Backoff has, not be {self.backoff!r}")
        if not callable(self.on):
            raise TypeError(f"on must be a callable, not {type(self.on).__name__}")
        if not isinstance(self.budget, (RetryBudget, type(None))):
            raise TypeError(f"budget must be a RetryBudget or None, not {type(self.budget).__name__}")

    def pause(
        self, n: int, error: BaseException, draw: t.Draw, *, fixed_port: bool = False, previous: float | None = None
    ) -> float | None:
        """Return how many seconds to wait after round ``n`` has failed, or None if that was the last one.

        :param n: the round that failed, counted from 1; the pause is the one before retry number ``n``.
        :param error: what it failed with, as given to ``on``.
        :param fixed_port: whether the source port was given. EADDRNOTAVAIL then tells of an older connection in
            TIME_WAIT, whose ports Linux gives to a new one after a second: the pause is 1 s at least.
        :param draw: as for `Backoff.delay`.
        :param previous: as for `Backoff.delay`.
        :raises ValueError: ``n`` is below 1.
        """
        if (self.attempts is not None and n >= self.attempts) or not self.on(error):
            return None
        seconds = self.backoff.delay(n, draw, previous)
        if fixed_port and _is_address_not_available(error):
            return max(seconds, _TIME_WAIT_REUSE)
        return seconds


publish("safeconnect", Backoff, Retry, RetryBudget, is_transient)

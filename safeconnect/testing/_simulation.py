"""`Script`: a simulated network in virtual time, for exact tests of settings that take no time."""

from __future__ import annotations

import errno
import heapq
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count
from math import inf

from .._connect.settings import check_seconds
from .._connect.state_machine import Dial, Rules
from .._connect.timing import SecondAttempts
from ..events import Abandon, Connected, Failed, GiveUp, Keep, Resolve, Resolved, Start, Tick
from ..retry import Retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Candidate, Event, Order

_ERRORS = {
    "refused": errno.ECONNREFUSED,
    "reset": errno.ECONNRESET,
    "timed out": errno.ETIMEDOUT,
    "unreachable": errno.EHOSTUNREACH,
    "denied": errno.EACCES,
    "exhausted": errno.EADDRNOTAVAIL,
}
_SOURCE_PORT = 40000  # the client's; nothing depends on it


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a scripted connect.

    :ivar timeline: what was done and when, ``[(seconds, "start 192.0.2.1"), ...]``: ``start``, ``abandon`` and
        ``reset``, each with its address; at the end ``keep`` or ``give up``.
    :ivar connected_to: the address that won; None if none did.
    :ivar error: the error that the connect ended with; None if it succeeded.
    :ivar seconds: how long it took, in virtual time.
    """

    timeline: list[tuple[float, str]]
    connected_to: str | None
    error: BaseException | None
    seconds: float

    def starts(self) -> list[tuple[float, str]]:
        """Return when each address was tried: ``[(seconds, address), ...]``."""
        return [(when, what[6:]) for when, what in self.timeline if what.startswith("start ")]


class Script:
    """The outcomes at each address of a name, to try settings without a network and without waiting.

    The connect follows the same state machine as `create_connection`.

    :param addresses: for each literal address, in the resolver's order, the outcome of every attempt, or a list: of the
        first, the second, ... (the last one repeats). An outcome is ``"ok"``, ``"refused"``, ``"reset"``,
        ``"timed out"`` (the kernel's own timeout), ``"unreachable"``, ``"denied"``, ``"exhausted"``, ``"silent"`` or
        ``"itself"`` (a self-connect). All but ``"silent"`` may say after how many seconds: ``"ok after 0.08"``.
    :param port: the port of all of them.
    :param lookup: how many seconds the lookup of the name takes.
    :raises ValueError: there is no address, a literal one is wrong, or an outcome is unknown.

    >>> script = Script({"2001:db8::1": "silent", "192.0.2.1": ["refused after 0.1", "ok after 0.02"]})
    >>> from safeconnect import Backoff, Retry
    >>> result = script.connect(timeout=5, retry=Retry(backoff=Backoff(initial=0.5, jitter="none")))
    >>> for when, what in result.timeline[:2]:
    ...     print(when, what)
    0.0 start 2001:db8::1
    0.25 start 192.0.2.1
    """

    def __init__(self, addresses: Mapping[str, str | Sequence[str]], *, port: int = 80, lookup: float = 0.0) -> None:
        check_seconds("lookup", lookup)
        if not addresses:
            raise ValueError("addresses must have an address")
        self._outcomes = {address: _outcomes(address, said) for address, said in addresses.items()}
        self._candidates = tuple(_candidate(address, port) for address in addresses)
        self._lookup = lookup

    def __repr__(self) -> str:
        return f"<Script of {', '.join(self._outcomes)}>"

    def connect(
        self,
        *,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        second_attempt_delay: float | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        retry: Retry | None = None,
        allow_self_connect: bool = False,
        all_errors: bool = False,
        draw: Callable[[], float] = lambda: 0.5,
    ) -> Result:
        """Connect in virtual time.

        :param timeout: like the other settings, as for a `Connector`.
        :param second_attempt_delay: None unless it is given. The kernel is one that sends a SYN again after 1, 3, 7 ...
            seconds.
        :param draw: the source of chance for jitter; each call returns a number of [0, 1).
        :returns: a `Result`. An error of the connect is in it, not raised.
        :raises AssertionError: it would wait without a limit, as for a silent address without a timeout.
        """
        rules = Rules(
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            second=None if second_attempt_delay is None else SecondAttempts(second_attempt_delay),
            delay=happy_eyeballs_delay,
            retry=retry,
            allow_self_connect=allow_self_connect,
            all_errors=all_errors,
        )
        return _Run(Dial(rules, draw), self._outcomes, self._candidates, self._lookup).result()


@dataclass(slots=True)
class _Run:
    """One connect of a script."""

    _dial: Dial
    _outcomes: Mapping[str, Sequence[tuple[str, float]]]
    _candidates: tuple[Candidate, ...]
    _lookup: float
    _now: float = 0.0
    _tried: Counter[str] = field(default_factory=Counter)
    _attempts: dict[int, str] = field(default_factory=dict)
    _scheduled: list[tuple[float, int, Event]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _timeline: list[tuple[float, str]] = field(default_factory=list)
    _kept: str | None = None
    _error: BaseException | None = None

    def result(self) -> Result:
        self._carry_out(self._dial.begin(self._now))
        while not self._dial.over:
            event = self._next()
            self._carry_out(self._dial.receive(event, self._now))
        return Result(self._timeline, self._kept, self._error, round(self._now, 6))

    def _next(self) -> Event:
        wake_at = self._dial.wake_at
        if not self._scheduled and wake_at is None:
            raise AssertionError("it would wait without a limit: give it a timeout")
        if not self._scheduled or (wake_at is not None and wake_at < self._scheduled[0][0]):
            self._now = wake_at if wake_at is not None else self._now
            return Tick()
        self._now, _, event = heapq.heappop(self._scheduled)
        return event

    def _carry_out(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if isinstance(order, Resolve):
                self._schedule(self._lookup, Resolved(order.lookup, self._candidates))
            elif isinstance(order, Start):
                self._start(order)
            elif isinstance(order, Abandon):
                self._write(f"{'reset' if order.reset else 'abandon'} {self._attempts[order.attempt]}")
            elif isinstance(order, Keep):
                self._kept = self._attempts[order.attempt]
                self._write(f"keep {self._kept}")
            elif isinstance(order, GiveUp):
                self._error = order.error
                self._write("give up")

    def _start(self, order: Start) -> None:
        sockaddr = order.candidate[4]
        address = self._attempts[order.attempt] = sockaddr[0]
        self._write(f"start {address}")
        outcomes = self._outcomes[address]
        what, seconds = outcomes[min(self._tried[address], len(outcomes) - 1)]
        self._tried[address] += 1
        if what in _ERRORS:
            event: Event = Failed(order.attempt, OSError(_ERRORS[what], os.strerror(_ERRORS[what])))
        else:
            local = sockaddr if what == "itself" else (sockaddr[0], _SOURCE_PORT, *sockaddr[2:])
            event = Connected(order.attempt, local, sockaddr)
        if what != "silent":
            self._schedule(seconds, event)

    def _schedule(self, seconds: float, event: Event) -> None:
        heapq.heappush(self._scheduled, (self._now + seconds, next(self._numbers), event))

    def _write(self, what: str) -> None:
        self._timeline.append((round(self._now, 6), what))


def _candidate(address: str, port: int) -> Candidate:
    is_six = ip_address(address).version == 6
    sockaddr: tuple[Any, ...] = (address, port, 0, 0) if is_six else (address, port)
    return socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr


def _outcomes(address: str, said: str | Sequence[str]) -> list[tuple[str, float]]:
    outcomes = []
    for each in [said] if isinstance(said, str) else said:
        what, _, seconds = each.partition(" after ")
        if what not in {*_ERRORS, "ok", "itself", "silent"} or (what == "silent" and seconds):
            raise ValueError(
                f"the outcome at {address} must be one of ok, silent, itself, {', '.join(_ERRORS)}, "
                f"with ' after ' and seconds if need be, not {each!r}"
            )
        outcomes.append((what, float(seconds or 0)))
        if not 0 <= outcomes[-1][1] < inf:
            raise ValueError(f"the seconds at {address} must be 0 or more, not {seconds!r}")
    if not outcomes:
        raise ValueError(f"there must be an outcome at {address}")
    return outcomes

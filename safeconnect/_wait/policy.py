"""Waiting: when to try next until a port is up, what counts as up, and the account of what was seen.

Tries follow each other after pauses that grow to the interval; each may take its own time or what is left until the
deadline. They go on to the end: a pause that would lead past it is cut, so that the last try begins just before. There
is no clock, no socket and no chance in here: ``now`` is an argument, in seconds of any clock that only goes forward,
and so is ``draw``.
"""

from __future__ import annotations

import errno
import sys
from math import inf

from .._checks import check_bool
from .._connect import verdict
from .._connect.settings import Settings
from .._connect.settings import check_seconds as check_timeout
from .._fork import imports
from .._sockets.endpoint import written
from .._text import harmless, shown
from ..errors import PortsExhaustedError, SelfConnectError
from ..ports import PortSet
from ..retry import Backoff, is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..typing import AnyOption, Draw

    AnySettings = TypeVar("AnySettings", bound=Settings)

# How long before the deadline the last try begins, at the latest: hundreds of times what it takes on one host.
LAST = 0.01
# What a try is given at least, and what makes another one worth while.
SHORTEST = 0.001
_FIRST_PAUSE = 1 / 8  # of the interval
# Selectors and timers take no more than some weeks.
_LONGEST = 86_400.0
_TCP_FASTOPEN_CONNECT = (6, 30)  # linux/tcp.h

# This host has no way to an address, so nothing can be said of it: an IPv6 address where there is no IPv6.
_NO_WAY = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Waiting:
    """One wait: a driver makes a try, tells how it ended, pauses, and makes the next.

    :param spare_ports: the source ports that the kernel chooses for no connect: for the tries that it has no other for.
    :param tell: called after each try that was none, with what it saw (as the account calls it) and the text.
    :param now: when the wait begins.
    :raises TypeError: an argument is of a wrong type.
    :raises ValueError: an argument is out of range.
    """

    def __init__(
        self,
        address: tuple[Any, ...],
        timeout: float | None,
        *,
        interval: float,
        attempt_timeout: float,
        check: object,
        gone: bool,
        draw: Draw,
        spare_ports: Callable[[], PortSet],
        now: float,
        tell: Callable[[str, str], object] | None = None,
    ) -> None:
        if not isinstance(address, tuple):
            raise TypeError(f"address must be (host, port), not {address!r}")
        if len(address) not in (2, 4):
            raise ValueError(f"address must be (host, port) or (host, port, flowinfo, scope_id), not {address!r}")
        check_timeout("timeout", timeout)
        _check_positive("interval", interval)
        _check_positive("attempt_timeout", attempt_timeout)
        check_bool("gone", gone)
        _check_check(check)
        if gone and check is not None:
            raise ValueError("check is not allowed with gone: nobody is there to be checked")
        self._name = written(address)
        self._timeout = None if timeout is None else float(timeout)
        self._attempt_timeout = float(attempt_timeout)
        self._gone = gone
        self._draw = draw
        self._spare_ports = spare_ports
        self._tell = tell
        self._needs_spare = False
        self._port = address[1]
        self._backoff = Backoff(interval * _FIRST_PAUSE, 2, interval, "equal")
        self._began = now
        self._deadline = inf if self._timeout is None else now + self._timeout
        self.tries = 0
        self._try_ends = now
        self._is_cut = False  # whether the deadline leaves the try less time than it should have
        self._seen: dict[str, int] = {}
        self._last = ""  # what the last try saw, and when: text, for an error would keep its frames alive
        self._last_at = now
        self._notes: list[str] = []

    # A try

    def aimed(self, plan: AnySettings) -> AnySettings:
        """How to connect at the next try.

        Where the kernel had no source port toward the target but the target's own, or none at all, that does not tell
        whether somebody listens: such a wait goes on from ports that the kernel gives to nobody.
        """
        if not self._needs_spare or plan.source_address is not None or plan.source_ports is not None:
            return plan
        ports = self._spare_ports() - PortSet([self._port])
        return plan.replace(source_ports=ports) if ports else plan

    def begin(self, now: float) -> float:
        """A try begins: how many seconds it may take."""
        self.tries += 1
        seconds = self._attempt_timeout
        if self._timeout:  # with 0, the only try has its own time
            seconds = min(seconds, max(self._deadline - now, SHORTEST))
        self._try_ends = now + seconds
        self._is_cut = seconds < self._attempt_timeout
        return seconds

    def left(self, now: float) -> float:
        """How many seconds of the try are left.

        :raises TimeoutError: none.
        """
        if now >= self._try_ends:
            raise TimeoutError("timed out")
        return self._try_ends - now

    def connected(self, now: float) -> bool:
        """Somebody listens: whether that is what is waited for."""
        if self._gone:
            self.saw("connected", "connected", now)
        return not self._gone

    def checked(self, is_right: object, told: str, now: float) -> bool:
        """The check has ended: whether it is the right one, and if not, what tells."""
        if not is_right:
            self.saw("wrong answer", told, now)
        return bool(is_right)

    def check_failed(self, error: OSError, now: float) -> bool:
        """The check has ended in an error, which is no success."""
        if not self._was_cut_short(error):
            self.saw(f"connected, then {_kind(error)}", _text(error), now)
        return False

    def failed(self, error: Exception, now: float) -> bool:
        """The connect has failed: whether that is what is waited for.

        :param error: with ``gone`` it is a group, with an error for each address.
        :raises Exception: the error, where no later try could end otherwise.
        """
        if self._gone:
            against = _against_gone(error)
            if against is None and now < self._try_ends:
                return True
            # Its time was up when the last refusal came: there may be addresses that had no turn.
            error = against or TimeoutError("timed out")
            del against
        self._needs_spare = self._needs_spare or _has_no_port(error)
        if _is_hopeless(error):
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: a cycle
        if self._was_cut_short(error):
            return False
        self.saw(_kind(error), _text(error), now)
        # The line for the address itself would say the same again.
        notes = getattr(error, "__notes__", ())
        self._notes = [note for note in notes if not note.startswith(f"{self._name}: ")]
        return False

    # Between two tries

    def pause(self, now: float) -> float:
        """How many seconds to wait for the next try.

        :raises TimeoutError: there is no time for another.
        """
        rest = self._deadline - LAST - now
        if rest < SHORTEST:
            raise self._late()
        return min(self._backoff.delay(self.tries, self._draw), rest)

    def _was_cut_short(self, error: Exception) -> bool:
        """Whether the try has only met the deadline: no news of the other side, so what the last one saw stands."""
        if not (self._is_cut and self._seen and isinstance(error, TimeoutError)):
            return False
        self._seen["cut short"] = 1
        return True

    def saw(self, kind: str, text: str, now: float) -> None:
        """A try was none: what it saw, as the account calls it, and in words."""
        self._seen[kind] = self._seen.get(kind, 0) + 1
        self._last = text
        self._last_at = now
        self._notes = []
        if self._tell is not None:
            self._tell(kind, text)

    def _late(self) -> TimeoutError:
        error = TimeoutError("timed out")
        within = f"within {verdict.duration(self._timeout)}" if self._timeout else "at the only try"
        seen = ", ".join(f"{kind} {_times(count)}" for kind, count in self._seen.items())
        last = f"the last after {verdict.duration(self._last_at - self._began)}: {self._last}"
        error.add_note(f"{self._name} was not {'gone' if self._gone else 'up'} {within}: {seen}; {last}")
        for note in self._notes:
            error.add_note(note)
        return error


class Greeting:
    """What a server must send first, as far as it has come."""

    def __init__(self, expected: bytes) -> None:
        self._expected = expected
        self._received = b""
        self.missing = len(expected)  # how many bytes are still to be read; 0 once it is decided

    def received(self, data: bytes) -> None:
        """So much has come; nothing at the end of the stream."""
        self._received += data
        goes_on = bool(data) and self._expected.startswith(self._received)
        self.missing = len(self._expected) - len(self._received) if goes_on else 0

    @property
    def is_right(self) -> bool:
        """Whether all of it has come."""
        return self._received == self._expected

    @property
    def told(self) -> str:
        """What came instead."""
        return f"it sent {self._received!r} in the place of {self._expected!r}"


def probing(connector: AnySettings, *, gone: bool) -> AnySettings:
    """The same settings for one single try, which cannot be fooled."""
    if not isinstance(connector, Settings):
        raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
    # With `gone`, every address has to be heard. A fast open connects before it has sent anything.
    options = [option for option in connector.options if not _is_fast_open(option)]
    return connector.replace(retry=None, allow_self_connect=False, all_errors=gone, options=options)


def _is_fast_open(option: AnyOption) -> bool:
    if isinstance(option, tuple):
        return sys.platform == "linux" and option[:2] == _TCP_FASTOPEN_CONNECT
    with imports.lock:
        from ..options import FastOpenConnect  # who has such options has loaded it

    return isinstance(option, FastOpenConnect)


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0 < value <= _LONGEST:  # not-a-number fails, too
        raise ValueError(f"{name} must be more than 0 and at most {_LONGEST:.0f} seconds, not {shown(value)}")


def _check_check(check: object) -> None:
    if check is not None and not isinstance(check, bytes) and not callable(check):
        raise TypeError(f"check must be bytes or a callable, not {type(check).__name__}")
    if check == b"":
        raise ValueError("check must not be empty: every server sends nothing first")


def _against_gone(error: Exception) -> Exception | None:
    """What speaks against it that nobody listens any more: the most telling error; None where nothing does."""
    errors = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    told = [each for each in errors if isinstance(each, OSError)]
    if len(told) < len(errors):
        return error  # not of a connect's making
    others = [each for each in told if not isinstance(each, ConnectionRefusedError)]
    if len(others) < len(told):
        others = [each for each in others if not _has_no_way(each)]
    return max(reversed(others), key=verdict.rank, default=None)


def _has_no_way(error: OSError) -> bool:
    return error.errno in _NO_WAY and not isinstance(error, PortsExhaustedError)


def _has_no_port(error: Exception) -> bool:
    return isinstance(error, (SelfConnectError, PortsExhaustedError))


def _is_hopeless(error: Exception) -> bool:
    """Whether it is a mistake of the program's, or a name that does not exist."""
    if not isinstance(error, OSError) or isinstance(error, (ValueError, TypeError, PermissionError)):
        return True
    return _is_lookup(error) and not is_transient(error)


def _is_lookup(error: Exception) -> bool:
    return any(cls.__name__ == "gaierror" for cls in type(error).__mro__)


def _kind(error: Exception) -> str:
    """What a try saw, as the account calls it."""
    if isinstance(error, SelfConnectError):
        return "met itself"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionResetError):
        return "reset"
    if _is_lookup(error):
        return "name not looked up"
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__) if number else type(error).__name__


def _text(error: Exception) -> str:
    # asyncio's TimeoutError says nothing.
    return harmless(str(error)) or ("timed out" if isinstance(error, TimeoutError) else type(error).__name__)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

"""The policy of `wait_for_port`: when to try again, what counts as success, and the report of what was seen.

Tries follow each other after pauses that grow up to the interval. Each try may take its own time, or what is left until
the deadline. A pause that would lead past the deadline is cut, so that the last try begins just before it.

After a refusal a pause is divided by looks: the driver asks the kernel whether a socket of this host listens at the
target, which sends nothing. If one has begun to listen, the pause is over. A look only makes the next try earlier. A
server that it cannot see, such as one behind a redirection, is found by the tries, as without looks. A listener that a
try does not reach, such as one behind a firewall, makes one try earlier and no more.

There is no clock, socket or randomness in here: ``now``, in seconds of any monotonic clock, and ``draw`` are arguments.
"""

from __future__ import annotations

import errno
import sys
from math import inf

from .._checks import check_bool
from .._connect import connect_error
from .._connect.settings import Settings, check_seconds
from .._fork import imports
from .._sockets.endpoint import written
from .._text import duration, harmless, shown
from ..errors import PortsExhaustedError, SelfConnectError
from ..ports import PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..retry import Backoff
    from ..typing import AnyOption, Draw

    AnySettings = TypeVar("AnySettings", bound=Settings)

# How long before the deadline the last try begins, at the latest: hundreds of times what it takes on one host.
LAST = 0.01
# The least that a try is given. With less time than this left, there is no other try.
SHORTEST = 0.001
# Pauses begin with this, in seconds, or with the interval if that is shorter, and grow by a quarter each. So a pause is
# about a quarter of the time waited so far: a server that comes up late is seen late by no more than that.
_FIRST_PAUSE = 0.025
_GROWTH = 1.25
# The pause between two looks, in seconds: in the first second of the wait, and then a hundredth of the time waited.
LOOK = 0.0035
_STEADY = 1.0
_LOOK_SHARE = 0.01
LONGEST_LOOK = 0.025
# Selectors and timers take no more than some weeks.
_LONGEST = 86_400.0
_TCP_FASTOPEN_CONNECT = (6, 30)  # linux/tcp.h

# This host has no route to an address, so nothing can be said of it: an IPv6 address where there is no IPv6.
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class NotReadyError(ConnectionError):
    """The server has answered, and not as one that is ready. Raised by a check; the text says what it answered."""


class Waiting:
    """The state of one wait. A driver makes a try, reports how it ended, pauses, and makes the next.

    :param spare_ports: the source ports that the kernel never chooses by itself, used when it has no other.
    :param tell: called after each failed try with its kind and a text, as in the report.
    :param now: when the wait begins.
    :param name: the name of the target in the report; by default its address.
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
        name: str = "",
    ) -> None:
        if not isinstance(address, tuple):
            raise TypeError(f"address must be (host, port), not {address!r}")
        if len(address) not in (2, 4):
            raise ValueError(f"address must be (host, port) or (host, port, flowinfo, scope_id), not {address!r}")
        check_seconds("timeout", timeout)
        _check_positive("interval", interval)
        _check_positive("attempt_timeout", attempt_timeout)
        check_bool("gone", gone)
        _check_check(check)
        if gone and check is not None:
            raise ValueError("check is not allowed with gone: nobody is there to be checked")
        self.address = address
        self.check: Any = check
        self._address_name = written(address)
        self._name = name or self._address_name
        self._timeout = None if timeout is None else float(timeout)
        self._attempt_timeout = float(attempt_timeout)
        self._gone = gone
        self._draw = draw
        self._spare_ports = spare_ports
        self._tell = tell
        self._needs_spare_port = False
        self._interval = interval
        self._backoff: Backoff | None = None  # until the first pause
        self._began = now
        self._deadline = inf if self._timeout is None else now + self._timeout
        self.tries = 0
        self._looks = not gone  # False once the driver cannot look
        self._was_refused = False  # the last try
        self._was_seen = False  # the last look has seen a listener
        self._try_ends = now
        self._is_cut = False  # the deadline leaves this try less than its own time
        self._seen: dict[str, int] = {}  # how many tries failed in each way
        self._last = ""  # the last failure: its text, for an error would keep its frames alive; and when it was
        self._last_at = now
        self._notes: list[str] = []

    # A try

    def next_settings(self, settings: AnySettings) -> AnySettings:
        """Return the settings for the next try.

        If the kernel had no source port but the target's own, or none at all, a connect cannot tell whether somebody
        listens. From then on the tries use ports that the kernel never chooses by itself.
        """
        if not self._needs_spare_port or settings.source_address is not None or settings.source_ports is not None:
            return settings
        ports = self._spare_ports() - PortSet([self.address[1]])
        return settings.replace(source_ports=ports) if ports else settings

    def begin(self, now: float) -> float:
        """Begin a try; return its timeout."""
        self.tries += 1
        self._was_refused = False
        timeout = self._attempt_timeout
        if self._timeout:  # with 0, the only try has its own time
            timeout = min(timeout, max(self._deadline - now, SHORTEST))
        self._try_ends = now + timeout
        self._is_cut = timeout < self._attempt_timeout
        return timeout

    def left(self, now: float) -> float:
        """Return how many seconds of the try are left.

        :raises TimeoutError: its time is over.
        """
        if now >= self._try_ends:
            raise TimeoutError("timed out")
        return self._try_ends - now

    def connected(self, now: float) -> bool:
        """Take note that somebody listens; return True if the wait is over."""
        if self._gone:
            self.failed_by("connected", "connected", now)
        return not self._gone

    def checked(self, is_right: object, text: str, now: float) -> bool:
        """Take the result of the check, with a text for a failure; return True if the wait is over."""
        if not is_right:
            self.failed_by("wrong answer", text, now)
        return bool(is_right)

    def check_failed(self, error: OSError, now: float) -> bool:
        """Take note that the check has ended in an error; the wait goes on."""
        if not self._was_cut_short(error):
            kind = "not ready" if isinstance(error, NotReadyError) else f"connected, then {_kind(error)}"
            self.failed_by(kind, _text(error), now)
        return False

    def failed(self, error: Exception, now: float) -> bool:
        """Take note that the connect has failed; return True if the wait is over.

        :param error: with ``gone`` a group that has an error for each address.
        :raises Exception: the error, if no later try could end otherwise.
        """
        if self._gone:
            against = _not_gone(error)
            if against is None and now < self._try_ends:
                return True
            # If the time was up when the last refusal came, there may be addresses that were not tried.
            error = against or TimeoutError("timed out")
            del against
        self._needs_spare_port |= isinstance(error, (SelfConnectError, PortsExhaustedError))
        if _is_hopeless(error):
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: a cycle
        if self._was_cut_short(error):
            return False
        self._was_refused = isinstance(error, ConnectionRefusedError)
        self.failed_by(_kind(error), _text(error), now)
        # The line for the address itself would say the same again.
        notes = getattr(error, "__notes__", ())
        self._notes = [note for note in notes if not note.startswith(f"{self._address_name}: ")]
        return False

    # Between two tries

    def pause(self, now: float) -> float:
        """Return how many seconds to wait before the next try.

        :raises TimeoutError: there is no time for another.
        """
        rest = self._deadline - LAST - now
        if rest < SHORTEST:
            raise self._timed_out()
        if self._backoff is None:
            with imports.lock:
                from ..retry import Backoff  # takes longer to load than the first try; so does is_transient below

            self._backoff = Backoff(min(_FIRST_PAUSE, self._interval), _GROWTH, self._interval, "equal")
        return min(self._backoff.delay(self.tries, self._draw), rest)

    @property
    def looks(self) -> bool:
        """Return True if the driver is to look for a listener during this pause."""
        return self._looks and self._was_refused

    def until_look(self, now: float, ends: float) -> float:
        """Return how many seconds to wait before the next look, or before the end of the pause if there is none.

        :param ends: when the pause ends.
        :returns: 0 or less once the pause is over.
        """
        if not self.looks:
            return ends - now
        waited = now - self._began
        pause = LOOK if waited < _STEADY else min(max(LOOK, waited * _LOOK_SHARE), LONGEST_LOOK)
        return min(pause, ends - now)

    def looked(self, found: bool | None) -> bool:
        """Take what a look has found; return True if the next try is to begin at once.

        :param found: True if a socket listens; None if that cannot be seen, then there are no more looks.
        """
        is_new = bool(found) and not self._was_seen
        self._was_seen = bool(found)
        self._looks = found is not None
        return is_new

    def _was_cut_short(self, error: Exception) -> bool:
        """Return True if only the deadline ended the try. That says nothing new, so the last failure stands."""
        if not (self._is_cut and self._seen and isinstance(error, TimeoutError)):
            return False
        self._seen["cut short"] = 1
        return True

    def failed_by(self, kind: str, text: str, now: float) -> None:
        """Take note of a failed try: its kind for the report, and a text."""
        self._seen[kind] = self._seen.get(kind, 0) + 1
        self._last = text
        self._last_at = now
        self._notes = []
        if self._tell is not None:
            self._tell(kind, text)

    def _timed_out(self) -> TimeoutError:
        time = f"within {duration(self._timeout)}" if self._timeout else "at the only try"
        seen = ", ".join(f"{kind} {_times(count)}" for kind, count in self._seen.items())
        last = f"the last after {duration(self._last_at - self._began)}: {self._last}"
        report = f"{self._name} was not {'gone' if self._gone else 'up'} {time}: {seen}; {last}"
        return connect_error.timed_out(report, *self._notes)


class Greeting:
    """The bytes that a server must send first, and how many of them have come."""

    def __init__(self, expected: bytes) -> None:
        self._expected = expected
        self._received = b""
        self.missing = len(expected)  # how many bytes are still to be read; 0 once it is decided

    def received(self, data: bytes) -> None:
        """Take what was read: b"" at the end of the stream."""
        self._received += data
        goes_on = bool(data) and self._expected.startswith(self._received)
        self.missing = len(self._expected) - len(self._received) if goes_on else 0

    @property
    def is_right(self) -> bool:
        """True if all of it has come."""
        return self._received == self._expected

    @property
    def text(self) -> str:
        """The bytes that came instead."""
        return f"it sent {self._received!r} in the place of {self._expected!r}"


def probe_settings(connector: AnySettings, *, gone: bool) -> AnySettings:
    """Return the same settings for one single try, which succeeds only if somebody listens."""
    if not isinstance(connector, Settings):
        raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
    # With `gone`, every address must be heard. A fast open connects before it has sent anything.
    options = [option for option in connector.options if not _is_fast_open(option)]
    return connector.replace(retry=None, allow_self_connect=False, all_errors=gone, options=options)


def _is_fast_open(option: AnyOption) -> bool:
    if isinstance(option, tuple):
        return sys.platform == "linux" and option[:2] == _TCP_FASTOPEN_CONNECT
    with imports.lock:
        from ..options import FastOpenConnect  # loaded already by whoever has such an option

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


def _not_gone(error: Exception) -> Exception | None:
    """Return the most telling error that is no proof that nobody listens; None if there is no such error."""
    errors = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    known = [each for each in errors if isinstance(each, OSError)]
    if len(known) < len(errors):
        return error  # not from a connect
    others = [each for each in known if not isinstance(each, ConnectionRefusedError)]
    if len(others) < len(known):
        others = [each for each in others if each.errno not in _NO_ROUTE or isinstance(each, PortsExhaustedError)]
    return max(reversed(others), key=connect_error.rank, default=None)


def _is_hopeless(error: Exception) -> bool:
    """Return True for a mistake of the program, and for a name that does not exist."""
    if not isinstance(error, OSError) or isinstance(error, (ValueError, TypeError, PermissionError)):
        return True
    if not _is_lookup(error):
        return False
    with imports.lock:
        from ..retry import is_transient

    return not is_transient(error)


def _is_lookup(error: Exception) -> bool:
    return any(cls.__name__ == "gaierror" for cls in type(error).__mro__)


# How the report calls a failure; the first that fits.
_KINDS = (
    (SelfConnectError, "met itself"),
    (ConnectionRefusedError, "refused"),
    (TimeoutError, "timed out"),
    (ConnectionResetError, "reset"),
)


def _kind(error: Exception) -> str:
    """Return what the report calls this failure."""
    for cls, kind in _KINDS:
        if isinstance(error, cls):
            return kind
    if _is_lookup(error):
        return "name not looked up"
    name = type(error).__name__
    return errno.errorcode.get(getattr(error, "errno", None) or 0, name)


def _text(error: Exception) -> str:
    # asyncio's TimeoutError has no text.
    return harmless(str(error)) or ("timed out" if isinstance(error, TimeoutError) else type(error).__name__)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

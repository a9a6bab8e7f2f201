"""A line for each connect of this process: readable ones to stderr, or JSON to a file that several processes share."""

from __future__ import annotations

import errno
import json
import os
import sys
from io import FileIO
from time import gmtime, monotonic, strftime, time

from .._connect.story import spans
from .._connect.telling import ConnectTrace
from .._sockets.endpoint import written
from .._text import duration, harmless
from ..events import Connected, GiveUp, Keep
from .activation import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._connect.story import Moment, Span
    from ..typing import Event, Order

# Opened for each line: the descriptor of a file that stays open may be closed by the program, as daemons do, and its
# number be that of a connection afterwards. A pipe that nobody reads fails at once.
_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_STDERR = 2
_UNFINISHED = "interrupted or cancelled"


class Traces(ConnectTrace):
    """Write a line for each connect when it is over. It never raises what is not an interrupt.

    :param file: the file's name; None: stderr.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._has_failed = False

    def begin(self, address: tuple[Any, ...]) -> _Listener:
        """Return the listener for a connect to the address."""
        return _Listener(self, address)

    def write(self, record: dict[str, Any], race: Sequence[Span]) -> None:
        """Write the line of a connect in one piece; the first failure is told on stderr."""
        if self._file is None:
            if sys.__stderr__ is not None and _is_stderr():
                os.write(_STDERR, f"{_line(record, race)}\n".encode())  # whatever sys.stderr may be by now
            return
        try:
            append(self._file, f"{json.dumps(record)}\n".encode())
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                tell(f"the trace cannot be written: {error}")


def _is_stderr() -> bool:
    """Say whether standard error is open. What a program opens after it has closed that, children do not inherit."""
    return sys.platform == "win32" or os.get_inheritable(_STDERR)


def append(file: str, data: bytes) -> None:
    """Append to a file in one piece.

    :raises OSError: it cannot be opened or written.
    """
    # No Python code runs between the two calls: an interrupt there would lose the descriptor.
    with next(map(FileIO, map(os.open, (file,), (_OPEN,), (0o666,)), ("ab",))) as opened:
        if opened.write(data) is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class _Listener:
    """Notes what happens in one connect, and when."""

    __slots__ = ("_address", "_began", "_is_over", "_moments", "_traces")

    def __init__(self, traces: Traces, address: tuple[Any, ...]) -> None:
        self._traces = traces
        self._address = address
        self._began = monotonic()
        self._moments: list[Moment] = []
        self._is_over = False

    def __call__(self, message: Event | Order) -> None:
        self._moments.append((monotonic() - self._began, message))
        if isinstance(message, (Keep, GiveUp)):
            self.close()

    def close(self) -> None:
        """Write the line, if it is not written yet."""
        if self._is_over:
            return
        self._is_over = True
        moments, self._moments = self._moments, []  # an error in there must not stay alive by this
        try:
            self._write(moments)
        except Exception:  # noqa: BLE001 - a trace must never make a connect fail
            return
        finally:
            moments.clear()

    def _write(self, moments: Sequence[Moment]) -> None:
        seconds = monotonic() - self._began
        race = spans(moments, seconds)
        last = moments[-1][1] if moments else None
        local = peer = error = None
        if isinstance(last, Keep):
            found = (each for _, each in moments if isinstance(each, Connected) and each.attempt == last.attempt)
            kept = next(found)
            local, peer = written(kept.local), written(kept.peer)
        else:
            error = str(last.error) or type(last.error).__name__ if isinstance(last, GiveUp) else _UNFINISHED
        now = time()
        record = {
            "time": f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now))}.{int(now % 1 * 1000):03}Z",
            "pid": os.getpid(),
            "target": written(self._address[:2]),
            "connected": error is None,
            "seconds": round(seconds, 6),
            "local": local,
            "peer": peer,
            "error": error,
            "race": [span.as_dict() for span in race],
        }
        self._traces.write(record, race)


def _line(record: dict[str, Any], race: Sequence[Span]) -> str:
    """Return the record for people: the race only if more than one address was tried."""
    took = duration(record["seconds"])
    if record["connected"]:
        result = f"connected after {took}, {record['local']} to {record['peer']}"
    else:
        result = f"not connected after {took}: {record['error']}"
    steps = [f"{span.label} {span.outcome}, {duration(span.ended - span.began)}" for span in race]
    tried = sum(span.kind != "looked up" for span in race)
    told = f" ({'; '.join(steps)})" if tried > 1 else ""
    return harmless(f"safeconnect[{record['pid']}]: {record['target']} {result}{told}")

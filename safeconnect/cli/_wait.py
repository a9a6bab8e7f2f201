"""``safeconnect wait``: wait until targets are up, or gone, and run a command then.

A single target at which a connection is enough is waited for in this thread, since asyncio takes longer to load than
all the rest. `_wait_together` waits for several, and for those with an exchange.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, nullcontext
from time import monotonic

from .._connect.blocking import Connector
from .._text import duration
from .._wait.blocking import pause, try_once
from .._wait.policy import probe_settings
from .._wait.shared import Watch, begin
from . import FAILED, TIMED_OUT, replace_with
from ._console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from ..typing import SockAddr
    from ._console import Line, Part, Stream
    from ._exchanges import Check
    from ._targets import WaitTarget

REPORT_SECONDS = 10.0  # between two lines of a wait that nobody can see live
ATTEMPT_SECONDS = 1.0
_INTERVAL_SECONDS = 1.0  # the default
_EXCHANGE_SECONDS = 5.0  # the answer of a server may take longer than its SYN-ACK
_STATES = {"up": ("is up", "green"), "gone": ("is gone", "green"), "waiting": ("waiting", "yellow")}
NO_NAME = "no such name"
_ABSENT = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}


class Wait:
    """The wait for one target, and what it prints.

    :ivar state: ``"waiting"``, ``"up"``, ``"gone"``, ``"timed out"`` or ``"impossible"``.
    """

    def __init__(self, target: WaitTarget, arguments: argparse.Namespace, messages: Stream, now: float) -> None:
        self.target = target
        self.state = "waiting"
        self.notes: Sequence[str] = ()
        self._arguments = arguments
        self._messages = messages
        self._began = self._ended = now
        self._seen = ""
        self._exposure: str | None = None  # None until the first try has failed
        self._tried: set[SockAddr] = set()
        self.waiting = begin(
            now,
            target.address or (target.path, 0),
            arguments.timeout,
            interval=arguments.interval,
            attempt_timeout=arguments.attempt_timeout
            or (_EXCHANGE_SECONDS if target.has_exchange else ATTEMPT_SECONDS),
            check=_check_for(target, arguments),
            gone=arguments.gone,
            tell=self._saw,
            name=str(target),
        )

    @property
    def tells(self) -> bool:
        """Return True if it prints a line now and then, since nothing is shown live."""
        return not self._arguments.quiet and not self._messages.is_live

    @property
    def is_met(self) -> bool:
        """Return True if the target is as it should be."""
        return self.state in ("up", "gone")

    @property
    def is_plain(self) -> bool:
        """Return True if `run` can wait for it, which prints no line before the try and the pause are over."""
        arguments = self._arguments
        is_short = (arguments.attempt_timeout or 0) <= ATTEMPT_SECONDS and arguments.interval <= _INTERVAL_SECONDS
        return self.target.scheme == "tcp" and not arguments.send and is_short

    def run(self) -> None:
        """Wait in this thread, and print how it ended."""
        with self.ending():
            self._go_on()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Take how the wait ends, in this block, and print it."""
        goal = "gone" if self._arguments.gone else "up"
        try:
            yield
            self.state = goal
        except TimeoutError as error:
            obstacles = [] if self._arguments.gone else _in_the_way(self._tried)
            self.state, self.notes = "timed out", [*error.__notes__, *obstacles]
        except OSError as error:
            self.state, self.notes = "impossible", [f"{self.target} can never be {goal}: {error}"]
        finally:
            self._ended = monotonic()
        if self.is_met:
            self._say(*self.line(self._ended))
        else:
            first, *others = self.notes
            self._say((first, "red"))
            for note in others:
                self._say(f"  {note}")

    def _go_on(self) -> None:
        waiting = self.waiting
        settings = probe_settings(Connector(family=int(self._arguments.family)), gone=self._arguments.gone)
        traced = settings.replace(trace=self.trace)
        # What a trace needs takes long to load: the first try does without, unless it may be the only one.
        timeout = self._arguments.timeout
        current = settings if timeout is None or timeout >= ATTEMPT_SECONDS else traced
        report_at = self._began + REPORT_SECONDS
        with Watch(waiting.address, settings) as watch:
            while not self._try(waiting.next_settings(current)):
                current = traced
                if monotonic() >= report_at and self.tells:
                    report_at += REPORT_SECONDS
                    self._messages.line(*self.line(monotonic()))
                pause(waiting, watch)

    def _try(self, settings: Connector) -> bool:
        try:
            return try_once(self.waiting, settings)
        except socket.gaierror as error:
            self.take_no_name(error)
            return False

    def take_no_name(self, error: socket.gaierror) -> None:
        """Take note that there is no such name, as of a failed try.

        :raises socket.gaierror: it is another error, or the name is not waited for.
        """
        if not self._arguments.retry_names or error.errno not in _ABSENT:
            raise error
        self.waiting.failed_by(NO_NAME, str(error), monotonic())

    def trace(self, message: object) -> None:
        """Take note of the addresses that are tried."""
        from ..events import Start  # loaded already by who tells it

        if isinstance(message, Start):
            self._tried.add(message.candidate[4])

    def _saw(self, kind: str, text: str) -> None:
        """Note that a try has failed, and print it if it is news."""
        is_news, self._seen = kind != self._seen, kind
        if self._exposure is None and not self._arguments.gone:
            endpoint = self.target.endpoint
            self._exposure = _exposure(self.target.address)
            if self._exposure:
                advice = f"what to do: safeconnect doctor {endpoint}"
                self._say(("note: ", "yellow"), f"{endpoint} is exposed to self-connects of plain clients; {advice}")
        if is_news and (self._arguments.verbose or kind in ("met itself", NO_NAME)):
            waits = kind == NO_NAME and self._arguments.timeout != 0
            self._say(f"{self.target}: {text}{'; waiting for the name' if waits else ''}")

    def _say(self, *parts: Part) -> None:
        if not self._arguments.quiet:
            self._messages.line(*parts)

    def line(self, now: float) -> Line:
        """Return the line for the state."""
        is_waiting = self.state == "waiting"
        tries = self.waiting.tries
        seconds = (now if is_waiting else self._ended) - self._began
        text = f" {'for' if is_waiting else 'after'} {duration(seconds)}, {tries} {'try' if tries == 1 else 'tries'}"
        last = f", the last: {self._seen}" if is_waiting and self._seen else ""
        return [f"{self.target} ", _STATES[self.state], text + last]

    def as_dict(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "target": str(self.target),
            "host": self.target.host or None,
            "port": self.target.port or None,
            "state": self.state,
            "seconds": round(self._ended - self._began, 6),
            "tries": self.waiting.tries,
            "last_outcome": None if self.is_met else self._seen or None,
            "exposure": self._exposure or None,
            "notes": list(self.notes),
        }


def run(arguments: argparse.Namespace) -> int:
    """Wait, print the result, and run the command in this process's place if there is one."""
    console = Console()
    waits = _wait(arguments, console)
    status = _status(waits, is_any=arguments.any)
    if arguments.json:
        console.data.json({"targets": [wait.as_dict() for wait in waits], "exit_status": status})
    if status or not arguments.command:
        return status
    return replace_with(arguments.command, os.environ, console.messages)


def _wait(arguments: argparse.Namespace, console: Console) -> Sequence[Wait]:
    now, messages = monotonic(), console.messages
    waits = [Wait(target, arguments, messages, now) for target in dict.fromkeys(arguments.targets)]

    def lines() -> Iterator[Line]:
        return (wait.line(monotonic()) for wait in waits if wait.state == "waiting")

    if waits[0].tells:
        messages.line(_beginning(arguments, [str(wait.target) for wait in waits]))
    with nullcontext() if arguments.quiet else messages.live(lines):
        if len(waits) == 1 and waits[0].is_plain:
            waits[0].run()
        else:
            from ._wait_together import wait_for_all

            wait_for_all(waits, arguments, lambda: _report(messages, lines()))
    return waits


def _report(messages: Stream, lines: Iterator[Line]) -> None:
    """Write one line with all targets that are still waited for."""
    parts: list[Part] = []
    for line in lines:
        parts += ["; ", *line] if parts else line
    messages.line(*parts)


def _beginning(arguments: argparse.Namespace, targets: Sequence[str]) -> str:
    names = ("any of " if arguments.any and len(targets) > 1 else "") + ", ".join(targets)
    goal = f"until nobody listens at {names}" if arguments.gone else f"for {names}"
    if arguments.timeout:
        limit = f"for up to {duration(arguments.timeout)}"
    else:
        limit = "without a limit" if arguments.timeout is None else "with one try"
    return f"waiting {goal}, {limit}"


def _status(waits: Sequence[Wait], *, is_any: bool) -> int:
    if (any if is_any else all)(wait.is_met for wait in waits):
        return 0
    is_impossible = (all if is_any else any)(wait.state == "impossible" for wait in waits)
    return FAILED if is_impossible else TIMED_OUT


def _check_for(target: WaitTarget, arguments: argparse.Namespace) -> Check | None:
    """Return what the server is checked by; None where a connection is enough."""
    if not target.has_exchange and not arguments.send:
        return arguments.expect or None
    from ._exchanges import check_for

    return check_for(target, arguments)


def _in_the_way(tried: set[SockAddr]) -> list[str]:
    """Return what keeps a server from the port of these addresses."""
    from .._host.holders import in_the_way

    return [str(each) for each in in_the_way(tried)]


def _exposure(address: tuple[str, int] | None) -> str:
    """Say how a plain client can get a self-connect at the address; nothing if it cannot, or only DNS can tell."""
    if address is None:
        return ""
    from ipaddress import ip_address  # all this is loaded after the first try, if that has failed

    from .. import self_connect_exposure

    try:
        if address[0] != "localhost":
            ip_address(address[0].partition("%")[0])
        exposure = self_connect_exposure(*address)
    except (ValueError, socket.gaierror):  # a name, or this host lacks the address family
        return ""
    return str(exposure) if exposure else ""

"""``safeconnect wait``: wait until targets are up, or gone, and run a command then."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import nullcontext
from ipaddress import ip_address

from .. import self_connect_exposure
from .._connect.settings import Settings
from .._host.holders import in_the_way
from .._loops import asyncio as asyncio_loop
from .._text import duration
from .._wait.policy import probe_settings
from .._wait.shared import begin, wait
from ..events import Start
from . import FAILED, TIMED_OUT, replace_with
from ._console import Console
from ._exchanges import check_for, connect_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from ..typing import SockAddr
    from ._console import Line, Part, Stream
    from ._targets import WaitTarget

REPORT_SECONDS = 10.0  # between two lines of a wait that nobody can see live
_ATTEMPT_SECONDS = 1.0
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
        self._waiting = begin(
            now,
            target.address or (target.path, 0),
            arguments.timeout,
            interval=arguments.interval,
            attempt_timeout=arguments.attempt_timeout
            or (_EXCHANGE_SECONDS if target.has_exchange else _ATTEMPT_SECONDS),
            check=check_for(target, arguments),
            gone=arguments.gone,
            tell=self._saw,
            name=str(target),
        )

    @property
    def is_met(self) -> bool:
        """Return True if the target is as it should be."""
        return self.state in ("up", "gone")

    async def run(self) -> None:
        """Wait, and print how it ended."""
        goal = "gone" if self._arguments.gone else "up"
        try:
            await self._go_on()
            self.state = goal
        except TimeoutError as error:
            obstacles = [] if self._arguments.gone else in_the_way(self._tried)
            self.state, self.notes = "timed out", [*error.__notes__, *map(str, obstacles)]
        except OSError as error:
            self.state, self.notes = "impossible", [f"{self.target} can never be {goal}: {error}"]
        finally:
            self._ended = asyncio.get_running_loop().time()
        if self.is_met:
            self._say(*self.line(self._ended))
        else:
            first, *others = self.notes
            self._say((first, "red"))
            for note in others:
                self._say(f"  {note}")

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        plan = probe_settings(Settings(family=self._arguments.family, trace=self._trace), gone=self._arguments.gone)
        connect = None if self.target.address else connect_unix
        while True:
            try:
                return await wait(asyncio_loop, self._waiting, plan, connect)
            except socket.gaierror as error:
                if not self._arguments.retry_names or error.errno not in _ABSENT:
                    raise
                self._waiting.failed_by(NO_NAME, str(error), loop.time())
            await asyncio.sleep(self._waiting.pause(loop.time()))

    def _trace(self, message: object) -> None:
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
        tries = self._waiting.tries
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
            "tries": self._waiting.tries,
            "last_outcome": None if self.is_met else self._seen or None,
            "exposure": self._exposure or None,
            "notes": list(self.notes),
        }


def run(arguments: argparse.Namespace) -> int:
    """Wait, print the result, and run the command in this process's place if there is one."""
    console = Console()
    waits = asyncio.run(_wait(arguments, console))
    status = _status(waits, is_any=arguments.any)
    if arguments.json:
        console.data.json({"targets": [wait.as_dict() for wait in waits], "exit_status": status})
    if status or not arguments.command:
        return status
    return replace_with(arguments.command, os.environ, console.messages)


async def _wait(arguments: argparse.Namespace, console: Console) -> Sequence[Wait]:
    loop = asyncio.get_running_loop()
    waits = [Wait(target, arguments, console.messages, loop.time()) for target in dict.fromkeys(arguments.targets)]

    def lines() -> Iterator[Line]:
        return (wait.line(loop.time()) for wait in waits if wait.state == "waiting")

    tells = not arguments.quiet and not console.messages.is_live
    if tells:
        console.messages.line(_beginning(arguments, [str(wait.target) for wait in waits]))
    with nullcontext() if arguments.quiet else console.messages.live(lines):
        pending = {asyncio.ensure_future(wait.run()) for wait in waits}
        reports = [asyncio.ensure_future(_report(console.messages, lines))] if tells else []
        try:
            while pending and not _is_decided(waits, is_any=arguments.any):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            others = [*pending, *reports]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
    return waits


def _beginning(arguments: argparse.Namespace, targets: Sequence[str]) -> str:
    names = ("any of " if arguments.any and len(targets) > 1 else "") + ", ".join(targets)
    goal = f"until nobody listens at {names}" if arguments.gone else f"for {names}"
    if arguments.timeout:
        limit = f"for up to {duration(arguments.timeout)}"
    else:
        limit = "without a limit" if arguments.timeout is None else "with one try"
    return f"waiting {goal}, {limit}"


async def _report(messages: Stream, lines: Callable[[], Iterator[Line]]) -> None:
    """Write a line every ten seconds, with all targets that are still waited for."""
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        parts: list[Part] = []
        for line in lines():
            parts += ["; ", *line] if parts else line
        messages.line(*parts)


def _is_decided(waits: Sequence[Wait], *, is_any: bool) -> bool:
    """Return True if the remaining waits cannot change the result."""
    return any(wait.is_met if is_any else wait.state == "impossible" for wait in waits)


def _status(waits: Sequence[Wait], *, is_any: bool) -> int:
    if (any if is_any else all)(wait.is_met for wait in waits):
        return 0
    is_impossible = (all if is_any else any)(wait.state == "impossible" for wait in waits)
    return FAILED if is_impossible else TIMED_OUT


def _exposure(address: tuple[str, int] | None) -> str:
    """Say how a plain client can get a self-connect at the address; nothing if it cannot, or only DNS can tell."""
    if address is None:
        return ""
    try:
        if address[0] != "localhost":
            ip_address(address[0].partition("%")[0])
        exposure = self_connect_exposure(*address)
    except (ValueError, socket.gaierror):  # a name, or this host lacks the address family
        return ""
    return str(exposure) if exposure else ""

"""``safeconnect wait``."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import nullcontext
from ipaddress import ip_address

from .. import self_connect_exposure
from .._connect.settings import Settings
from .._connect.verdict import duration
from .._host.holders import in_the_way
from .._sockets import kernel, port_window
from .._wait.asyncio import go_on
from .._wait.policy import Waiting, probing
from ..events import Start
from . import FAILED, TIMED_OUT
from ._command import replace_with
from ._console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from ..typing import SockAddr
    from ._console import Line, Stream
    from ._targets import Target

_MET = ("up", "gone")
_STATES = {"up": ("is up", "green"), "gone": ("is gone", "green"), "waiting": ("waiting", "yellow")}


class Wait:
    """One target: what is known of it, and how it is told."""

    def __init__(self, target: Target, arguments: argparse.Namespace, messages: Stream, now: float) -> None:
        self.target = target
        self.state = "waiting"
        self.notes: Sequence[str] = ()
        self._arguments = arguments
        self._messages = messages
        self._began = self._ended = now
        self._seen = ""
        self._exposure = ""
        self._tried: set[SockAddr] = set()
        self._waiting = Waiting(
            target,
            arguments.timeout,
            interval=arguments.interval,
            attempt_timeout=arguments.attempt_timeout,
            check=arguments.expect,
            gone=arguments.gone,
            draw=port_window.chance,
            spare_ports=kernel.spare_ports,
            now=now,
            tell=self._saw,
        )

    async def run(self) -> None:
        """Wait for it, to the end."""
        goal = "gone" if self._arguments.gone else "up"
        try:
            await self._go_on()
            self.state = goal
        except TimeoutError as error:
            obstacles = [] if self._arguments.gone else in_the_way(self._tried)
            self._fail("timed out", *error.__notes__, *map(str, obstacles))
        except OSError as error:
            self._fail("impossible", f"{self.target} can never be {goal}: {error}")
        finally:
            self._ended = asyncio.get_running_loop().time()
        if not self._arguments.quiet:
            self._tell_the_end()

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        plan = probing(Settings(family=self._arguments.family, trace=self._trace), gone=self._arguments.gone)
        while True:
            try:
                return await go_on(self._waiting, self.target, self._arguments.expect, plan)
            except socket.gaierror as error:
                if not self._arguments.retry_names:
                    raise
                self._waiting.saw("no such name", str(error), loop.time())
            await asyncio.sleep(self._waiting.pause(loop.time()))

    def _fail(self, state: str, *notes: str) -> None:
        self.state = state
        self.notes = notes

    def _trace(self, message: object) -> None:
        if isinstance(message, Start):
            self._tried.add(message.candidate[4])

    def _saw(self, kind: str, text: str) -> None:
        """A try was none."""
        is_news, self._seen = kind != self._seen, kind
        if not self._exposure and not self._arguments.gone:
            self._exposure = _exposure(self.target) or " "
            if self._exposure.strip() and not self._arguments.quiet:
                words = f"{self.target} is exposed to self-connects of plain clients; what to do: safeconnect doctor"
                self._messages.line(("note: ", "yellow"), f"{words} {self.target}")
        if is_news and (self._arguments.verbose or kind == "met itself") and not self._arguments.quiet:
            self._messages.line(f"{self.target}: {text}")

    def line(self, now: float) -> Line:
        """How it stands."""
        seconds = (now if self.state == "waiting" else self._ended) - self._began
        tries = self._waiting.tries
        line: list[str | tuple[str, str]] = [f"{self.target} ", _STATES[self.state]]
        line.append(f" {'for' if self.state == 'waiting' else 'after'} {duration(seconds)}")
        line.append(f", {tries} {'try' if tries == 1 else 'tries'}")
        if self.state == "waiting" and self._seen:
            line.append(f", the last: {self._seen}")
        return line

    def _tell_the_end(self) -> None:
        if self.state in _MET:
            self._messages.line(*self.line(self._ended))
        else:
            first, *others = self.notes
            self._messages.line((first, "red"))
            for note in others:
                self._messages.line(f"  {note}")

    def as_dict(self) -> dict[str, object]:
        """What ``--json`` prints of it."""
        return {
            "target": str(self.target),
            "host": self.target[0],
            "port": self.target[1],
            "state": self.state,
            "seconds": round(self._ended - self._began, 6),
            "tries": self._waiting.tries,
            "exposure": self._exposure.strip() or None,
            "notes": list(self.notes),
        }


def run(arguments: argparse.Namespace) -> int:
    """Wait, tell, and run the command in this process's place if there is one."""
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

    with nullcontext() if arguments.quiet else console.messages.live(lines):
        pending = {asyncio.ensure_future(wait.run()) for wait in waits}
        try:
            while pending and not _is_decided(waits, is_any=arguments.any):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
    return waits


def _is_decided(waits: Sequence[Wait], *, is_any: bool) -> bool:
    """Whether nothing that may still come can change the end."""
    if is_any:
        return any(_is_met(wait) for wait in waits)
    return any(wait.state == "impossible" for wait in waits)


def _status(waits: Sequence[Wait], *, is_any: bool) -> int:
    met = [_is_met(wait) for wait in waits]
    if any(met) if is_any else all(met):
        return 0
    impossible = [wait.state == "impossible" for wait in waits]
    return FAILED if (all(impossible) if is_any else any(impossible)) else TIMED_OUT


def _is_met(wait: Wait) -> bool:
    return wait.state in _MET


def _exposure(target: Target) -> str:
    """Whether a plain client can meet itself at the target, where that is known without asking a name server."""
    if not _is_known(target[0]):
        return ""
    try:
        exposure = self_connect_exposure(*target)
    except socket.gaierror:  # no such family here
        return ""
    return str(exposure) if exposure else ""


def _is_known(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True

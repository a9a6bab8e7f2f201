"""``safeconnect wait`` on asyncio: several targets at once, exchanges with servers, and Unix sockets."""

from __future__ import annotations

import asyncio
import socket

from .._connect.settings import Settings
from .._loops import asyncio as asyncio_loop
from .._wait.async_base import wait
from .._wait.policy import probe_settings
from . import _wait
from ._exchanges import connect_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from ._wait import Wait


def wait_for_all(waits: Sequence[Wait], arguments: argparse.Namespace, report: Callable[[], object]) -> None:
    """Wait for all of them, or until the result is known.

    :param report: called every ten seconds, if there is nothing live to be seen.
    """
    asyncio.run(_wait_for_all(waits, arguments, report))


async def _wait_for_all(waits: Sequence[Wait], arguments: argparse.Namespace, report: Callable[[], object]) -> None:
    pending = {asyncio.ensure_future(_run(wait, arguments)) for wait in waits}
    reports = [asyncio.ensure_future(_repeat(report))] if waits[0].tells else []
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


async def _run(each: Wait, arguments: argparse.Namespace) -> None:
    """Wait for one target, and print how it ended."""
    settings = Settings(family=arguments.family, trace=each.trace)
    plan = probe_settings(settings, gone=arguments.gone)
    connect = None if each.target.address else connect_unix
    with each.ending():
        while True:
            try:
                return await wait(asyncio_loop, each.waiting, plan, connect)
            except socket.gaierror as error:
                each.take_no_name(error)
            await asyncio.sleep(each.waiting.pause(asyncio_loop.now()))


async def _repeat(report: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(_wait.REPORT_SECONDS)
        report()


def _is_decided(waits: Sequence[Wait], *, is_any: bool) -> bool:
    """Return True if the remaining waits cannot change the result."""
    return any(wait.is_met if is_any else wait.state == "impossible" for wait in waits)

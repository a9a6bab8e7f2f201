"""asyncio for the features: see `Loop` in this package."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .._connect.asyncio import POLL_SECONDS
from .._connect.asyncio import connect as _connect
from .._connect.connect_error import timed_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from typing import Any

sleep = asyncio.sleep
new_event = asyncio.Event
current_task = asyncio.current_task
failures = (OSError,)
connect = _connect


def now() -> float:
    return asyncio.get_running_loop().time()


async def within(deadline: float | None, awaitable: Awaitable[Any], *notes: str) -> Any:
    scope = asyncio.timeout_at(deadline)
    try:
        async with scope:
            return await awaitable
    except TimeoutError:
        if scope.expired():
            raise timed_out(*notes) from None
        raise


async def wait(event: asyncio.Event, timeout: float | None) -> bool:
    with suppress(TimeoutError):  # the event says whether it is set
        async with asyncio.timeout(timeout):
            await event.wait()
    return event.is_set()


async def wait_writable(sock: socket.socket, timeout: float | None) -> None:
    loop = asyncio.get_running_loop()
    writable = new_event()
    try:
        loop.add_writer(sock, writable.set)
    except NotImplementedError:  # Windows' ProactorEventLoop cannot watch sockets; the caller looks again
        await asyncio.sleep(POLL_SECONDS)
        return
    try:
        await wait(writable, timeout)
    finally:
        loop.remove_writer(sock)


# Coroutines, not functions that return one: an interrupt as they return would leave a coroutine that nobody awaits.
async def recv(sock: socket.socket, size: int) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, size)


async def sendall(sock: socket.socket, data: bytes | bytearray | memoryview) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


def has_failed(task: Any) -> bool:
    # Not task.exception(): after that asyncio does not log an error that nobody else asks for.
    return bool(task.cancelled()) or getattr(task, "_exception", None) is not None


def as_os_error(error: OSError) -> OSError:
    return error

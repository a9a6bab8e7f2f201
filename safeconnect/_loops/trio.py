"""trio for the features: see `Loop` in this package."""

from __future__ import annotations

import math

import trio

from .._connect.connect_error import timed_out
from .._connect.trio import connect as _connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from .._connect.settings import Settings

now = trio.current_time
sleep = trio.sleep
new_event = trio.Event
current_task = trio.lowlevel.current_task
failures = (OSError, trio.TooSlowError, trio.BrokenResourceError)


async def within(deadline: float | None, awaitable: Awaitable[Any], *notes: str) -> Any:
    # Not fail_at(): contextlib, which it is made with, keeps such an error in a cycle (Python 3.13).
    with scope_until(deadline):
        return await awaitable
    raise timed_out(*notes)


def scope_until(deadline: float | None) -> trio.CancelScope:
    """Return a new cancel scope that ends at the deadline."""
    return trio.CancelScope(deadline=math.inf if deadline is None else deadline)


async def wait(event: trio.Event, timeout: float | None) -> bool:
    with trio.move_on_after(math.inf if timeout is None else timeout):
        await event.wait()
    return event.is_set()


async def wait_writable(sock: Any, timeout: float | None) -> None:
    with trio.move_on_after(math.inf if timeout is None else timeout):
        await trio.lowlevel.wait_writable(sock)


async def connect(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(await _connect(settings, address, timeout))


async def recv(sock: trio.socket.SocketType, size: int) -> bytes:
    data: bytes = await sock.recv(size)
    return data


async def sendall(sock: trio.socket.SocketType, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[await sock.send(rest) :]


def has_failed(task: Any) -> bool:
    return task.coro.cr_frame is None  # it has ended, well or not: a block on trio is left in the task that entered it


def as_os_error(error: OSError | trio.TooSlowError | trio.BrokenResourceError) -> OSError:
    if isinstance(error, trio.TooSlowError):
        return TimeoutError("timed out")
    if isinstance(error, trio.BrokenResourceError):  # what a stream makes of an OSError
        cause = error.__cause__
        return cause if isinstance(cause, OSError) else ConnectionResetError(str(error))
    return error

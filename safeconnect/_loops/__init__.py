"""What the features need from an event loop. `asyncio` and `trio` in here are two modules with the same functions.

A feature is written once, over a module that it gets as an argument; only what cannot be the same stands in the
feature's own asyncio.py and trio.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Protocol

    from .._connect.settings import Settings

    class Event(Protocol):
        """An event that tasks can wait for."""

        def set(self) -> object: ...

    class Loop(Protocol):
        """Either module. A socket is the standard library's on asyncio, and trio's own on trio."""

        @property
        def failures(self) -> tuple[type[Exception], ...]:
            """What user code that waits on the network may raise; `as_os_error` takes these."""

        def now(self) -> float:
            """Return the time of the loop's clock, in seconds; deadlines are instants of it."""

        def sleep(self, seconds: float, /) -> Awaitable[object]:
            """Let other tasks run for that long."""

        async def within(self, deadline: float | None, awaitable: Awaitable[Any], /, *notes: str) -> Any:
            """Return the result of the awaitable.

            :raises TimeoutError: it was not there at the deadline; with these notes.
            """

        def new_event(self) -> Event:
            """Return a new event."""

        async def wait(self, event: Any, timeout: float | None, /) -> bool:
            """Wait for an event, at most that long; return True if it is set."""

        async def wait_writable(self, sock: Any, timeout: float | None, /) -> None:
            """Wait until a socket is writable, at most that long."""

        async def connect(self, settings: Settings, address: tuple[Any, ...], timeout: float | None, /) -> Any:
            """Connect and return the socket."""

        async def recv(self, sock: Any, size: int, /) -> bytes:
            """Receive at most so many bytes."""

        async def sendall(self, sock: Any, data: bytes | bytearray | memoryview, /) -> None:
            """Send all of the data."""

        def current_task(self) -> object:
            """Return the task that runs."""

        def has_failed(self, task: Any, /) -> bool:
            """Return True if the task has ended by an exception, and with it the blocks that it had entered."""

        def as_os_error(self, error: Any, /) -> OSError:
            """Return one of the `failures` as an error of the standard library."""

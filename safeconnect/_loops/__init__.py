"""The operations that features need from an event loop, by the same names in the modules `asyncio` and `trio`.

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
        """Either module. A socket is the standard library's on asyncio, and trio's own on trio.

        Deadlines are instants of the loop's clock, ``now``. The wait for an event returns True if the event is set.
        ``within`` raises `TimeoutError`, with the notes, if there is no result at the deadline. User code that waits on
        the network may raise one of the ``failures``; ``as_os_error`` makes an error of the standard library of these.
        ``has_failed`` returns True if a task has ended by an exception, and with it the blocks that it had entered.
        """

        @property
        def failures(self) -> tuple[type[Exception], ...]: ...
        def as_os_error(self, error: Any, /) -> OSError: ...

        def now(self) -> float: ...
        def sleep(self, seconds: float, /) -> Awaitable[object]: ...
        async def within(self, deadline: float | None, awaitable: Awaitable[Any], /, *notes: str) -> Any: ...

        def new_event(self) -> Event: ...
        async def wait(self, event: Any, timeout: float | None, /) -> bool: ...

        async def connect(self, settings: Settings, address: tuple[Any, ...], timeout: float | None, /) -> Any: ...
        async def wait_writable(self, sock: Any, timeout: float | None, /) -> None: ...
        async def recv(self, sock: Any, size: int, /) -> bytes: ...
        async def sendall(self, sock: Any, data: bytes | bytearray | memoryview, /) -> None: ...

        def current_task(self) -> object: ...
        def has_failed(self, task: Any, /) -> bool: ...

"""`PersistentConnection` on asyncio."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .._connect.asyncio import connect
from .._connect.verdict import timed_out
from .._lazy import publish
from .async_base import AsyncBlock, AsyncConnection, AsyncExchange, AsyncLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from types import TracebackType
    from typing import Any

    from .._connect.settings import Settings
    from ..retry import Retry
    from ..typing import OnConnect


class _Line(AsyncLine):
    _loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def task(self) -> object:
        return asyncio.current_task()

    def has_failed(self, task: Any) -> bool:
        # Not task.exception(): asyncio would no more log an error that nobody else asks for.
        return bool(task.cancelled()) or getattr(task, "_exception", None) is not None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        # The loop of an earlier asyncio.run() is gone, with all that went on in it; the connection is dirty then.
        self.leave_behind()
        self._loop = loop

    def new_event(self) -> asyncio.Event:
        return asyncio.Event()

    async def wait(self, event: Any, seconds: float | None) -> bool:
        with suppress(TimeoutError):  # whether it is set, the event says
            async with asyncio.timeout(seconds):
                await event.wait()
        return bool(event.is_set())

    async def within(self, deadline: float | None, awaitable: Awaitable[Any]) -> Any:
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                return await awaitable
        except TimeoutError:
            if scope.expired():
                raise timed_out("in on_connect") from None
            raise

    async def connect(self, seconds: float | None) -> socket.socket:
        return await connect(self.connector, self.address, seconds)


class Exchange(AsyncExchange):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> socket.socket:
        """The connection, a non-blocking socket for ``loop.sock_recv`` and the like.

        :raises RuntimeError: the exchange is over.
        """
        sock: socket.socket = self._check()
        return sock

    async def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data.

        :raises OSError: as ``loop.sock_sendall``.
        """
        self.broken_off += 1  # taken back only by coming to the end: an error spoils the connection, whoever catches it
        await asyncio.get_running_loop().sock_sendall(self.socket, data)
        self.broken_off -= 1

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``loop.sock_recv``.
        """
        self.broken_off += 1
        data = await asyncio.get_running_loop().sock_recv(self.socket, bufsize)
        self.broken_off -= 1
        return data


class _Block(AsyncBlock):
    kind = Exchange
    _scope: asyncio.Timeout | None = None

    async def open_scope(self) -> None:
        if self.deadline is not None:
            self._scope = asyncio.timeout_at(self.deadline)
            await self._scope.__aenter__()

    def leave(self) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:  # its block was not even begun: it is not to cancel the task later
            with suppress(RuntimeError):  # it was not begun, either
                scope.reschedule(None)
        super().leave()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        is_late = scope is not None and scope.expired()
        told: list[str] = []
        try:
            told = self.end(error, is_late=is_late)
            if scope is not None:
                await scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            if not is_late:
                raise
            raise timed_out(*told) from None
        finally:
            self.leave_at_last()


class PersistentConnection(AsyncConnection[Exchange]):
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    Everything is as for `safeconnect.PersistentConnection`, with tasks in the place of threads: they wait for their
    turn, and a cancelled exchange resets the connection. It belongs to one event loop at a time.

    :param address: as for `create_connection`.
    :param connector: how to connect, a `safeconnect.Connector`; its ``timeout`` holds for a connect where the exchange
        has none.
    :param retry: how often to try to connect, and how long to pause before a lost connection is made again.
    :param idle_limit: seconds after which an unused connection is not used again.
    :param max_age: seconds after which a connection is not used again, less up to 20 % at random.
    :param on_connect: called, and awaited where it returns an awaitable, with each new connected socket before its
        first exchange.
    :raises TypeError: an argument is of a wrong type.
    :raises ValueError: ``idle_limit`` or ``max_age`` is negative.

    >>> from safeconnect.testing import echo
    >>> async def main(address):
    ...     async with PersistentConnection(address) as connection:
    ...         for word in (b"one", b"two"):
    ...             async with connection.exchange(timeout=5) as exchange:
    ...                 await exchange.sendall(word)
    ...                 print(exchange.id, await exchange.recv(100))
    >>> with echo() as server:
    ...     asyncio.run(main(server.address))
    1 b'one'
    2 b'two'
    """

    _kinds = (_Line, _Block)
    _line: _Line

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        connector: Settings | None = None,
        retry: Retry | None = None,
        idle_limit: float | None = None,
        max_age: float | None = None,
        on_connect: OnConnect[socket.socket] | None = None,
    ) -> None:
        super().__init__(
            address, connector=connector, retry=retry, idle_limit=idle_limit, max_age=max_age, on_connect=on_connect
        )


publish("safeconnect.asyncio", PersistentConnection)

"""`PersistentConnection` on trio."""

from __future__ import annotations

import math

import trio

from .._connect.trio import connect
from .._connect.verdict import timed_out
from .._lazy import publish
from .async_base import AsyncBlock, AsyncConnection, AsyncExchange, AsyncLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType
    from typing import Any

    from .._connect.settings import Settings
    from ..retry import Retry
    from ..typing import OnConnect

    Socket = trio.socket.SocketType


class _Line(AsyncLine):
    def now(self) -> float:
        return trio.current_time()

    def task(self) -> object:
        return trio.lowlevel.current_task()

    def has_failed(self, task: Any) -> bool:
        return task.coro.cr_frame is None  # it has ended, well or not: trio's blocks are left in the task they are of

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()

    def new_event(self) -> trio.Event:
        return trio.Event()

    async def wait(self, event: Any, seconds: float | None) -> bool:
        with trio.move_on_after(math.inf if seconds is None else seconds):
            await event.wait()
        return bool(event.is_set())

    async def within(self, deadline: float | None, awaitable: Awaitable[Any]) -> Any:
        with _until(deadline) as scope:
            return await awaitable
        raise timed_out("in on_connect") if scope.cancelled_caught else AssertionError("the scope has ended early")

    async def connect(self, seconds: float | None) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(await connect(self.connector, self.address, seconds))


class Exchange(AsyncExchange):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """The connection, trio's socket.

        :raises RuntimeError: the exchange is over.
        """
        sock: trio.socket.SocketType = self._check()
        return sock

    async def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data.

        :raises OSError: as ``send`` of trio's socket.
        """
        rest = memoryview(data)
        self.broken_off += 1  # taken back only by coming to the end: an error spoils the connection, whoever catches it
        sock = self.socket
        while rest:
            rest = rest[await sock.send(rest) :]
        self.broken_off -= 1

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``recv`` of trio's socket.
        """
        self.broken_off += 1
        data: bytes = await self.socket.recv(bufsize)
        self.broken_off -= 1
        return data


class _Block(AsyncBlock):
    kind = Exchange
    _scope: trio.CancelScope | None = None

    async def open_scope(self) -> None:
        if self.deadline is not None:
            scope = _until(self.deadline)
            scope.__enter__()
            self._scope = scope

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        try:
            told = self.end(error, is_late=scope is not None and _is_late(error, scope))
            is_swallowed = scope is not None and scope.__exit__(kind, error, traceback)
            if scope is not None and scope.cancelled_caught:
                raise timed_out(*told)
            return is_swallowed
        finally:
            self.leave_at_last()


class PersistentConnection(AsyncConnection[Exchange]):
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    Everything is as for `safeconnect.PersistentConnection`, with tasks in the place of threads: they wait for their
    turn, and a cancelled exchange resets the connection.

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
    ...     trio.run(main, server.address)
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
        on_connect: OnConnect[trio.socket.SocketType] | None = None,
    ) -> None:
        super().__init__(
            address, connector=connector, retry=retry, idle_limit=idle_limit, max_age=max_age, on_connect=on_connect
        )


def _until(deadline: float | None) -> trio.CancelScope:
    return trio.CancelScope(deadline=math.inf if deadline is None else deadline)


def _is_late(error: BaseException | None, scope: trio.CancelScope) -> bool:
    """Whether a block was left because its time was over, or would have been at its next step."""
    if error is None:
        return scope.cancel_called
    return isinstance(error, trio.Cancelled) and scope.cancel_called and trio.current_time() >= scope.deadline


publish("safeconnect.trio", PersistentConnection)

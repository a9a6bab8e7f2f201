"""`PersistentConnection` on asyncio."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from .._connect.connect_error import timed_out
from .._lazy import publish
from .._loops import asyncio as asyncio_loop
from .async_base import AsyncBlock, AsyncConnection, AsyncExchange, AsyncLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class _Link(AsyncLink):
    loop = asyncio_loop
    _used_on: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is self._used_on:
            return
        # The loop of an earlier asyncio.run() is gone, and so is what ran on it; the connection is dirty then.
        self.abandon()
        self._used_on = loop


class Exchange(AsyncExchange):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> socket.socket:
        """The connection, a non-blocking socket for ``loop.sock_recv`` and the like.

        :raises RuntimeError: the exchange is over.
        """
        sock: socket.socket = self._check()
        return sock


class _Block(AsyncBlock):
    kind = Exchange
    _scope: asyncio.Timeout | None = None

    async def open_scope(self) -> None:
        if self.deadline is not None:
            self._scope = asyncio.timeout_at(self.deadline)
            await self._scope.__aenter__()

    def leave(self) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:  # the block was not entered: its deadline must not cancel the task later
            with suppress(RuntimeError):  # the scope was not entered, either
                scope.reschedule(None)
        super().leave()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        is_late = scope is not None and scope.expired()
        notes: list[str] = []
        try:
            notes = self.end(error, is_late=is_late)
            if scope is not None:
                await scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            if not is_late:
                raise
            raise timed_out(*notes) from None
        finally:
            self.ensure_left()


class PersistentConnection(AsyncConnection[Exchange, socket.socket]):
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    Everything is as for `safeconnect.PersistentConnection`, with tasks instead of threads: one exchange at a time,
    first come, first served. A cancelled exchange resets the connection. It belongs to one event loop at a time.

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

    >>> import asyncio
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

    _kinds = (_Link, _Block)


publish("safeconnect.asyncio", PersistentConnection)

"""`PersistentConnection` on trio."""

from __future__ import annotations

import trio

from .._connect.connect_error import timed_out
from .._lazy import publish
from .._loops import trio as trio_loop
from .async_base import AsyncBlock, AsyncConnection, AsyncExchange, AsyncLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class _Link(AsyncLink):
    loop = trio_loop

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()


class Exchange(AsyncExchange):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """The connection, trio's socket.

        :raises RuntimeError: the exchange is over.
        """
        sock: trio.socket.SocketType = self._check()
        return sock


class _Block(AsyncBlock):
    kind = Exchange
    _scope: trio.CancelScope | None = None

    async def open_scope(self) -> None:
        if self.deadline is not None:
            scope = trio_loop.scope_until(self.deadline)
            scope.__enter__()
            self._scope = scope

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        try:
            notes = self.end(error, is_late=scope is not None and _is_late(error, scope))
            is_swallowed = scope is not None and scope.__exit__(kind, error, traceback)
            if scope is not None and scope.cancelled_caught:
                raise timed_out(*notes)
            return is_swallowed
        finally:
            self.ensure_left()


class PersistentConnection(AsyncConnection[Exchange, trio.socket.SocketType]):
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    Everything is as for `safeconnect.PersistentConnection`, with tasks instead of threads: one exchange at a time,
    first come, first served. A cancelled exchange resets the connection.

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

    >>> import trio
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

    _kinds = (_Link, _Block)


def _is_late(error: BaseException | None, scope: trio.CancelScope) -> bool:
    """Return True if the deadline ended the block, or would have at its next checkpoint."""
    if error is None:
        return scope.cancel_called
    return isinstance(error, trio.Cancelled) and scope.cancel_called and trio.current_time() >= scope.deadline


publish("safeconnect.trio", PersistentConnection)

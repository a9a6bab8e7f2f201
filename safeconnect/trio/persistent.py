"""`PersistentConnection` on trio."""

import errno
import inspect
import math
from contextlib import asynccontextmanager
from time import monotonic

import trio

from .._persistent import LONGEST, ExchangeBase, Line
from ..errors import PeerClosedError
from ..settings import check_seconds
from .connecting import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any, Self, TypeVar

    from ..retry import Retry
    from ..settings import Settings

    Result = TypeVar("Result")
    Socket = trio.socket.SocketType
    OnConnect = Callable[[Socket], Awaitable[Socket | None] | Socket | None]


class Exchange(ExchangeBase):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """The connection, trio's socket.

        :raises RuntimeError: the exchange is over.
        """
        sock: trio.socket.SocketType = self._check()
        return sock

    async def sendall(self, data: "bytes | bytearray | memoryview") -> None:
        """Send all of the data.

        :raises OSError: as ``send`` of trio's socket.
        """
        rest = memoryview(data)
        with self.whole() as sock:
            while rest:
                rest = rest[await sock.send(rest) :]

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``recv`` of trio's socket.
        """
        with self.whole() as sock:
            return await sock.recv(bufsize)  # type: ignore[no-any-return]

    async def recv_exactly(self, size: int) -> bytes:
        """Receive so many bytes, no less and no more.

        :raises safeconnect.PeerClosedError: the peer has closed before.
        :raises OSError: as `recv`.
        """
        data = bytearray()
        while len(data) < size:
            part = await self.recv(size - len(data))
            if not part:
                raise PeerClosedError(errno.ECONNRESET, f"the peer closed after {len(data)} of {size} bytes")
            data += part
        return bytes(data)


class PersistentConnection:
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    Everything is as for `safeconnect.PersistentConnection`, with tasks in the place of threads: they wait for their
    turn, and a cancelled exchange resets the connection.

    :param address: as for `create_connection`.
    :param connector: how to connect, a `safeconnect.Connector`; its ``timeout`` holds for a connect where the exchange
        has none.
    :param retry: how often to try to connect, and how long to pause before a lost connection is made again.
    :param idle_limit: seconds after which an unused connection is not used again.
    :param on_connect: called, and awaited where it returns an awaitable, with each new connected socket before its
        first exchange.
    :raises TypeError: an argument is of a wrong type.
    :raises ValueError: ``idle_limit`` is negative.

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

    def __init__(
        self,
        address: "tuple[Any, ...]",
        *,
        connector: "Settings | None" = None,
        retry: "Retry | None" = None,
        idle_limit: float | None = None,
        on_connect: "OnConnect | None" = None,
    ) -> None:
        self._line = _Line(
            address,
            connector=connector,
            retry=retry,
            idle_limit=idle_limit,
            on_connect=on_connect,
            clock=monotonic,
        )
        timeout = getattr(connector, "timeout", None)
        self._pause: trio.CancelScope | None = None
        self._timeout = timeout if isinstance(timeout, (int, float)) else None  # a mark stands for the default

    @asynccontextmanager
    async def exchange(self, timeout: float | None = None, *, wait: bool = True) -> "AsyncIterator[Exchange]":
        """A block for one request and its reply.

        :param timeout: seconds for all of it: the turn, a connect, the block. None: no limit.
        :param wait: whether to wait while another task has an exchange; if not, that is an error.
        :returns: an asynchronous context manager that gives an `Exchange`.
        :raises TimeoutError: it was not over in time; or the pause that is due is longer than that.
        :raises BlockingIOError: another exchange is under way, and ``wait`` is False.
        :raises OSError: no connection could be made, as for `create_connection`.
        :raises ExceptionGroup: the same, where the connector has ``all_errors``.
        :raises RuntimeError: it has been closed, this task has an exchange already, or ``on_connect`` has closed the
            socket.
        :raises ValueError: ``timeout`` is negative; at the first connect also what is wrong with the address.
        :raises TypeError: ``timeout`` is no number.
        """
        async with self._exchange(_deadline(timeout), wait=wait) as exchange:
            yield exchange

    async def run(
        self,
        function: "Callable[[Exchange], Awaitable[Result]]",
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> "Result":
        """Call an async function with an `Exchange` and return what it returns; once more where that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: as for `safeconnect.PersistentConnection`'s ``run``.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        deadline = _deadline(timeout)
        sendings = 0
        while True:
            exchange = None
            try:
                async with self._exchange(deadline, wait=wait, counts=idempotent) as exchange:
                    return await function(exchange)
            except OSError as error:
                sendings += 1
                if exchange is None or exchange.may_have_reply or (deadline is not None and _now() >= deadline):
                    raise
                if not self._line.reconnection.resends(sendings, error):
                    raise

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self._line.close(is_idle=not self._line.turn.locked())
        if self._pause is not None:
            self._pause.cancel()

    @asynccontextmanager
    async def _exchange(self, deadline: float | None, *, wait: bool, counts: bool = False) -> "AsyncIterator[Exchange]":
        turn = await self._take_turn(deadline, wait=wait)
        late = TimeoutError("timed out")
        try:
            exchange = Exchange(self._line, await self._connected(deadline), counts=counts)
            with _until(deadline) as scope:
                try:
                    yield exchange
                except BaseException as error:
                    exchange.over(late if _is_late(error, scope) else error)
                    raise
                exchange.over(late if scope.cancel_called else None)
            if scope.cancelled_caught:
                raise late
        finally:
            del late  # its traceback holds this frame: a cycle
            turn.release()
            if self._line.is_closed:
                self._line.discard()

    async def _take_turn(self, deadline: float | None, *, wait: bool) -> trio.Lock:
        self._line.check_open()
        turn = self._line.turn
        if turn.statistics().owner is trio.lowlevel.current_task():
            raise RuntimeError("this task has an exchange already")
        if turn.locked() and not wait:
            raise BlockingIOError(errno.EAGAIN, "another exchange is under way")
        with _until(deadline) as scope:
            await turn.acquire()
        if scope.cancelled_caught:
            raise _late("another exchange was under way all the time")
        return turn

    async def _connected(self, deadline: float | None) -> trio.socket.SocketType:
        line = self._line
        line.check_open()
        sock: trio.socket.SocketType | None = line.fit_socket()
        if sock is not None:
            return sock
        await self._wait(line.seconds_to_wait(_left(deadline)))
        line.check_open()
        within = self._timeout if deadline is None else _left(deadline)
        try:
            line.begin(trio.socket.from_stdlib_socket(await connect(line.connector, line.address, within)))
            return await self._prepared(deadline)
        except (OSError, ExceptionGroup) as error:
            line.failed(error, connecting=True)
            raise
        except BaseException:
            line.reset()
            raise

    async def _wait(self, seconds: float) -> None:
        """Let time pass, unless `close` is called."""
        with trio.CancelScope() as self._pause:
            await trio.sleep(seconds)

    async def _prepared(self, deadline: float | None) -> trio.socket.SocketType:
        prepared: trio.socket.SocketType | None = None
        if self._line.on_connect is not None:
            with _until(deadline) as scope:
                prepared = self._line.on_connect(self._line.socket())
                if inspect.isawaitable(prepared):
                    prepared = await prepared
            if scope.cancelled_caught:
                raise _late("in on_connect")
        return self._line.ready(prepared)  # type: ignore[no-any-return]

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._line.address!r}{self._line.state()}>"


def _late(told: str) -> TimeoutError:
    error = TimeoutError("timed out")
    error.add_note(told)
    return error


def _now() -> float:
    return trio.current_time()


class _Line(Line):
    """One that tasks take turns at."""

    def __init__(self, *address: "Any", **settings: "Any") -> None:
        super().__init__(*address, **settings)
        self.turn = trio.Lock()

    def forked(self) -> None:
        self.turn = trio.Lock()  # whoever has the other is a task of the parent's
        super().forked()


def _deadline(timeout: float | None) -> float | None:
    check_seconds("timeout", timeout)
    return None if timeout is None or timeout > LONGEST else _now() + timeout


def _left(deadline: float | None) -> float | None:
    """How many seconds are left.

    :raises TimeoutError: none.
    """
    if deadline is None:
        return None
    left = deadline - _now()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _until(deadline: float | None) -> trio.CancelScope:
    return trio.CancelScope(deadline=math.inf if deadline is None else deadline)


def _is_late(error: BaseException, scope: trio.CancelScope) -> bool:
    """Whether a block was left because its time was over."""
    return isinstance(error, trio.Cancelled) and scope.cancel_called and trio.current_time() >= scope.deadline

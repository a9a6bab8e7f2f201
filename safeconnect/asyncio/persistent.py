"""`PersistentConnection` on asyncio."""

import asyncio
import errno
import inspect
from contextlib import asynccontextmanager
from time import monotonic

from .._persistent import LONGEST, ExchangeBase, Line
from ..errors import PeerClosedError
from ..settings import check_seconds
from .connecting import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any, Self, TypeVar

    from ..retry import Retry
    from ..settings import Settings

    Result = TypeVar("Result")
    OnConnect = Callable[[socket.socket], Awaitable[socket.socket | None] | socket.socket | None]


class Exchange(ExchangeBase):
    """One request and its reply on a `PersistentConnection`; valid inside its ``async with`` block."""

    @property
    def socket(self) -> "socket.socket":
        """The connection, a non-blocking socket for ``loop.sock_recv`` and the like.

        :raises RuntimeError: the exchange is over.
        """
        sock: socket.socket = self._check()
        return sock

    async def sendall(self, data: "bytes | bytearray | memoryview") -> None:
        """Send all of the data.

        :raises OSError: as ``loop.sock_sendall``.
        """
        with self.whole() as sock:
            await asyncio.get_running_loop().sock_sendall(sock, data)

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``loop.sock_recv``.
        """
        with self.whole() as sock:
            return await asyncio.get_running_loop().sock_recv(sock, bufsize)

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
    turn, and a cancelled exchange resets the connection. It belongs to one event loop at a time.

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
    ...     asyncio.run(main(server.address))
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
        self._line = Line(
            address,
            connector=connector,
            retry=retry,
            idle_limit=idle_limit,
            on_connect=on_connect,
            clock=monotonic,
        )
        timeout = getattr(connector, "timeout", None)
        self._timeout = timeout if isinstance(timeout, (int, float)) else None  # a mark stands for the default
        self._turn = asyncio.Lock()
        self._waiting = 0  # for their turn
        self._pause: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[Any] | None = None

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
        self._line.close(is_idle=not self._turn.locked())
        _wake(self._pause)

    @asynccontextmanager
    async def _exchange(self, deadline: float | None, *, wait: bool, counts: bool = False) -> "AsyncIterator[Exchange]":
        turn = await self._take_turn(deadline, wait=wait)
        scope = asyncio.timeout_at(deadline)
        late = TimeoutError("timed out")
        try:
            exchange = Exchange(self._line, await self._connected(deadline), counts=counts)
            async with scope:
                try:
                    yield exchange
                except BaseException as error:
                    exchange.over(late if scope.expired() else error)
                    raise
                exchange.over(late if scope.expired() else None)
        except TimeoutError:
            if scope.expired():
                raise late from None
            raise
        finally:
            del late  # its traceback holds this frame: a cycle
            if turn is self._turn:
                self._owner = None
            turn.release()
            if self._line.is_closed:
                self._line.discard()

    async def _take_turn(self, deadline: float | None, *, wait: bool) -> asyncio.Lock:
        self._line.check_open()
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the loop of an earlier asyncio.run() is gone, with all that went on in it
            if self._line.exchange is not None:
                self._line.exchange.over(asyncio.CancelledError())
            self._loop, self._turn, self._owner, self._waiting = loop, asyncio.Lock(), None, 0
        turn, task = self._turn, asyncio.current_task()
        if self._owner is task:
            raise RuntimeError("this task has an exchange already")
        if not wait and (turn.locked() or self._waiting):
            raise BlockingIOError(errno.EAGAIN, "another exchange is under way")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError:
            raise _late("another exchange was under way all the time") from None
        finally:
            self._waiting -= 1
        self._owner = task
        return turn

    async def _connected(self, deadline: float | None) -> "socket.socket":
        line = self._line
        line.check_open()
        sock: socket.socket | None = line.fit_socket()
        if sock is not None:
            return sock
        await self._wait(line.seconds_to_wait(_left(deadline)))
        line.check_open()
        within = self._timeout if deadline is None else _left(deadline)
        try:
            line.begin(await connect(line.connector, line.address, within))
            return await self._prepared(deadline)
        except (OSError, ExceptionGroup) as error:
            line.failed(error, connecting=True)
            raise
        except BaseException:
            line.reset()
            raise

    async def _wait(self, seconds: float) -> None:
        """Let time pass, unless `close` is called."""
        if not seconds:
            return
        loop = asyncio.get_running_loop()
        self._pause = pause = loop.create_future()
        timer = loop.call_later(seconds, _wake, pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._pause = None

    async def _prepared(self, deadline: float | None) -> "socket.socket":
        prepared: socket.socket | None = None
        if self._line.on_connect is not None:
            scope = asyncio.timeout_at(deadline)
            try:
                async with scope:
                    prepared = self._line.on_connect(self._line.socket())
                    if inspect.isawaitable(prepared):
                        prepared = await prepared
            except TimeoutError:
                if scope.expired():
                    raise _late("in on_connect") from None
                raise
        return self._line.ready(prepared)  # type: ignore[no-any-return]

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._line.address!r}{self._line.state()}>"


def _wake(pause: "asyncio.Future[None] | None") -> None:
    if pause is not None and not pause.done():
        pause.set_result(None)


def _late(told: str) -> TimeoutError:
    error = TimeoutError("timed out")
    error.add_note(told)
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()


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

"""`PersistentConnection` on an event loop, with tasks instead of threads: what is the same on all loops."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic, Self, TypeVar

from .._connect.connect_error import timed_out
from .._connect.settings import Settings
from ..retry import Retry
from .policy import Block, seconds_left
from .shared import ConnectionBase, ExchangeBase, Link, incomplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._loops import Event, Loop

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound="AsyncExchange")
Socket = TypeVar("Socket")


class AsyncLink(Link):
    """The connection behind a `PersistentConnection` whose exchanges belong to tasks."""

    loop: Loop  # a driver's own
    pause: Event | None = None  # set by close()
    timeout: float | None = None  # of a connect for an exchange that has none

    async def start(self) -> None:
        """Called when an exchange begins; a driver's own."""
        raise NotImplementedError

    async def connect_for(self, block: Block) -> Any:
        """Return the connection for the block that holds the lock; make a new one if none is fit."""
        deadline = block.deadline
        self.check_open()
        sock = self.check_out()
        if sock is not None:
            return sock
        seconds = self.pause_seconds(seconds_left(deadline, self.loop.now()))
        if seconds:
            self.pause = self.loop.new_event()
            await self.loop.wait(self.pause, seconds)
        self.check_open()
        try:
            timeout = self.timeout if deadline is None else seconds_left(deadline, self.loop.now())
            self.take_over(block, await self.loop.connect(self.connector, self.address, timeout))
            return self.adopt(block, await self._prepared(deadline))
        except BaseException as error:
            self.connect_failed(block, error)
            raise

    async def _prepared(self, deadline: float | None) -> Any:
        if self.on_connect is None:
            return None
        prepared = self.on_connect(self.sock)
        if not inspect.isawaitable(prepared):
            return prepared
        return await self.loop.within(deadline, prepared, "in on_connect")

    def end_pause(self) -> None:
        if self.pause is not None:
            self.pause.set()


class AsyncExchange(ExchangeBase):
    """One request and its reply."""

    _link: AsyncLink

    async def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data.

        :raises OSError: as the socket's own ``send``.
        """
        self.unfinished += 1
        await self._link.loop.sendall(self._check(), data)
        self.unfinished -= 1

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as the socket's own ``recv``.
        """
        self.unfinished += 1
        data = await self._link.loop.recv(self._check(), bufsize)
        self.unfinished -= 1
        return data

    async def recv_exactly(self, size: int) -> bytes:
        """Receive exactly so many bytes.

        :raises safeconnect.PeerClosedError: the peer has closed before.
        :raises OSError: as `recv`.
        """
        data = bytearray()
        while len(data) < size:
            part = await self.recv(size - len(data))
            if not part:
                raise incomplete(len(data), size)
            data += part
        return bytes(data)


class AsyncBlock(Block):
    """A block that a task waits for; a driver adds ``__aexit__``, and the scope of the deadline."""

    link: AsyncLink
    kind: ClassVar[Callable[..., AsyncExchange]]

    async def open_scope(self) -> None:
        """Let the deadline bound the block from now on."""
        raise NotImplementedError

    async def __aenter__(self) -> Any:
        link = self.link
        await link.start()
        self.enter(link.loop.now(), link.loop.current_task())
        try:
            if not link.lock.acquire(self):
                await self._wait_for_lock()
            self.exchange = self.kind(link, await link.connect_for(self), self.deadline, counts=self.counts)
            await self.open_scope()
            return self.exchange
        except BaseException:
            self.leave()
            raise

    def end(self, error: BaseException | None, *, is_late: bool) -> list[str]:
        """End the exchange and release the lock; return the notes for the error of the deadline, if that ended it.

        The driver raises a new error with these notes: a frame that both holds and raises an error makes a cycle.
        """
        self.is_late = is_late
        late = timed_out() if is_late else None
        if self.exchange is not None:
            self.exchange.end(late or error)
        self.leave()
        return getattr(late, "__notes__", [])

    async def _wait_for_lock(self) -> None:
        lock, loop = self.link.lock, self.link.loop
        self._end_lost()
        if lock.acquire(self):
            return
        self.check_may_wait()
        is_woken = True
        try:
            lock.enqueue(self)
            while True:
                self._woken = woken = loop.new_event()
                if lock.acquire(self, in_order=is_woken):
                    return
                is_woken = await loop.wait(woken, self.wait_seconds(loop.now()))
                self._end_lost()
        finally:
            lock.dequeue(self)

    def _end_lost(self) -> None:
        """Release the lock of an exchange whose end was interrupted.

        An interrupt that leaves the loop is kept by its task, in a cycle. The block would hold the lock until the
        garbage collector comes.
        """
        holder = self.link.lock.holder
        if isinstance(holder, AsyncBlock) and self.link.loop.has_failed(holder.taker):
            holder.abandon()
            self.link.lock.release(holder)


class AsyncConnection(ConnectionBase, Generic[Kind, Socket]):
    """`PersistentConnection`, except for its docstring and the classes that it is made of."""

    _kinds: ClassVar[tuple[type[AsyncLink], type[AsyncBlock]]]

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        connector: Settings | None = None,
        retry: Retry | None = None,
        idle_limit: float | None = None,
        max_age: float | None = None,
        on_connect: Callable[[Socket], Awaitable[Socket | None] | Socket | None] | None = None,
    ) -> None:
        self._link: AsyncLink = self._kinds[0](
            address, connector, retry=retry, idle_limit=idle_limit, max_age=max_age, on_connect=on_connect
        )
        timeout = getattr(connector, "timeout", None)
        self._link.timeout = timeout if isinstance(timeout, (int, float)) else None  # else the default's mark

    def exchange(self, timeout: float | None = None, *, wait: bool = True) -> AbstractAsyncContextManager[Kind]:
        """Return a block for one request and its reply.

        :param timeout: seconds for all of it: the wait for other exchanges, a connect, the block. None: no limit.
        :param wait: wait while another task has an exchange; False: raise an error.
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
        block: Any = self._kinds[1](self._link, timeout, wait=wait)
        return block  # type: ignore[no-any-return]

    async def run(
        self,
        function: Callable[[Kind], Awaitable[Result]],
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> Result:
        """Call an async function with an `Exchange` and return its result; call it again if that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: as for `safeconnect.PersistentConnection`'s ``run``.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        block: Any = self._kinds[1](self._link, timeout, wait=wait, counts=idempotent)
        sendings = 0
        while True:
            try:
                async with block as exchange:
                    return await function(exchange)
            except OSError as error:
                sendings += 1
                if not block.resends(sendings, error, self._link.loop.now()):
                    raise
            block = block.again(self._link.loop.now())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

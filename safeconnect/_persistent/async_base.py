"""What `PersistentConnection` is on every event loop: tasks in the place of threads.

A driver adds the clock and how to wait: `AsyncLine`, `AsyncExchange` and `AsyncBlock` say which methods.
"""

from __future__ import annotations

import errno
import inspect
from time import monotonic

from .._connect.verdict import timed_out
from ..errors import PeerClosedError
from .link import ExchangeBase, Line
from .turns import LOOK_AGAIN, Block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Any, ClassVar, Generic, Self, TypeVar

    from .._connect.settings import Settings
    from ..retry import Retry
    from .turns import Event, Turns

    Result = TypeVar("Result")
    Kind = TypeVar("Kind", bound="AsyncExchange")

    class Typed(Generic[Kind]):
        """Says which class of exchanges a connection has."""
else:

    class Typed:
        """The same without loading typing."""

        def __class_getitem__(cls, kind: object) -> type:
            return cls


class AsyncLine(Line):
    """The connection behind a `PersistentConnection` whose exchanges are tasks'."""

    pause: Event | None = None  # set by close()
    timeout: float | None = None  # of a connect, where the exchange has none

    def now(self) -> float:
        """The loop's clock."""
        raise NotImplementedError

    def task(self) -> object:
        """The task that runs."""
        raise NotImplementedError

    def has_failed(self, task: Any) -> bool:
        """Whether a task has ended with an exception, and with it the block of its exchange."""
        raise NotImplementedError

    async def start(self) -> None:
        """Called as an exchange begins."""
        raise NotImplementedError

    def new_event(self) -> Event:
        """An event that tasks can wait for."""
        raise NotImplementedError

    async def wait(self, event: Any, seconds: float | None) -> bool:
        """Wait for an event, so long at most; says whether it is set."""
        raise NotImplementedError

    async def within(self, deadline: float | None, awaitable: Awaitable[Any]) -> Any:
        """What the awaitable returns.

        :raises TimeoutError: not before the deadline; its note is "in on_connect".
        """
        raise NotImplementedError

    async def connect(self, seconds: float | None) -> Any:
        """Connect; the socket is the driver's."""
        raise NotImplementedError

    async def connected(self, block: Block) -> Any:
        """The connection, made anew where there is none that is fit; for the block that has the turn."""
        deadline = block.deadline
        self.check_open()
        sock = self.fit_socket()
        if sock is not None:
            return sock
        seconds = self.seconds_to_wait(self.left(deadline))
        if seconds:
            self.pause = self.new_event()
            await self.wait(self.pause, seconds)
        self.check_open()
        try:
            self.begin(block, await self.connect(self.timeout if deadline is None else self.left(deadline)))
            return self.ready(block, await self._prepared(deadline))
        except BaseException as error:
            self.not_connected(block, error)
            raise

    async def _prepared(self, deadline: float | None) -> Any:
        if self.on_connect is None:
            return None
        prepared = self.on_connect(self.socket())
        return await self.within(deadline, prepared) if inspect.isawaitable(prepared) else prepared

    def left(self, deadline: float | None) -> float | None:
        """How many seconds are left.

        :raises TimeoutError: none.
        """
        if deadline is None:
            return None
        left = deadline - self.now()
        if left <= 0:
            raise timed_out()
        return left


class AsyncExchange(ExchangeBase):
    """One request and its reply; a driver adds `sendall` and `recv`."""

    async def recv(self, bufsize: int) -> bytes:
        """Receive what there is; a driver's own."""
        raise NotImplementedError

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


class AsyncBlock(Block):
    """One that tasks wait for; a driver adds ``__aexit__``, and the scope of the deadline."""

    line: AsyncLine
    kind: ClassVar[Callable[..., AsyncExchange]]

    async def open_scope(self) -> None:
        """The time that is left bounds the block from now on."""
        raise NotImplementedError

    async def __aenter__(self) -> Any:
        line = self.line
        await line.start()
        self.enter(line.now(), line.task())
        try:
            if not line.turns.take(self):
                await self._wait_for_turn()
            self.exchange = self.kind(line, await line.connected(self), self.deadline, counts=self.counts)
            await self.open_scope()
            return self.exchange
        except BaseException:
            self.leave()
            raise

    def end(self, error: BaseException | None, *, is_late: bool) -> list[str]:
        """The block has been left; what an error that says so is to tell.

        An error that a frame both holds and raises is a cycle: so the driver makes another one.
        """
        self.is_late = is_late
        late = timed_out() if is_late else None
        if self.exchange is not None:
            self.exchange.over(late or error)
        self.leave()
        return getattr(late, "__notes__", [])

    def leave(self) -> None:
        self.line.turns.leave(self)
        if self.line.is_closed and self.line.turns.holder is None:  # close() has left it to us
            self.line.discard()
        self.has_left = True

    async def _wait_for_turn(self) -> None:
        line, turns = self.line, self.line.turns
        self._end_lost(turns)
        if turns.take(self):
            return
        self.check_turn()
        is_woken = True
        try:
            turns.enqueue(self)
            while True:
                self._woken = woken = line.new_event()
                if turns.take(self, in_order=is_woken):
                    return
                seconds = LOOK_AGAIN if self.deadline is None else min(self.deadline - line.now(), LOOK_AGAIN)
                if seconds <= 0:
                    raise timed_out("another exchange was under way all the time")
                is_woken = await line.wait(woken, seconds)
                self._end_lost(turns)
        finally:
            turns.dequeue(self)

    def _end_lost(self, turns: Turns) -> None:
        """End the turn of an exchange whose end was interrupted.

        An interrupt that leaves the loop is kept by the task, in a cycle: the block would have its turn until the
        collector comes.
        """
        holder = turns.holder
        if isinstance(holder, AsyncBlock) and self.line.has_failed(holder.taker):
            holder.leave_behind()
            turns.leave(holder)


class AsyncConnection(Typed["Kind"]):
    """`PersistentConnection`, but for what it is called and what its block is made of."""

    _kinds: ClassVar[tuple[type[AsyncLine], type[AsyncBlock]]]

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        connector: Settings | None = None,
        retry: Retry | None = None,
        idle_limit: float | None = None,
        max_age: float | None = None,
        on_connect: Callable[[Any], Any] | None = None,
    ) -> None:
        self._line = self._kinds[0](
            address,
            connector=connector,
            retry=retry,
            idle_limit=idle_limit,
            max_age=max_age,
            on_connect=on_connect,
            clock=monotonic,
        )
        timeout = getattr(connector, "timeout", None)
        self._line.timeout = timeout if isinstance(timeout, (int, float)) else None  # a mark stands for the default

    def exchange(self, timeout: float | None = None, *, wait: bool = True) -> AbstractAsyncContextManager[Kind]:
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
        block: Any = self._kinds[1](self._line, timeout, wait=wait)
        return block  # type: ignore[no-any-return]

    async def run(
        self,
        function: Callable[[Kind], Awaitable[Result]],
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> Result:
        """Call an async function with an `Exchange` and return what it returns; once more where that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: as for `safeconnect.PersistentConnection`'s ``run``.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        block: Any = self._kinds[1](self._line, timeout, wait=wait, counts=idempotent)
        sendings = 0
        while True:
            try:
                async with block as exchange:
                    return await function(exchange)
            except OSError as error:
                sendings += 1
                if not block.resends(sendings, error, self._line.now()):
                    raise
            block = block.again(self._line.now())

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self._line.close(is_idle=self._line.turns.holder is None)
        if self._line.pause is not None:
            self._line.pause.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._line.address!r}{self._line.state()}>"

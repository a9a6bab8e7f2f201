"""A connection that is kept, and made again when it is lost: `PersistentConnection`."""

from __future__ import annotations

import errno
import threading
from time import monotonic

from .._connect.blocking import Connector
from .._connect.verdict import timed_out
from .._latch import Latch
from .._lazy import publish
from ..errors import PeerClosedError
from .link import ExchangeBase, Line
from .turns import LOOK_AGAIN, Block, Ticket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from ..retry import Retry

    Result = TypeVar("Result")


class Exchange(ExchangeBase):
    """One request and its reply on a `PersistentConnection`; valid inside its ``with`` block."""

    @property
    def socket(self) -> socket.socket:
        """The connection. Each time it is asked for, its timeout is set to what is left of the exchange's.

        :raises TimeoutError: nothing is left.
        :raises RuntimeError: the exchange is over.
        """
        sock: socket.socket = self._check()
        sock.settimeout(_left(self._deadline))
        return sock

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data.

        :raises OSError: as ``socket.sendall``; `TimeoutError` when the exchange's time is over.
        """
        self.broken_off += 1  # taken back only by coming to the end: an error spoils the connection, whoever catches it
        self.socket.sendall(data)
        self.broken_off -= 1

    def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``socket.recv``; `TimeoutError` when the exchange's time is over.
        """
        self.broken_off += 1
        data = self.socket.recv(bufsize)
        self.broken_off -= 1
        return data

    def recv_exactly(self, size: int) -> bytes:
        """Receive so many bytes, no less and no more.

        :raises PeerClosedError: the peer has closed before.
        :raises OSError: as `recv`.
        """
        data = bytearray()
        while len(data) < size:
            part = self.recv(size - len(data))
            if not part:
                raise PeerClosedError(errno.ECONNRESET, f"the peer closed after {len(data)} of {size} bytes")
            data += part
        return bytes(data)


class _Block(Block):
    """One that threads wait for."""

    line: _Line
    takers = "thread"

    def __enter__(self) -> Exchange:
        self.enter(monotonic(), threading.current_thread())
        try:
            if not self.line.turns.take(self):
                self._wait_for_turn()
            self.exchange = Exchange(self.line, self.line.connected(self), self.deadline, counts=self.counts)
            return self.exchange
        except BaseException:
            self.leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self.exchange is not None:
                self.exchange.over(error)
            self.leave()
        finally:
            self.leave_at_last()

    def leave(self) -> None:
        self.line.turns.leave(self)
        if self.line.is_closed:  # meanwhile: close() has left it to us
            self.line.close_idle()
        self.has_left = True

    def _wait_for_turn(self) -> None:
        self.check_turn()
        turns = self.line.turns
        is_woken = True
        try:
            turns.enqueue(self)
            while True:
                self._woken = woken = Latch()
                if turns.take(self, in_order=is_woken):
                    return
                seconds = LOOK_AGAIN if self.deadline is None else min(self.deadline - monotonic(), LOOK_AGAIN)
                if seconds <= 0:
                    raise timed_out("another exchange was under way all the time")
                is_woken = woken.wait(seconds)
        finally:
            turns.dequeue(self)


class PersistentConnection:
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    A request that timed out leaves its reply under way. On a kept connection the next request would take it for its
    own, and so on for ever. So an exchange is a block: leave it in the ordinary way and the connection is kept; leave
    it by any exception, a timeout or a cancellation, and the connection is reset, and the late reply dies with it.
    Before each exchange the connection is looked at: one that the peer has closed, or that has bytes waiting which
    nobody asked for, is not used again. What has not arrived by then cannot be seen: where a server may send more than
    one reply to a request, number the requests by ``exchange.id`` and check each reply with ``exchange.verify``.

    One exchange at a time; threads wait for their turn, first come, first served. An exchange may be left in another
    thread than it was begun in. A forked child makes a connection of its own.

    :param address: as for `create_connection`.
    :param connector: how to connect, a `Connector`; its ``timeout`` holds for a connect where the exchange has none.
    :param retry: how often to try to connect for one exchange, and how long to pause before a lost connection is made
        again: the pauses grow while exchanges fail, and are spread by jitter. Its ``budget`` keeps account of exchanges
        as well. Left out: the connector's, or ``Retry()``.
    :param idle_limit: seconds after which an unused connection is not used again but closed and made anew; None, the
        default, for any time. Below the server's own limit it saves a failed exchange.
    :param max_age: seconds after which a connection is not used again, however busy it is: so it follows a change of
        the name's addresses, and leaves a server that is to be emptied. It is closed in order before the next exchange,
        and made anew; never during one. Each connection has a limit of its own, at random from 80 to 100 % of this, so
        that a fleet that has connected at once does not come back at once. None, the default: any age.
    :param on_connect: called with each new connected socket before its first exchange, for a greeting or a login; it
        may return another socket to be used in its place, such as one wrapped in TLS. The socket's timeout is what is
        left of the exchange's. Where it raises, the socket is reset; one that it has made of it, it closes itself.
    :raises TypeError: an argument is of a wrong type.
    :raises ValueError: ``idle_limit`` or ``max_age`` is negative.

    >>> from safeconnect.testing import echo
    >>> with echo() as server, PersistentConnection(server.address) as connection:
    ...     for word in (b"one", b"two"):
    ...         with connection.exchange(timeout=5) as exchange:
    ...             exchange.sendall(word)
    ...             print(exchange.id, exchange.recv(100))
    1 b'one'
    2 b'two'
    """

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        connector: Connector | None = None,
        retry: Retry | None = None,
        idle_limit: float | None = None,
        max_age: float | None = None,
        on_connect: Callable[[socket.socket], socket.socket | None] | None = None,
    ) -> None:
        if connector is not None and not isinstance(connector, Connector):
            raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
        self._line = _Line(
            address,
            connector=connector or Connector(),
            retry=retry,
            idle_limit=idle_limit,
            max_age=max_age,
            on_connect=on_connect,
            clock=monotonic,
        )

    def exchange(self, timeout: float | None = None, *, wait: bool = True) -> AbstractContextManager[Exchange]:
        """A block for one request and its reply.

        :param timeout: seconds for all of it: the turn, a connect, the block. None: no limit.
        :param wait: whether to wait while another thread has an exchange; if not, that is an error.
        :returns: a context manager that gives an `Exchange`.
        :raises TimeoutError: no turn, or no connection, in time; or the pause that is due is longer than that.
        :raises BlockingIOError: another exchange is under way, and ``wait`` is False.
        :raises OSError: no connection could be made, as for `create_connection`.
        :raises ExceptionGroup: the same, where the connector has ``all_errors``.
        :raises RuntimeError: it has been closed, this thread has an exchange already, or ``on_connect`` has closed the
            socket.
        :raises ValueError: ``timeout`` is negative; at the first connect also what is wrong with the address.
        :raises TypeError: ``timeout`` is no number.

        A timeout that is caught inside the block resets the connection all the same, if it came from the exchange's own
        ``sendall`` or ``recv``. Of one that came from `Exchange.socket` the library knows nothing: let it leave the
        block.
        """
        return _Block(self._line, timeout, wait=wait)

    def run(
        self,
        function: Callable[[Exchange], Result],
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> Result:
        """Call a function with an `Exchange` and return what it returns; once more where that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: whether the request may be sent twice. Then it is sent again on a new connection, as often as
            ``retry`` allows, where the connection was lost before a single byte of the reply came. Only where the
            platform counts them: on Linux and macOS.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        block = _Block(self._line, timeout, wait=wait, counts=idempotent)
        sendings = 0
        while True:
            try:
                with block as exchange:
                    return function(exchange)
            except OSError as error:
                sendings += 1
                if not block.resends(sendings, error, monotonic()):
                    raise
            block = block.again(monotonic())

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self._line.is_closed = True
        self._line.end_pause()
        if not self._line.close_idle():
            self._line.close(is_idle=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._line.address!r}{self._line.state()}>"


class _Line(Line):
    """One that threads use."""

    def _renew(self) -> None:
        super()._renew()
        self._closing = Latch()

    def connected(self, block: _Block) -> socket.socket:
        """The connection, made anew where there is none that is fit; for the block that has the turn."""
        deadline = block.deadline
        self.check_open()
        sock: socket.socket | None = self.fit_socket()
        if sock is not None:
            return sock
        seconds = self.seconds_to_wait(_left(deadline))
        if seconds:
            self._closing.wait(seconds)
        self.check_open()
        within = () if deadline is None else (_left(deadline),)  # else the connector has a timeout of its own
        connector: Any = self.connector
        try:
            self.begin(block, connector.connect(self.address, *within))
            ready: socket.socket = self.ready(block, self._prepared(deadline))
        except BaseException as error:
            self.not_connected(block, error)
            raise
        return ready

    def _prepared(self, deadline: float | None) -> socket.socket | None:
        if self.on_connect is None:
            return None
        sock = self.socket()
        sock.settimeout(_left(deadline))
        prepared: socket.socket | None = self.on_connect(sock)
        _left(deadline)
        return prepared

    def close_idle(self) -> bool:
        """Close the connection unless an exchange is under way; says whether there was none."""
        nobody = Ticket()
        try:
            if not self.turns.take(nobody, in_order=False):
                return False
            self.close(is_idle=True)
        finally:
            self.turns.leave(nobody)
        return True

    def end_pause(self) -> None:
        """Let nobody wait any more."""
        self._closing.set()


def _left(deadline: float | None) -> float | None:
    """How many seconds are left.

    :raises TimeoutError: none.
    """
    if deadline is None:
        return None
    left = deadline - monotonic()
    if left <= 0:
        raise timed_out()
    return left


publish("safeconnect", PersistentConnection)

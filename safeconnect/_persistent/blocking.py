"""`PersistentConnection` for threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic

from .._connect.blocking import Connector
from .._latch import Latch
from .._lazy import publish
from .._lazy import typing as t
from .policy import Block, seconds_left
from .shared import ConnectionBase, ExchangeBase, Link, incomplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


class Exchange(ExchangeBase):
    """One request and its reply on a `PersistentConnection`; valid inside its ``with`` block."""

    @property
    def socket(self) -> socket.socket:
        """The connection. At each access its timeout is set to what is left of the exchange's.

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
        self.unfinished += 1
        self.socket.sendall(data)
        self.unfinished -= 1

    def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``socket.recv``; `TimeoutError` when the exchange's time is over.
        """
        self.unfinished += 1
        data = self.socket.recv(bufsize)
        self.unfinished -= 1
        return data

    def recv_exactly(self, size: int) -> bytes:
        """Receive exactly so many bytes.

        :raises PeerClosedError: the peer has closed before.
        :raises OSError: as `recv`.
        """
        data = bytearray()
        while len(data) < size:
            part = self.recv(size - len(data))
            if not part:
                raise incomplete(len(data), size)
            data += part
        return bytes(data)


class _Block(Block):
    """A block that a thread waits for."""

    link: _Link
    taker_kind = "thread"

    def __enter__(self) -> Exchange:
        self.enter(monotonic(), threading.current_thread())
        try:
            if not self.link.lock.acquire(self):
                self._wait_for_lock()
            self.exchange = Exchange(self.link, self.link.connect_for(self), self.deadline, counts=self.counts)
            return self.exchange
        except BaseException:
            self.leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self.exchange is not None:
                self.exchange.end(error)
            self.leave()
        finally:
            self.ensure_left()

    def _wait_for_lock(self) -> None:
        self.check_may_wait()
        lock = self.link.lock
        is_woken = True
        try:
            lock.enqueue(self)
            while True:
                self._woken = woken = Latch()
                if lock.acquire(self, in_order=is_woken):
                    return
                is_woken = woken.wait(self.wait_seconds(monotonic()))
        finally:
            lock.dequeue(self)


class PersistentConnection(ConnectionBase):
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    A request that timed out leaves its reply under way. On a kept connection the next request would take it for its
    own, and so would every request after that. So an exchange is a block. Leave it normally, and the connection is
    kept. Leave it by an exception, a timeout or a cancellation, and the connection is reset, so that the late reply
    never arrives. Before each exchange the connection is checked: if the peer has closed it, or if bytes are waiting
    that nobody asked for, it is not used again. A reply that comes later than that cannot be seen: where a server may
    send more than one reply to a request, number the requests by ``exchange.id`` and check each reply with
    ``exchange.verify``.

    There is one exchange at a time; other threads wait, first come, first served. An exchange may be left in another
    thread than it was entered in. A forked child makes a connection of its own.

    :param address: as for `create_connection`.
    :param connector: how to connect, a `Connector`; its ``timeout`` holds for a connect where the exchange has none.
    :param retry: how often to try to connect for one exchange, and how long to pause before a lost connection is made
        again: the pauses grow while exchanges fail, and are spread by jitter. Its ``budget`` counts exchanges as well.
        Default: the connector's, or ``Retry()``.
    :param idle_limit: seconds after which an unused connection is closed and made anew. None, the default: no limit. A
        value below the server's own limit saves a failed exchange.
    :param max_age: seconds after which a connection is not used again, however busy it is, so that it follows a change
        of the name's addresses and leaves a server that is being drained. It is closed in order before the next
        exchange, never during one. Each connection has its own limit, at random from 80 to 100 % of this, so that a
        fleet that has connected at once does not reconnect at the same moment. None, the default: no limit.
    :param on_connect: called with each new connected socket before its first exchange, for a greeting or a login; it
        may return another socket to be used instead, such as one wrapped in TLS. The socket's timeout is what is left
        of the exchange's. If it raises, the socket is reset; a socket that it has wrapped around it, it must close
        itself.
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
        address: t.Address,
        *,
        connector: Connector | None = None,
        retry: t.Retry | None = None,
        idle_limit: float | None = None,
        max_age: float | None = None,
        on_connect: Callable[[socket.socket], socket.socket | None] | None = None,
    ) -> None:
        if connector is not None and not isinstance(connector, Connector):
            raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
        self._link: _Link = _Link(
            address,
            connector or Connector(),
            retry=retry,
            idle_limit=idle_limit,
            max_age=max_age,
            on_connect=on_connect,
        )

    def exchange(self, timeout: float | None = None, *, wait: bool = True) -> AbstractContextManager[Exchange]:
        """Return a block for one request and its reply.

        :param timeout: seconds for all of it: the wait for other exchanges, a connect, the block. None: no limit.
        :param wait: wait while another thread has an exchange; False: raise an error.
        :returns: a context manager that gives an `Exchange`.
        :raises TimeoutError: another exchange did not end in time, or no connection was made in time; or the pause that
            is due is longer than that.
        :raises BlockingIOError: another exchange is under way, and ``wait`` is False.
        :raises OSError: no connection could be made, as for `create_connection`.
        :raises ExceptionGroup: the same, where the connector has ``all_errors``.
        :raises RuntimeError: it has been closed, this thread has an exchange already, or ``on_connect`` has closed the
            socket.
        :raises ValueError: ``timeout`` is negative; at the first connect also what is wrong with the address.
        :raises TypeError: ``timeout`` is no number.

        A timeout that is caught inside the block resets the connection, too, if it came from the exchange's own
        ``sendall`` or ``recv``. The library does not see a timeout of `Exchange.socket`: let it leave the block.
        """
        return _Block(self._link, timeout, wait=wait)

    def run(
        self,
        function: Callable[[Exchange], t.Result],
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> t.Result:
        """Call a function with an `Exchange` and return its result; call it again if that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: True: the request may be sent twice. If the connection is lost before a single byte of the
            reply has come, the request is sent again on a new one, as often as ``retry`` allows. Only on Linux and
            macOS, which count these bytes.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        block = _Block(self._link, timeout, wait=wait, counts=idempotent)
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

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Link(Link):
    """The connection behind a `PersistentConnection` whose exchanges belong to threads."""

    def _renew(self) -> None:
        super()._renew()
        self._closing = Latch()

    def connect_for(self, block: _Block) -> socket.socket:
        """Return the connection for the block that holds the lock; make a new one if none is fit."""
        deadline = block.deadline
        self.check_open()
        sock: socket.socket | None = self.check_out()
        if sock is not None:
            return sock
        seconds = self.pause_seconds(_left(deadline))
        if seconds:
            self._closing.wait(seconds)
        self.check_open()
        timeout = () if deadline is None else (_left(deadline),)  # without one, the connector's own holds
        connector: Any = self.connector
        try:
            self.take_over(block, connector.connect(self.address, *timeout))
            ready: socket.socket = self.adopt(block, self._prepared(deadline))
        except BaseException as error:
            self.connect_failed(block, error)
            raise
        return ready

    def _prepared(self, deadline: float | None) -> socket.socket | None:
        if self.on_connect is None:
            return None
        self.sock.settimeout(_left(deadline))
        prepared: socket.socket | None = self.on_connect(self.sock)
        _left(deadline)
        return prepared

    def end_pause(self) -> None:
        self._closing.set()


def _left(deadline: float | None) -> float | None:
    return seconds_left(deadline, monotonic())


publish("safeconnect", PersistentConnection)

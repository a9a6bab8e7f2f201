"""A connection that is kept, and made again when it is lost: `PersistentConnection`."""

import errno
import threading
from contextlib import contextmanager, suppress
from time import monotonic

from ._persistent import LONGEST, ExchangeBase, Line
from .blocking import Connector
from .errors import PeerClosedError
from .settings import check_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from typing import Any, Self, TypeVar

    from .retry import Retry

    Result = TypeVar("Result")
    Turn = threading.RLock


class Exchange(ExchangeBase):
    """One request and its reply on a `PersistentConnection`; valid inside its ``with`` block."""

    def __init__(self, line: Line, sock: "socket.socket", deadline: float | None, *, counts: bool) -> None:
        super().__init__(line, sock, counts=counts)
        self._deadline = deadline

    @property
    def socket(self) -> "socket.socket":
        """The connection. Each time it is asked for, its timeout is set to what is left of the exchange's.

        :raises TimeoutError: nothing is left.
        :raises RuntimeError: the exchange is over.
        """
        sock: socket.socket = self._check()
        sock.settimeout(_left(self._deadline))
        return sock

    def sendall(self, data: "bytes | bytearray | memoryview") -> None:
        """Send all of the data.

        :raises OSError: as ``socket.sendall``; `TimeoutError` when the exchange's time is over.
        """
        with self.whole():
            self.socket.sendall(data)

    def recv(self, bufsize: int) -> bytes:
        """Receive what there is, up to so many bytes; b"" at the end of the stream.

        :raises OSError: as ``socket.recv``; `TimeoutError` when the exchange's time is over.
        """
        with self.whole():
            return self.socket.recv(bufsize)

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


class PersistentConnection:
    """One connection to a server, made on first use, kept, and made again when it is lost. Replies never cross.

    A request that timed out leaves its reply under way. On a kept connection the next request would take it for its
    own, and so on for ever. So an exchange is a block: leave it in the ordinary way and the connection is kept; leave
    it by any exception, a timeout or a cancellation, and the connection is reset, and the late reply dies with it.
    Before each exchange the connection is looked at: one that the peer has closed, or that has bytes waiting which
    nobody asked for, is not used again.

    One exchange at a time; threads wait for their turn. A forked child makes a connection of its own.

    :param address: as for `create_connection`.
    :param connector: how to connect, a `Connector`; its ``timeout`` holds for a connect where the exchange has none.
    :param retry: how often to try to connect for one exchange, and how long to pause before a lost connection is made
        again: the pauses grow while exchanges fail, and are spread by jitter. Its ``budget`` keeps account of exchanges
        as well. Left out: the connector's, or ``Retry()``.
    :param idle_limit: seconds after which an unused connection is not used again but closed and made anew; None, the
        default, for any time. Below the server's own limit it saves a failed exchange.
    :param on_connect: called with each new connected socket before its first exchange, for a greeting or a login; it
        may return another socket to be used in its place, such as one wrapped in TLS. The socket's timeout is what is
        left of the exchange's. Where it raises, the socket is reset; one that it has made of it, it closes itself.
    :raises TypeError: an argument is of a wrong type.
    :raises ValueError: ``idle_limit`` is negative.

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
        address: "tuple[Any, ...]",
        *,
        connector: Connector | None = None,
        retry: "Retry | None" = None,
        idle_limit: float | None = None,
        on_connect: "Callable[[socket.socket], socket.socket | None] | None" = None,
    ) -> None:
        if connector is not None and not isinstance(connector, Connector):
            raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
        self._line = _Line(
            address,
            connector=connector or Connector(),
            retry=retry,
            idle_limit=idle_limit,
            on_connect=on_connect,
            clock=monotonic,
        )

    @contextmanager
    def exchange(self, timeout: float | None = None, *, wait: bool = True) -> "Iterator[Exchange]":
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
        with self._exchange(_deadline(timeout), wait=wait) as exchange:
            yield exchange

    def run(
        self,
        function: "Callable[[Exchange], Result]",
        timeout: float | None = None,
        *,
        wait: bool = True,
        idempotent: bool = False,
    ) -> "Result":
        """Call a function with an `Exchange` and return what it returns; once more where that does no harm.

        :param function: sends the request and reads the reply.
        :param timeout: as for `exchange`, over all of it.
        :param wait: as for `exchange`.
        :param idempotent: whether the request may be sent twice. Then it is sent again on a new connection, as often as
            ``retry`` allows, where the connection was lost before a single byte of the reply came. Only where the
            platform counts them: on Linux and macOS.
        :raises OSError: and all others: as `exchange`, and what the function raises.
        """
        deadline = _deadline(timeout)
        sendings = 0
        while True:
            exchange = None
            try:
                with self._exchange(deadline, wait=wait, counts=idempotent) as exchange:
                    return function(exchange)
            except OSError as error:
                sendings += 1
                if exchange is None or exchange.may_have_reply or (deadline is not None and monotonic() >= deadline):
                    raise
                if not self._line.reconnection.resends(sendings, error):
                    raise

    def close(self) -> None:
        """Close for good: an idle connection in order; an exchange under way reads the end of the stream."""
        self._line.is_closed = True
        self._line.end_pause()
        if not self._close_idle():
            self._line.close(is_idle=False)

    def _close_idle(self) -> bool:
        turn = self._line.turn
        if self._line.has_turn() or not turn.acquire(blocking=False):
            return False
        self._line.close(is_idle=True)
        turn.release()
        return True

    @contextmanager
    def _exchange(self, deadline: float | None, *, wait: bool, counts: bool = False) -> "Iterator[Exchange]":
        line = self._line
        line.check_open()
        if line.has_turn() and line.exchange is not None:
            raise RuntimeError("this thread has an exchange already")
        turn = line.turn
        try:
            # An interrupt may come between any two steps: so the lock itself knows whose turn it is.
            self._take_turn(turn, deadline, wait=wait)
            exchange = Exchange(line, self._connected(deadline), deadline, counts=counts)
            try:
                yield exchange
            except BaseException as error:
                exchange.over(error)
                raise
            exchange.over(None)
        finally:
            with suppress(RuntimeError):  # there was no turn
                turn.release()
            if line.is_closed:  # meanwhile: close() has left it to us
                self._close_idle()

    def _take_turn(self, turn: "Turn", deadline: float | None, *, wait: bool) -> None:
        if self._line.has_turn():
            return  # left over from an exchange whose end was interrupted
        seconds = -1.0 if deadline is None else min(max(deadline - monotonic(), 0.0), threading.TIMEOUT_MAX)
        if turn.acquire(timeout=seconds) if wait else turn.acquire(blocking=False):
            return
        if not wait:
            raise BlockingIOError(errno.EAGAIN, "another exchange is under way")
        late = TimeoutError("timed out")
        late.add_note("another exchange was under way all the time")
        try:
            raise late
        finally:
            del late  # its traceback holds this frame: a cycle

    def _connected(self, deadline: float | None) -> "socket.socket":
        line = self._line
        line.check_open()
        sock: socket.socket | None = line.fit_socket()
        if sock is not None:
            return sock
        line.pause(line.seconds_to_wait(_left(deadline)))
        line.check_open()
        within = () if deadline is None else (_left(deadline),)  # else the connector has a timeout of its own
        connector: Any = line.connector
        try:
            line.begin(connector.connect(line.address, *within))
            return self._prepared(deadline)
        except (OSError, ExceptionGroup) as error:
            line.failed(error, connecting=True)
            raise
        except BaseException:
            line.reset()
            raise

    def _prepared(self, deadline: float | None) -> "socket.socket":
        line = self._line
        prepared: socket.socket | None = None
        if line.on_connect is not None:
            sock = line.socket()
            sock.settimeout(_left(deadline))
            prepared = line.on_connect(sock)
            _left(deadline)
        ready: socket.socket = line.ready(prepared)
        return ready

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._line.address!r}{self._line.state()}>"


class _Line(Line):
    """One that threads take turns at."""

    def __init__(self, *address: "Any", **settings: "Any") -> None:
        super().__init__(*address, **settings)
        self._renew()

    def _renew(self) -> None:
        self.turn = threading.RLock()
        self._gate = threading.Lock()  # held until close()
        self._gate.acquire()

    def has_turn(self) -> bool:
        """Whether this thread has its turn."""
        return bool(self.turn._is_owned())  # type: ignore[attr-defined]  # noqa: SLF001 - as threading.Condition does

    def pause(self, seconds: float) -> None:
        """Wait, unless `close` is called."""
        # Not an Event: an interrupt inside of its wait() may leave the lock in it held.
        if seconds and self._gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            self._gate.release()

    def end_pause(self) -> None:
        """Let nobody wait any more."""
        with suppress(RuntimeError):  # released already
            self._gate.release()

    def forked(self) -> None:
        self._renew()
        super().forked()


def _deadline(timeout: float | None) -> float | None:
    check_seconds("timeout", timeout)
    return None if timeout is None or timeout > LONGEST else monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    """How many seconds are left.

    :raises TimeoutError: none.
    """
    if deadline is None:
        return None
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left

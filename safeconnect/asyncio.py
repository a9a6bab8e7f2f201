"""The asyncio driver: `create_connection`, `open_connection`, `connect_transport` and `simultaneous_open`.

The same connect as the blocking one: never to itself, addresses raced, one deadline over all, errors with notes. It
works on any event loop (uvloop too), starts no task, and looks names up in daemon threads of its own, so that neither
the loop nor its shutdown ever waits for a resolver.

Fairness: a connect that is done at once, as on loopback, does not go through the event loop; every 8th of them lets the
other tasks have their turn. Streams and transports go through it in any case, when they are made.
"""

import asyncio
import select
import socket
from contextlib import suppress

from ._net import kernel, resolve
from ._net.attempt import at_once
from ._race import Race
from ._trace import is_logged
from .settings import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Any, TypeVar

    from typing_extensions import Unpack

    from ._core.messages import Candidate
    from .settings import AsyncKeywords, Settings

    Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)

# Read now what the first connect needs to know: it is in files, and a loop is not to wait for files.
kernel.source_ports()

__all__ = ["connect_transport", "create_connection", "open_connection", "simultaneous_open"]

# The limit of asyncio's own open_connection(): bytes that a StreamReader buffers.
_LIMIT = 2**16
# A connect on loopback takes about 20 us, a turn through the event loop about 8: another task waits 0.2 ms as a rule.
_TURNS = 8
# How often a loop that cannot watch sockets looks at them: at most 10 ms late.
_POLL_SECONDS = 0.01

# What asyncio's own loops define for create_connection() to call. It is not documented, hence a second way without.
_make_transport: "Any" = getattr(asyncio.SelectorEventLoop, "_make_socket_transport", None)

_at_once = 0


async def create_connection(
    address: "tuple[Any, ...]",
    timeout: float | None = None,
    **settings: "Unpack[AsyncKeywords]",
) -> socket.socket:
    """Connect to a TCP address and return the socket: connected, non-blocking, and never connected to itself.

    :param address: as for `safeconnect.create_connection`: ``(host, port)``, or the four parts of an IPv6 address.
    :param timeout: seconds for the whole call: names, addresses, pauses, retries. None, the default: no limit but the
        kernel's (about two minutes for each address on Linux).
    :param settings: those of a `safeconnect.Connector`, by keyword (``source_address``, ``retry``, ``options``, ...);
        or ``connector``, one that has them all. A ``resolver`` is called in a thread.
    :raises ConnectionRefusedError: nobody listens there. `safeconnect.SelfConnectError`, a subclass, where the only
        connection to be had was to the socket itself.
    :raises TimeoutError: no answer in time.
    :raises safeconnect.PortsExhaustedError: every source port toward the address is taken.
    :raises socket.gaierror: the name could not be looked up.
    :raises OSError: anything else that the kernel says. Notes on the error tell what was tried.
    :raises ValueError: the address has a wrong length, its port is not 0-65535, or a time is negative.
    :raises TypeError: an argument of a wrong type.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         with await create_connection(server.getsockname(), timeout=5) as sock:
    ...             return sock.getpeername() == server.getsockname()
    >>> asyncio.run(main())
    True
    """
    plan, limit = chosen(timeout, settings)
    return await connect(plan, address, limit)


async def connect_transport(
    protocol_factory: "Callable[[], Protocol]",
    address: "tuple[Any, ...]",
    timeout: float | None = None,
    *,
    ssl: "ssl_module.SSLContext | bool | None" = None,
    server_hostname: str | None = None,
    **settings: "Unpack[AsyncKeywords]",
) -> "tuple[asyncio.Transport, Protocol]":
    """Connect and return ``(transport, protocol)``, as ``loop.create_connection()`` does.

    :param protocol_factory: called without arguments once there is a connection.
    :param address: as for `create_connection`.
    :param timeout: seconds for all of it, the TLS handshake included. None: no limit but the kernel's, and asyncio's
        60 s for a handshake.
    :param ssl: a context for TLS, or True for the default one.
    :param server_hostname: the name that the certificate must bear; left out, the host of ``address``.
    :param settings: as for `create_connection`.
    :raises ssl.SSLError: the handshake failed; `ssl.SSLCertVerificationError` where the certificate is not accepted.
    :raises ValueError: ``server_hostname`` without ``ssl``; or as `create_connection`.
    :raises OSError: as `create_connection`; `TimeoutError` also for a handshake that is not done in time.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         transport, protocol = await connect_transport(asyncio.Protocol, server.getsockname(), timeout=5)
    ...         transport.close()
    ...         return transport.get_extra_info("peername") == server.getsockname()
    >>> asyncio.run(main())
    True
    """
    if server_hostname is not None and not ssl:
        raise ValueError("server_hostname is only meaningful with ssl")
    if ssl:
        server_hostname = _host_of(address) if server_hostname is None else server_hostname
        _check_tls(ssl, server_hostname)
    plan, limit = chosen(timeout, settings)
    loop = asyncio.get_running_loop()
    deadline = None if limit is None else loop.time() + limit
    sock = await _for_transport(plan, address, limit)
    try:
        protocol = protocol_factory()
    except BaseException:
        sock.close()
        raise
    # From here on the loop owns the socket, and closes it whatever happens.
    if not ssl:
        return await _transport(loop, sock, protocol), protocol
    scope = asyncio.timeout_at(deadline)
    try:
        async with scope:
            return await loop.create_connection(lambda: protocol, sock=sock, ssl=ssl, server_hostname=server_hostname)
    except TimeoutError as error:
        if not scope.expired():
            raise  # the kernel's ETIMEDOUT
        late = TimeoutError("timed out")
        late.add_note(f"during the TLS handshake with {address[0]!r}, port {address[1]!r}")
        raise late from error


async def open_connection(
    address: "tuple[Any, ...]",
    timeout: float | None = None,
    *,
    ssl: "ssl_module.SSLContext | bool | None" = None,
    server_hostname: str | None = None,
    limit: int = _LIMIT,
    **settings: "Unpack[AsyncKeywords]",
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and return ``(reader, writer)``, as `asyncio.open_connection` does.

    :param limit: bytes that the reader buffers before it makes the peer wait (64 KiB).

    Everything else is as for `connect_transport`.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         reader, writer = await open_connection(server.getsockname(), timeout=5)
    ...         writer.close()
    ...         await writer.wait_closed()
    >>> asyncio.run(main())
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    if ssl or server_hostname is not None:
        transport, _ = await connect_transport(
            lambda: protocol, address, timeout, ssl=ssl, server_hostname=server_hostname, **settings
        )
    else:  # the same, a twentieth faster
        plan, seconds = chosen(timeout, settings)
        transport = await _transport(loop, await _for_transport(plan, address, seconds), protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def simultaneous_open(
    local: "tuple[Any, ...]",
    peer: "tuple[Any, ...]",
    *,
    timeout: float | None,
    at: "datetime | float | None" = None,
    interval: float = 0.05,
    allow_self_connect: bool = False,
) -> socket.socket:
    """Connect to a peer that connects to us: `safeconnect.simultaneous_open`, which see; the socket is non-blocking.

    :raises OSError: and all the others: as there.

    >>> async def main():
    ...     a, b = ("127.0.0.1", 20803), ("127.0.0.1", 20804)
    ...     both = await asyncio.gather(simultaneous_open(a, b, timeout=5), simultaneous_open(b, a, timeout=5))
    ...     for sock in both:
    ...         sock.close()
    >>> asyncio.run(main())
    """
    from .rendezvous import Sides  # few need it, and it brings more modules along

    loop = asyncio.get_running_loop()
    sides = Sides(local, peer, timeout, allow_self_connect=allow_self_connect)
    waits = sides.tries(at, interval, loop.time)
    try:
        while True:
            sock, seconds = next(waits)
            if sock is None:
                await asyncio.sleep(seconds or 0)
            else:
                await _wait_for_writable(loop, sock, seconds)
    except StopIteration as end:
        winner: socket.socket = end.value
        return winner
    finally:
        waits.close()


async def _wait_for_writable(loop: asyncio.AbstractEventLoop, sock: socket.socket, seconds: float | None) -> None:
    """Until the socket is writable, or so long; where the loop cannot watch sockets, a little while."""
    writable = asyncio.Event()
    try:
        loop.add_writer(sock, writable.set)
    except NotImplementedError:
        await asyncio.sleep(_POLL_SECONDS)
        return
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await writable.wait()
    finally:
        loop.remove_writer(sock)


async def _for_transport(plan: "Settings", address: "tuple[Any, ...]", limit: float | None) -> socket.socket:
    """Connect for a transport, whose making lets other tasks have their turn: only an error has to."""
    try:
        return await connect(plan, address, limit, gives_way=False)
    except OSError:
        await asyncio.sleep(0)
        raise


async def _transport(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.BaseProtocol
) -> asyncio.Transport:
    """Give a connected socket and its protocol to the loop, which owns the socket from here on."""
    if type(loop) is not asyncio.SelectorEventLoop or _make_transport is None:
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return transport
    # create_connection() calls the same, and waits a second turn of the loop to learn that the first is over: a tenth
    # of the time that open_connection() takes.
    try:
        made: asyncio.Transport = _make_transport(loop, sock, protocol)
    except BaseException:
        sock.close()
        raise
    try:
        await asyncio.sleep(0)  # the turn that calls protocol.connection_made(), and then begins to read
    except BaseException:
        made.close()
        raise
    return made


def _check_tls(ssl: "ssl_module.SSLContext | bool", server_hostname: str) -> None:
    """Let what is wrong with them be an error before there is a socket, which asyncio would leave open.

    :raises TypeError: ``ssl`` is no context.
    :raises ValueError: the name is none that TLS can send.
    :raises ssl.SSLError: the context is a server's.
    """
    from ssl import PROTOCOL_TLS_CLIENT, MemoryBIO, SSLContext  # only for those who use it

    if ssl is not True and not isinstance(ssl, SSLContext):
        raise TypeError(f"ssl must be an SSLContext or True, not {type(ssl).__name__}")
    context = SSLContext(PROTOCOL_TLS_CLIENT) if ssl is True else ssl
    context.wrap_bio(MemoryBIO(), MemoryBIO(), server_hostname=server_hostname)


def _host_of(address: "tuple[Any, ...]") -> str:
    host = address[0]
    if isinstance(host, bytes):
        return host.decode("idna")
    if not isinstance(host, str):
        raise ValueError(f"server_hostname must be given with ssl where the host is {host!r}")  # noqa: TRY004
    return host


async def connect(
    plan: "Settings",
    address: "tuple[Any, ...]",
    limit: float | None,
    candidates: "Sequence[Candidate]" = (),
    *,
    gives_way: bool = True,
) -> socket.socket:
    """Connect by checked settings; the socket is non-blocking.

    :param candidates: what the host has been looked up to already, by someone else.
    :param gives_way: let other tasks have a turn every now and then.
    """
    global _at_once
    loop = asyncio.get_running_loop()
    began = loop.time()
    if not candidates and not plan.resolver:
        candidates = resolve.literal(address)
    first: socket.socket | OSError | None = None
    if candidates:
        _at_once += gives_way
        if gives_way and _at_once % _TURNS == 0:
            await asyncio.sleep(0)  # here, where a cancellation finds nothing to clean up
        if not plan.needs_dial and not is_logged():
            first, is_kept = at_once(plan, candidates[0])
            if is_kept and isinstance(first, socket.socket):
                return first
    race = _AsyncioRace(plan, address, limit, candidates, clock=loop.time, began=began)
    race.first, first = first, None
    try:
        return await race.run(loop)
    finally:
        race.close()


class _AsyncioRace(Race):
    """A dial whose sockets the event loop watches, by callbacks: there is no task to be cancelled."""

    _loop: asyncio.AbstractEventLoop
    _woken: "asyncio.Future[None] | None" = None

    async def run(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        self._loop = loop
        self._watched: dict[int, asyncio.TimerHandle | None] = {}
        while (winner := self.step()) is None:
            await self._wait()
        return winner

    def watch(self, number: int, sock: socket.socket) -> None:
        try:
            self._loop.add_writer(sock, self._writable, number, sock)
        except NotImplementedError:  # Windows' ProactorEventLoop
            self._look(number, sock)
        else:
            self._watched[number] = None

    def unwatch(self, number: int, sock: socket.socket) -> None:
        if number not in self._watched:
            return
        timer = self._watched.pop(number)
        if timer is None:
            self._loop.remove_writer(sock)
        else:
            timer.cancel()

    def ring(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    def _writable(self, number: int, sock: socket.socket) -> None:
        self.unwatch(number, sock)
        self.finish(number)
        self._wake()

    def _look(self, number: int, sock: socket.socket) -> None:
        _, writable, failed = select.select((), (sock,), (sock,), 0)
        if writable or failed:
            self._writable(number, sock)
        else:
            self._watched[number] = self._loop.call_later(_POLL_SECONDS, self._look, number, sock)

    async def _wait(self) -> None:
        self._woken = woken = self._loop.create_future()
        seconds = self.seconds_left()
        timer = None if seconds is None else self._loop.call_later(seconds, self._wake)
        try:
            await woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

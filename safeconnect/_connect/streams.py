"""Connections as asyncio's streams and transports: `open_connection` and `connect_transport`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ssl import SSLContext  # a parameter has the module's name
from types import coroutine
from typing import TypeVar

from .._lazy import typing as t
from . import connect_error
from .asyncio import AsyncioRace
from .at_once import begin
from .keywords import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from ..typing import Candidate
    from .settings import Settings

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)

# The limit of asyncio's own open_connection(): bytes that a StreamReader buffers.
_LIMIT = 2**16
# What asyncio's own loops define for create_connection() to call. It is not documented, hence a second way without.
_make_transport: Any = getattr(asyncio.SelectorEventLoop, "_make_socket_transport", None)
_OWN_LOOP = None if _make_transport is None else asyncio.SelectorEventLoop


async def connect_transport(
    protocol_factory: Callable[[], Protocol],
    address: t.Address,
    timeout: float | None = None,
    *,
    ssl: SSLContext | bool | None = None,
    server_hostname: str | None = None,
    **settings: t.Unpack[t.AsyncKeywords],
) -> tuple[asyncio.Transport, Protocol]:
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
        check_tls(ssl, server_hostname)
    checked, timeout = chosen(timeout, settings, "connect_transport", ("ssl", "server_hostname"))
    loop = asyncio.get_running_loop()
    if not ssl:
        return await transport_to(protocol_factory, checked, address, timeout)
    deadline = None if timeout is None else loop.time() + timeout
    sock = await for_transport(checked, address, timeout)
    protocol = _made(protocol_factory, sock)
    # From here on the loop owns the socket, and closes it whatever happens.
    scope = asyncio.timeout_at(deadline)
    try:
        async with scope:
            return await loop.create_connection(lambda: protocol, sock=sock, ssl=ssl, server_hostname=server_hostname)
    except TimeoutError as error:
        if not scope.expired():
            raise  # the kernel's ETIMEDOUT
        raise connect_error.late_handshake(*address[:2]) from error


async def open_connection(
    address: t.Address,
    timeout: float | None = None,
    *,
    ssl: SSLContext | bool | None = None,
    server_hostname: str | None = None,
    limit: int = _LIMIT,
    **settings: t.Unpack[t.AsyncKeywords],
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
    checked, timeout = chosen(timeout, settings, "open_connection", ("ssl", "server_hostname", "limit"))
    if ssl or server_hostname is not None:
        transport, _ = await connect_transport(
            lambda: protocol, address, timeout, ssl=ssl, server_hostname=server_hostname, connector=checked
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
    transport, _ = await transport_to(lambda: protocol, checked, address, timeout)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def transport_to(
    protocol_factory: Callable[[], Protocol], settings: Settings, address: tuple[Any, ...], timeout: float | None
) -> tuple[asyncio.Transport, Protocol]:
    """Connect by checked settings, and return a transport and its protocol, to which the connection has been made."""
    loop = asyncio.get_running_loop()
    sock = await for_transport(settings, address, timeout)
    protocol = _made(protocol_factory, sock)
    if type(loop) is not _OWN_LOOP:
        return await loop.create_connection(lambda: protocol, sock=sock)
    transport = _transport(loop, sock, protocol)
    try:
        await _turn()
    except BaseException:
        transport.close()
        raise
    return transport, protocol


async def for_transport(
    settings: Settings, address: tuple[Any, ...], timeout: float | None, candidates: Sequence[Candidate] = ()
) -> socket.socket:
    """Connect for a transport. Making that lets other tasks run."""
    loop = asyncio.get_running_loop()
    sock = begin(AsyncioRace, loop.time, settings, address, timeout, candidates=candidates)
    return await _raced(sock, loop) if isinstance(sock, AsyncioRace) else sock


async def _raced(race: AsyncioRace, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Run a race for a transport. An error, too, lets other tasks run."""
    try:
        return await race.result(loop)
    except OSError:
        await asyncio.sleep(0)
        raise


def _transport(loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.BaseProtocol) -> Any:
    """Return a transport of asyncio's own loop, which owns the socket; in its next turn it makes the connection known.

    create_connection() does the same, and then waits for one turn more: a tenth of the time of open_connection().
    """
    try:
        return _make_transport(loop, sock, protocol)
    except BaseException:
        sock.close()
        raise


def _made(protocol_factory: Callable[[], Protocol], sock: socket.socket) -> Protocol:
    """Return the protocol for a socket, which is closed if there is none."""
    try:
        return protocol_factory()
    except BaseException:
        sock.close()
        raise


@coroutine
def _turn() -> Generator[None]:
    """Let the loop have one turn: `asyncio.sleep(0)`, without a coroutine around it."""
    yield


def check_tls(ssl: SSLContext | bool, server_hostname: str) -> None:
    """Check both before there is a socket, which asyncio would leave open.

    :raises TypeError: ``ssl`` is no context.
    :raises ValueError: the name is none that TLS can send.
    :raises ssl.SSLError: the context is a server's.
    """
    from ssl import PROTOCOL_TLS_CLIENT, MemoryBIO, SSLContext  # only for those who use it

    if ssl is not True and not isinstance(ssl, SSLContext):
        raise TypeError(f"ssl must be an SSLContext or True, not {type(ssl).__name__}")
    context = SSLContext(PROTOCOL_TLS_CLIENT) if ssl is True else ssl
    context.wrap_bio(MemoryBIO(), MemoryBIO(), server_hostname=server_hostname)


def _host_of(address: tuple[Any, ...]) -> str:
    host = address[0]
    if isinstance(host, bytes):
        return host.decode("idna")
    if not isinstance(host, str):
        raise ValueError(f"server_hostname must be given with ssl where the host is {host!r}")  # noqa: TRY004
    return host

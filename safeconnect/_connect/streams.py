"""Connections as asyncio's streams and transports: `open_connection` and `connect_transport`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ssl import SSLContext  # a parameter has the module's name
from typing import TypeVar

from .._lazy import typing as t
from . import connect_error
from .asyncio import connect
from .keywords import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import Candidate
    from .settings import Settings

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)

# The limit of asyncio's own open_connection(): bytes that a StreamReader buffers.
_LIMIT = 2**16
# What asyncio's own loops define for create_connection() to call. It is not documented, hence a second way without.
_make_transport: Any = getattr(asyncio.SelectorEventLoop, "_make_socket_transport", None)


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
    deadline = None if timeout is None else loop.time() + timeout
    sock = await for_transport(checked, address, timeout)
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
    else:  # the same, 5 % faster
        transport = await _transport(loop, await for_transport(checked, address, timeout), protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def for_transport(
    settings: Settings, address: tuple[Any, ...], timeout: float | None, candidates: Sequence[Candidate] = ()
) -> socket.socket:
    """Connect for a transport. Making that lets other tasks run, so only an error has to do so here."""
    try:
        return await connect(settings, address, timeout, candidates, gives_way=False)
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
    # create_connection() calls the same, and then waits for another turn of the loop: a tenth of the time that
    # open_connection() takes.
    try:
        made: asyncio.Transport = _make_transport(loop, sock, protocol)
    except BaseException:
        sock.close()
        raise
    try:
        await asyncio.sleep(0)  # the loop calls protocol.connection_made() and begins to read
    except BaseException:
        made.close()
        raise
    return made


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

"""The connect for anyio, on both of its backends: `connect_tcp`."""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress
from functools import lru_cache

from ._connect import connect_error
from ._connect.keywords import chosen
from ._fork import imports
from ._lazy import typing as t

try:
    import anyio
    import anyio.abc
    from anyio.streams.tls import TLSStream
except ImportError as _error:
    raise ImportError("safeconnect.anyio needs anyio >= 4.10: pip install 'safeconnect[anyio]'") from _error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ._connect.settings import Settings

__all__ = ["connect_tcp"]

# The keywords that are not settings.
_OWN = ("local_host", "tls", "ssl_context", "tls_standard_compatible", "tls_hostname")


async def connect_tcp(
    remote_host: str,
    remote_port: int,
    *,
    local_host: str | None = None,
    tls: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    tls_standard_compatible: bool = True,
    tls_hostname: str | None = None,
    timeout: float | None = None,
    **settings: t.Unpack[t.AsyncKeywords],
) -> anyio.abc.SocketStream | TLSStream:
    """Connect and return anyio's own stream; a replacement for `anyio.connect_tcp`, with its arguments.

    :param timeout: seconds for everything, the TLS handshake included. None: no limit but the kernel's.
    :param settings: as for `safeconnect.asyncio.create_connection`; ``happy_eyeballs_delay`` (0.25 s) is anyio's, too.
    :raises OSError: as `safeconnect.asyncio.create_connection`: the error itself, not one that wraps a group.
    :raises ssl.SSLError: the handshake failed.

    >>> import socket
    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         async with await connect_tcp(*server.getsockname(), timeout=5) as stream:
    ...             return stream.extra(anyio.abc.SocketAttribute.remote_port) == server.getsockname()[1]
    >>> anyio.run(main)
    True
    """
    if local_host is not None:
        settings["source_address"] = (str(local_host), 0)
    connector, timeout = chosen(timeout, settings, "connect_tcp", _OWN)
    deadline = None if timeout is None else anyio.current_time() + timeout
    stream = await _connect(connector, (str(remote_host), remote_port), timeout)
    if not (tls or tls_hostname or ssl_context):
        return stream
    scope = anyio.move_on_after(None if deadline is None else deadline - anyio.current_time())
    try:
        with scope:
            return await TLSStream.wrap(
                stream,
                server_side=False,
                hostname=tls_hostname or str(remote_host),
                ssl_context=ssl_context,
                standard_compatible=tls_standard_compatible,
            )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    await anyio.aclose_forcefully(stream)
    raise connect_error.late_handshake(remote_host, remote_port)


async def _connect(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> anyio.abc.SocketStream:
    trio = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_task():
        return await _on_asyncio()(settings, address, timeout)
    with imports.lock:
        from ._connect.trio import connect as connect_on_trio

    sock = await connect_on_trio(settings, address, timeout)
    try:
        with suppress(OSError):  # macOS: the peer has reset the connection
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as anyio.connect_tcp() does
        return await anyio.abc.SocketStream.from_socket(sock)
    except BaseException:
        sock.close()
        raise


@lru_cache(maxsize=1)
def _on_asyncio() -> Callable[..., Awaitable[anyio.abc.SocketStream]]:
    """Return the connect for asyncio's loops, which trio does without."""
    with imports.lock:
        from ._connect.anyio_streams import connect

    return connect

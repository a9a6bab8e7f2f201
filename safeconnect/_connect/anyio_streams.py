"""anyio's streams on asyncio, made as `anyio.connect_tcp` makes them.

Its public way from a socket to a stream checks again what is known here. It also leaves the stream reading from the
start: what the peer sends before the first ``receive()`` would be read into memory, however much that is.
"""

from __future__ import annotations

import asyncio

import anyio.abc

from .streams import for_transport, transport_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .settings import Settings

_Protocol: Any
_Stream: Any
try:  # neither is public, hence a second way without
    from anyio._backends._asyncio import SocketStream as _Stream
    from anyio._backends._asyncio import StreamProtocol as _Protocol
except ImportError:
    _Stream = None
    _Protocol = asyncio.Protocol


class _Paused(_Protocol):  # type: ignore[misc]
    """anyio's protocol, which reads nothing until it is asked to."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.pause_reading()  # here the loop has not begun to watch the socket, and need not


async def connect(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> anyio.abc.SocketStream:
    """Connect by checked settings and return anyio's stream."""
    if _Stream is None:
        return await anyio.abc.SocketStream.from_socket(await for_transport(settings, address, timeout))
    transport, protocol = await transport_to(_Paused, settings, address, timeout)
    transport.pause_reading()  # again, for loops that do not heed it before they read
    stream: anyio.abc.SocketStream = _Stream(transport, protocol)
    return stream

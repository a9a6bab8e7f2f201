"""httpcore's asynchronous half with safe connects: a network backend for its pools, on asyncio and trio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import _common

with _common.needed(__name__, "httpcore[asyncio]", "1"):
    import httpcore

    # httpcore has no public name for the stream around anyio's; AnyIOBackend is a stub in it where anyio is missing.
    from httpcore._backends.anyio import AnyIOBackend, AnyIOStream

from ..anyio import connect_tcp
from .httpcore import _Backend


class AsyncBackend(_Backend, AnyIOBackend):
    """`httpcore.AnyIOBackend` with the connects of `SyncBackend`; arguments and errors likewise.

    It works on asyncio and on trio, and needs anyio on both.

    >>> import asyncio
    >>> async def main():
    ...     async with httpcore.AsyncConnectionPool(network_backend=AsyncBackend()) as pool:
    ...         return pool.connections
    >>> asyncio.run(main())
    []
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; called by httpcore. Arguments and errors are those of `SyncBackend.connect_tcp`."""
        connector = self._combined(local_address, socket_options)
        try:
            stream = await connect_tcp(host, port, timeout=timeout, connector=connector)
        except OSError as error:
            raise self._failure(error) from error
        return AnyIOStream(stream)

"""httpx's asynchronous half with safe connects: a transport for its clients, on asyncio and trio."""

from __future__ import annotations

from typing import Any

from . import _common

with _common.needed(__name__, "httpx", "0.25.1"):
    import httpx

from .._connect.blocking import Connector
from .httpcore_async import AsyncBackend
from .httpx import _use_backend


class AsyncHTTPTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` with the connects of `HTTPTransport`, on asyncio and on trio.

    Arguments, ``connector`` included, and errors are as there.

    >>> import asyncio
    >>> async def main():
    ...     async with httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=5) as client:
    ...         return client.is_closed
    >>> asyncio.run(main())
    False
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        backend = AsyncBackend(connector)
        super().__init__(*arguments, **keywords)
        _use_backend(self._pool, backend)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; called by httpx."""
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            _common.with_notes(error, error.__cause__)
            raise

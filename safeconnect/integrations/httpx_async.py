"""httpx's asynchronous half with safe connects: a transport for its clients, on asyncio and trio."""

from __future__ import annotations

from typing import Any

from . import _joint

try:
    import httpx
except ImportError as error:
    raise _joint.missing(__name__, "httpx", "0.25") from error

from .._connect.blocking import Connector
from .httpcore_async import AsyncBackend


class AsyncHTTPTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` whose connects never meet themselves, race addresses and keep their deadline.

    It serves on asyncio and on trio. Connects to proxies are safe, too, SOCKS included. A client that is given a
    transport makes none of its own for ``proxy``, ``verify`` and the like: pass these here.

    :param connector: a `Connector`, for what httpx has no word for: ``retry``, ``memory``. Its timeout holds for the
        connect where the request has none. None: a plain one.
    :raises TypeError: the connector is no `Connector`.
    :raises RuntimeError: this httpx keeps its network backend elsewhere; use its own transport.

    Every other argument is that of httpx, as are the errors: ``ConnectTimeout``, and ``ConnectError`` for all others,
    with the notes of `create_connection`.

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
        # httpx has no argument for it; pools look it up for every new connection, those for proxies as well.
        if not hasattr(self._pool, "_network_backend"):
            raise RuntimeError(f"httpx {httpx.__version__} keeps its network backend elsewhere")
        self._pool._network_backend = backend  # noqa: SLF001

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; called by httpx."""
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            if error.__cause__ is not None:
                _joint.told(error, error.__cause__)
            raise

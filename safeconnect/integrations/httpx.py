"""httpx with safe connects: a transport for its clients."""

from __future__ import annotations

from typing import Any

from . import _common

with _common.needed(__name__, "httpx", "0.25.1"):
    import httpx

from .._connect.blocking import Connector
from .httpcore import SyncBackend


class HTTPTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` whose connects never connect to themselves, race addresses and keep one deadline.

    Connects to proxies are safe, too, SOCKS included. A client that is given a transport makes none of its own for
    ``proxy``, ``verify`` and the like: pass these here.

    :param connector: a `Connector`, for settings that httpx lacks: ``retry``, ``memory``. Its timeout applies to the
        connect if the request has none. None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.
    :raises RuntimeError: this version of httpx keeps its network backend elsewhere; use its own transport.

    Every other argument is that of httpx, as are the errors: ``ConnectTimeout``, and ``ConnectError`` for all others,
    with the notes of `create_connection`.

    >>> with httpx.Client(transport=HTTPTransport(), timeout=5) as client:
    ...     client.is_closed
    False
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        backend = SyncBackend(connector)
        super().__init__(*arguments, **keywords)
        _use_backend(self._pool, backend)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; called by httpx."""
        try:
            return super().handle_request(request)
        except httpx.TransportError as error:
            _common.with_notes(error, error.__cause__)
            raise


def _use_backend(pool: Any, backend: object) -> None:
    # httpx has no argument for it. Pools look the attribute up for every new connection, also those for proxies.
    if not hasattr(pool, "_network_backend"):
        raise RuntimeError(f"httpx {httpx.__version__} keeps its network backend elsewhere")
    pool._network_backend = backend  # noqa: SLF001

"""httpx with safe connects: a transport for its clients."""

from __future__ import annotations

from typing import Any

from . import _joint

try:
    import httpx
except ImportError as error:
    raise _joint.missing(__name__, "httpx", "0.25.1") from error

from .._connect.blocking import Connector
from .httpcore import SyncBackend


class HTTPTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` whose connects never meet themselves, race addresses and keep their deadline.

    Connects to proxies are safe, too, SOCKS included. A client that is given a transport makes none of its own for
    ``proxy``, ``verify`` and the like: pass these here.

    :param connector: a `Connector`, for what httpx has no word for: ``retry``, ``memory``. Its timeout holds for the
        connect where the request has none. None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    Every other argument is that of httpx, as are the errors: ``ConnectTimeout``, and ``ConnectError`` for all others,
    with the notes of `create_connection`.

    >>> with httpx.Client(transport=HTTPTransport(), timeout=5) as client:
    ...     client.is_closed
    False
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        backend = SyncBackend(connector)
        super().__init__(*arguments, **keywords)
        # httpx has no argument for it; pools look it up for every new connection, those for proxies as well.
        self._pool._network_backend = backend  # noqa: SLF001

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; called by httpx."""
        try:
            return super().handle_request(request)
        except httpx.TransportError as error:
            if error.__cause__ is not None:
                _joint.told(error, error.__cause__)
            raise

"""The standard library's HTTP with safe connects: http.client, urllib.request, xmlrpc.client.

For programs that make their connections themselves and want no patch of the whole process (`install`, `patched`). Each
class is the standard one of its name with one more keyword, ``connector``: a `Connector`, for ``retry``, ``memory``,
``options``. Its timeout holds for the connect where the client has none.
"""

from __future__ import annotations

import http.client
import urllib.request
import xmlrpc.client
from functools import partial
from typing import Any, TypeVar

from .._connect.blocking import Connector
from . import _joint

_AnyConnection = TypeVar("_AnyConnection", bound=http.client.HTTPConnection)


def _join(client: _AnyConnection, connector: Connector) -> _AnyConnection:
    """Have a connection that is not made yet made by the connector."""
    client._create_connection = partial(_joint.connect, connector)  # type: ignore[attr-defined]  # noqa: SLF001 - http.client's own hook
    return client


class HTTPConnection(http.client.HTTPConnection):
    """`http.client.HTTPConnection` that never connects to itself, races addresses and keeps its deadline.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    Every other argument is the standard one's. ``timeout`` is a deadline for names and all addresses together. The
    errors are those of `create_connection`.

    >>> HTTPConnection("127.0.0.1", 8080, timeout=5).timeout
    5
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _join(self, _joint.checked(connector))


class HTTPSConnection(HTTPConnection, http.client.HTTPSConnection):
    """`http.client.HTTPSConnection` with the connect of `HTTPConnection`; arguments and errors likewise."""


class _Handler(urllib.request.AbstractHTTPHandler):
    connection_class: type[HTTPConnection]

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connector = _joint.checked(connector)

    def do_open(self, http_class: Any, req: urllib.request.Request, **keywords: Any) -> http.client.HTTPResponse:
        """Open a URL; called by `http_open` and `https_open` with the standard class."""
        del http_class
        return super().do_open(self.connection_class, req, connector=self.connector, **keywords)


class HTTPHandler(_Handler, urllib.request.HTTPHandler):
    """`urllib.request.HTTPHandler` with safe connects, also to proxies.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    As ever, openers raise ``URLError`` with the error of the connect as its ``reason``.

    >>> opener = urllib.request.build_opener(HTTPHandler(), HTTPSHandler())
    """

    connection_class = HTTPConnection


class HTTPSHandler(_Handler, urllib.request.HTTPSHandler):
    """`urllib.request.HTTPSHandler` with safe connects; arguments and errors as for `HTTPHandler`."""

    connection_class = HTTPSConnection


class Transport(xmlrpc.client.Transport):
    """`xmlrpc.client.Transport` with safe connects; its errors are those of `create_connection`.

    It has no timeout of its own: give the connector one.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    >>> server = xmlrpc.client.ServerProxy("http://127.0.0.1:8000", transport=Transport())
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connector = _joint.checked(connector)

    def make_connection(self, host: Any) -> Any:
        """The connection to a host, a kept one or a new one that is not connected yet; called by ``request``."""
        return _join(super().make_connection(host), self.connector)


class SafeTransport(Transport, xmlrpc.client.SafeTransport):
    """`xmlrpc.client.SafeTransport`, the one for https, with safe connects; arguments and errors as for `Transport`."""

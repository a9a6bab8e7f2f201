"""The standard library's HTTP with safe connects: http.client, urllib.request, xmlrpc.client.

For programs that make their own connections and do not want to patch the whole process (`install`, `patched`). Each
class is the standard one of its name with one more keyword, ``connector``: a `Connector`, for ``retry``, ``memory``,
``options``. Its timeout applies to the connect if the client has none.
"""

from __future__ import annotations

import http.client
import urllib.request
import xmlrpc.client
from functools import partial
from typing import Any, TypeVar

from .._connect.blocking import Connector
from . import _common

_AnyConnection = TypeVar("_AnyConnection", bound=http.client.HTTPConnection)


def _connecting_by(client: _AnyConnection, connector: Connector) -> _AnyConnection:
    """Make a client that is not connected yet connect by the connector, and return the client."""
    client._create_connection = partial(_common.connect, connector)  # type: ignore[attr-defined]  # noqa: SLF001 - http.client's own hook
    return client


class HTTPConnection(http.client.HTTPConnection):
    """`http.client.HTTPConnection` that never connects to itself, races addresses and keeps one deadline.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    Every other argument is the standard one's. ``timeout`` is a deadline for names and all addresses together. The
    errors are those of `create_connection`.

    >>> HTTPConnection("127.0.0.1", 8080, timeout=5).timeout
    5
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _connecting_by(self, _common.checked(connector))


class HTTPSConnection(HTTPConnection, http.client.HTTPSConnection):
    """`http.client.HTTPSConnection` with the connect of `HTTPConnection`; arguments and errors likewise."""


class _Handler(_common.Client, urllib.request.AbstractHTTPHandler):
    connection_class: type[HTTPConnection]

    def do_open(self, http_class: Any, req: urllib.request.Request, **keywords: Any) -> http.client.HTTPResponse:
        """Open a URL; called by ``http_open`` and ``https_open`` with the standard class."""
        del http_class
        return super().do_open(self.connection_class, req, connector=self.connector, **keywords)


class HTTPHandler(_Handler, urllib.request.HTTPHandler):
    """`urllib.request.HTTPHandler` with safe connects, also to proxies.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    As usual, openers raise ``URLError`` with the error of the connect as its ``reason``.

    >>> opener = urllib.request.build_opener(HTTPHandler(), HTTPSHandler())
    """

    connection_class: type[HTTPConnection] = HTTPConnection


class HTTPSHandler(_Handler, urllib.request.HTTPSHandler):
    """`urllib.request.HTTPSHandler` with safe connects; arguments and errors as for `HTTPHandler`."""

    connection_class: type[HTTPConnection] = HTTPSConnection


class Transport(_common.Client, xmlrpc.client.Transport):
    """`xmlrpc.client.Transport` with safe connects; its errors are those of `create_connection`.

    It has no timeout of its own: set the connector's.

    :param connector: a `Connector`; None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    >>> server = xmlrpc.client.ServerProxy("http://127.0.0.1:8000", transport=Transport())
    """

    def make_connection(self, host: Any) -> Any:
        """Return a connection to the host, a kept one or a new one that is not connected yet; called by ``request``."""
        return _connecting_by(super().make_connection(host), self.connector)


class SafeTransport(Transport, xmlrpc.client.SafeTransport):
    """`xmlrpc.client.SafeTransport`, the one for https, with safe connects; arguments and errors as for `Transport`."""

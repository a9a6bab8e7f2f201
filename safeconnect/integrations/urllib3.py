"""urllib3 (2 and later) with safe connects: connections, pools and managers in place of its own.

They keep all of urllib3: its timeouts, its ``source_address`` and ``socket_options``, its errors, its retries. They
take one more keyword, ``connector``.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from typing import Any

from . import _common

with _common.needed(__name__, "urllib3", "2"):
    import urllib3
    import urllib3.connection
    import urllib3.util.connection
    from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

from .._connect.blocking import Connector


def _connect(
    connector: Connector, address: tuple[str, int], timeout: Any, source_address: Any, socket_options: Any
) -> socket.socket:
    """Connect with the arguments, and the checks of the host, of ``urllib3.util.connection.create_connection``.

    :raises LocationParseError: the host cannot be a name.
    :raises OSError: as `create_connection`.
    """
    host, port = address
    host = host.strip("[]") if host.startswith("[") else host
    try:
        host.encode("idna")
    except UnicodeError:
        raise LocationParseError(f"'{host}', label empty or too long") from None
    # For a tunnel through a proxy the timeout is still urllib3's own mark for "default".
    seconds = urllib3.Timeout.resolve_default_timeout(timeout)
    return _common.connect(
        connector, (host, port), seconds, source_address, options=socket_options, family=_wanted_family()
    )


class HTTPConnection(_common.Client, urllib3.connection.HTTPConnection):
    """`urllib3.connection.HTTPConnection` that never connects to itself, races addresses and keeps one deadline.

    As the first base it does the same for any other connection class derived from urllib3's.

    :param connector: a `Connector`, for settings that urllib3 lacks: ``retry``, ``memory``, further ``options``. Its
        timeout applies to the connect if urllib3 has none. None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    Every other argument is urllib3's. If the connect fails, the error is urllib3's, with the one of
    `create_connection` as its ``__cause__``, and its notes: ``NameResolutionError``, ``ConnectTimeoutError``,
    ``NewConnectionError`` for all others.

    >>> HTTPConnection("127.0.0.1", 8080, timeout=5).timeout
    5
    """

    def _new_conn(self) -> socket.socket:
        # As in urllib3.connection, with another connect.
        try:
            address = (self._dns_host, self.port)
            sock = _connect(self.connector, address, self.timeout, self.source_address, self.socket_options)
        except socket.gaierror as error:
            raise _common.with_notes(NameResolutionError(self.host, self, error), error) from error
        except TimeoutError as error:
            message = f"Connection to {self.host} timed out. (connect timeout={self.timeout})"
            raise _common.with_notes(ConnectTimeoutError(self, message), error) from error
        except OSError as error:
            message = f"Failed to establish a new connection: {error}"
            raise _common.with_notes(NewConnectionError(self, message), error) from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock


def _wanted_family() -> int:
    """Return AF_INET if `allowed_gai_family` has been replaced to return it: the well-known recipe for IPv4 only.

    The original returns it on hosts without IPv6. That needs no filter: an IPv6 address fails at once there.
    """
    return urllib3.util.connection.allowed_gai_family() if urllib3.util.connection.HAS_IPV6 else 0


class HTTPSConnection(HTTPConnection, urllib3.connection.HTTPSConnection):
    """`urllib3.connection.HTTPSConnection` with the connect of `HTTPConnection`; arguments and errors likewise."""


class HTTPConnectionPool(urllib3.HTTPConnectionPool):
    """`urllib3.HTTPConnectionPool` of safe connections.

    :param connector: a `Connector`, by keyword, as for `HTTPConnection`.

    >>> pool = HTTPConnectionPool("127.0.0.1", 8080, timeout=5, connector=Connector())
    """

    ConnectionCls: Any = HTTPConnection  # urllib3's own class does not fit its own protocol either


class HTTPSConnectionPool(urllib3.HTTPSConnectionPool):
    """`urllib3.HTTPSConnectionPool` of safe connections.

    :param connector: a `Connector`, by keyword, as for `HTTPConnection`.
    """

    ConnectionCls: Any = HTTPSConnection


def use_safe_pools(manager: urllib3.PoolManager, connector: Connector | None = None) -> None:
    """Make an existing manager create safe pools from now on; the pools that it already has stay as they are.

    :param manager: a `urllib3.PoolManager` or `urllib3.ProxyManager`, also one inside another library.
    :param connector: a `Connector`, as for `HTTPConnection`.
    :raises TypeError: ``connector`` is not a `Connector`.

    >>> manager = urllib3.PoolManager()
    >>> use_safe_pools(manager)
    >>> isinstance(manager.connection_from_url("http://127.0.0.1:8080"), HTTPConnectionPool)
    True
    """
    connector = _common.checked(connector)
    # Any, because the manager only calls them. Pools pass keywords that they do not know on to their connections.
    pools: Any = {
        "http": partial(HTTPConnectionPool, connector=connector),
        "https": partial(HTTPSConnectionPool, connector=connector),
    }
    manager.pool_classes_by_scheme = pools


class PoolManager(urllib3.PoolManager):
    """`urllib3.PoolManager` of safe pools.

    :param connector: a `Connector`, as for `HTTPConnection`.
    :raises TypeError: ``connector`` is not a `Connector`.

    >>> manager = PoolManager(timeout=5, retries=False)
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        use_safe_pools(self, connector)


class ProxyManager(PoolManager, urllib3.ProxyManager):
    """`urllib3.ProxyManager` of safe pools: the connect to the proxy is the safe one.

    :param connector: a `Connector`, as for `HTTPConnection`.
    :raises TypeError: ``connector`` is not a `Connector`.

    >>> manager = ProxyManager("http://127.0.0.1:3128", timeout=5)
    """

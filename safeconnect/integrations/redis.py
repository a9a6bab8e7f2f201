"""redis-py with safe connects: connection classes for its pools."""

from __future__ import annotations

import socket
from typing import Any

from .._connect.blocking import Connector
from . import _common

with _common.needed(__name__, "redis", "6"):
    import redis.connection


def _connect(connector: Connector, connection: Any) -> socket.socket:
    """Connect for a ``redis.connection.Connection``, as its own ``_connect`` does, with another connect."""
    sock = _common.connect(
        connector,
        (connection.host, connection.port),
        connection.socket_connect_timeout,
        options=_options(connection),
        family=connection.socket_type,  # redis-py passes it to getaddrinfo() as the family
    )
    sock.settimeout(connection.socket_timeout)
    return sock


class Connection(_common.Client, redis.connection.Connection):
    """`redis.connection.Connection` that never connects to itself, races addresses and keeps one deadline.

    :param connector: a `Connector`, for settings that redis-py lacks: ``memory``, ``source_address``, further
        ``options``. Its timeout applies to the connect if redis-py has none. None: a plain one. Note that redis-py
        retries by itself (its ``retry``), with or without a ``retry`` of the connector.
    :raises TypeError: ``connector`` is not a `Connector`.

    Every other argument is redis-py's; pools pass them on. ``socket_connect_timeout`` is a deadline for names and all
    addresses together. The errors are redis-py's: ``redis.TimeoutError``, and ``redis.ConnectionError`` for all others.

    >>> pool = redis.ConnectionPool.from_url("redis://127.0.0.1:6379", connection_class=Connection)
    >>> client = redis.Redis(connection_pool=pool)
    """

    def _connect(self) -> socket.socket:
        return _connect(self.connector, self)


class SSLConnection(redis.connection.SSLConnection, Connection):
    """`redis.connection.SSLConnection` over the connect of `Connection`; arguments and errors likewise.

    With ``ssl_validate_ocsp_stapled`` redis-py makes a second connection of its own, to ask for the stapled answer.
    That one is not safe.

    >>> pool = redis.ConnectionPool.from_url("rediss://127.0.0.1:6380", connection_class=SSLConnection)
    """


def _options(connection: Any) -> list[tuple[int, int, int]]:
    """Return the options that redis-py itself sets on its sockets."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    if connection.socket_keepalive:
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        options += [(socket.IPPROTO_TCP, name, value) for name, value in connection.socket_keepalive_options.items()]
    return options

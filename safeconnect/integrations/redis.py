"""redis-py with safe connects: connection classes for its pools."""

from __future__ import annotations

import socket
from typing import Any

from . import _joint

try:
    import redis.connection
except ImportError as error:
    raise _joint.missing(__name__, "redis", "6") from error

from .._connect.blocking import Connector


class Connection(redis.connection.Connection):
    """`redis.connection.Connection` that never connects to itself, races addresses and keeps its deadline.

    :param connector: a `Connector`, for what redis-py has no word for: ``memory``, ``source_address``, further
        ``options``. Its timeout holds for the connect where redis-py has none. None: a plain one. Mind that redis-py
        tries again by itself (its ``retry``), with or without a ``retry`` of the connector.
    :raises TypeError: the connector is no `Connector`.

    Every other argument is redis-py's; pools hand them on. ``socket_connect_timeout`` is a deadline for names and all
    addresses together. The errors are redis-py's: ``redis.TimeoutError``, and ``redis.ConnectionError`` for all others.

    >>> pool = redis.ConnectionPool.from_url("redis://127.0.0.1:6379", connection_class=Connection)
    >>> client = redis.Redis(connection_pool=pool)
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        self.connector = _joint.checked(connector)
        super().__init__(*arguments, **keywords)  # type: ignore[no-untyped-call]

    def _connect(self) -> socket.socket:
        # As in redis.connection, with another connect.
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if self.socket_keepalive:
            tuning: Any = self.socket_keepalive_options
            options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
            options += [(socket.IPPROTO_TCP, name, value) for name, value in tuning.items()]
        sock = _joint.connect(
            self.connector,
            (self.host, self.port),
            self.socket_connect_timeout,
            options=options,
            family=self.socket_type,  # redis-py passes it to getaddrinfo() as the family
        )
        sock.settimeout(self.socket_timeout)
        return sock


class SSLConnection(redis.connection.SSLConnection, Connection):
    """`redis.connection.SSLConnection` over the connect of `Connection`; arguments and errors likewise.

    With ``ssl_validate_ocsp_stapled`` redis-py makes a second connection of its own, to ask for the stapled answer;
    that one is not a safe one.

    >>> pool = redis.ConnectionPool.from_url("rediss://127.0.0.1:6380", connection_class=SSLConnection)
    """

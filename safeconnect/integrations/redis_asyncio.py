"""redis.asyncio with safe connects: connection classes for its pools."""

from __future__ import annotations

import socket
from typing import Any

from . import _joint

try:
    import redis.asyncio.connection
except ImportError as error:
    raise _joint.missing(__name__, "redis", "5") from error

from .._connect.blocking import Connector
from ..asyncio import open_connection


class Connection(redis.asyncio.connection.Connection):
    """`redis.asyncio.Connection` that never connects to itself, races addresses and keeps its deadline.

    :param connector: a `Connector`, for what redis-py has no word for: ``memory``, ``source_address``, further
        ``options``. Its timeout holds for the connect where redis-py has none. None: a plain one. Mind that redis-py
        tries again by itself (its ``retry``), with or without a ``retry`` of the connector.
    :raises TypeError: the connector is no `Connector`.

    Every other argument is redis-py's; pools hand them on. ``socket_connect_timeout`` is a deadline for names, all
    addresses together and the TLS handshake. Options for keep-alive are set before the connect, so that one that the
    platform refuses costs no connection. The errors are redis-py's: ``redis.TimeoutError``, and
    ``redis.ConnectionError`` for all others, with our error as their context.

    >>> pool = redis.asyncio.ConnectionPool.from_url("redis://127.0.0.1:6379", connection_class=Connection)
    >>> client = redis.asyncio.Redis(connection_pool=pool)
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        self.connector = _joint.checked(connector)
        super().__init__(*arguments, **keywords)

    async def _connect(self) -> None:
        # As in redis.asyncio.connection, with another connect.
        options: list[Any] = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if self.socket_keepalive:
            options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
            keepalive: Any = self.socket_keepalive_options
            options += [(socket.IPPROTO_TCP, name, value) for name, value in keepalive.items()]
        plan = _joint.planned(self.connector, options=options)
        arguments = dict(self._connection_arguments())
        address = (arguments.pop("host"), arguments.pop("port"))
        self._reader, self._writer = await open_connection(
            address, self.socket_connect_timeout, connector=plan, **arguments
        )


class SSLConnection(redis.asyncio.connection.SSLConnection, Connection):
    """`redis.asyncio.SSLConnection` over the connect of `Connection`; arguments and errors likewise.

    >>> pool = redis.asyncio.ConnectionPool.from_url("rediss://127.0.0.1:6380", connection_class=SSLConnection)
    """

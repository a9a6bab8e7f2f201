"""redis.asyncio with safe connects: connection classes for its pools."""

from __future__ import annotations

from . import _common

with _common.needed(__name__, "redis", "6"):
    import redis.asyncio.connection

from ..asyncio import open_connection
from .redis import _options


class Connection(_common.Client, redis.asyncio.connection.Connection):
    """`redis.asyncio.Connection` that never connects to itself, races addresses and keeps one deadline.

    Arguments, ``connector`` included, are as for `safeconnect.integrations.redis.Connection`, and so are the errors,
    which have ours as their context. ``socket_connect_timeout`` includes the TLS handshake. Keepalive options are set
    before the connect, so that one that the platform refuses costs no connection.

    >>> pool = redis.asyncio.ConnectionPool.from_url("redis://127.0.0.1:6379", connection_class=Connection)
    >>> client = redis.asyncio.Redis(connection_pool=pool)
    """

    async def _connect(self) -> None:
        # As in redis.asyncio.connection, with another connect.
        connector = _common.combine(self.connector, options=_options(self))
        arguments = dict(self._connection_arguments())
        address = (arguments.pop("host"), arguments.pop("port"))
        self._reader, self._writer = await open_connection(
            address, self.socket_connect_timeout, connector=connector, **arguments
        )


class SSLConnection(redis.asyncio.connection.SSLConnection, Connection):
    """`redis.asyncio.SSLConnection` over the connect of `Connection`; arguments and errors likewise.

    >>> pool = redis.asyncio.ConnectionPool.from_url("rediss://127.0.0.1:6380", connection_class=SSLConnection)
    """

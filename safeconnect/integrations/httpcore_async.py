"""httpcore's asynchronous half with safe connects: a network backend for its pools, on asyncio and trio."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from . import _joint

try:
    import httpcore

    # httpcore has no public name for the stream around anyio's, and another class by the backend's where anyio lacks.
    from httpcore._backends.anyio import AnyIOBackend, AnyIOStream
except ImportError as error:
    raise _joint.missing(__name__, "httpcore[asyncio]", "1") from error

from .._connect.blocking import Connector
from ..anyio import connect_tcp


class AsyncBackend(AnyIOBackend):
    """`httpcore.AnyIOBackend` whose TCP connects never meet themselves, race addresses and keep their deadline.

    It serves on asyncio and on trio, and needs anyio on both.

    :param connector: a `Connector`, for what httpcore has no word for: ``retry``, ``memory``. Its timeout holds for the
        connect where httpcore has none. None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    >>> import asyncio
    >>> async def main():
    ...     async with httpcore.AsyncConnectionPool(network_backend=AsyncBackend()) as pool:
    ...         return pool.connections
    >>> asyncio.run(main())
    []
    """

    def __init__(self, connector: Connector | None = None) -> None:
        self.connector = _joint.checked(connector)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; called by httpcore.

        :param timeout: seconds for names and all addresses together; None: no limit but the connector's.
        :param local_address: the address to connect from, in the place of the connector's.
        :param socket_options: as for `socket.socket.setsockopt`; set before the connect, and TCP_NODELAY after them.
        :raises httpcore.ConnectTimeout: no answer in time.
        :raises httpcore.ConnectError: anything else, with the error of `create_connection` as its cause, and its notes.
        """
        plan = _joint.planned(
            self.connector,
            options=(*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)),
            source_address=(local_address, 0) if local_address is not None else None,
        )
        try:
            stream = await connect_tcp(host, port, timeout=timeout, connector=plan)
        except TimeoutError as error:
            raise _joint.told(httpcore.ConnectTimeout(error), error) from error
        except OSError as error:
            raise _joint.told(httpcore.ConnectError(error), error) from error
        return AnyIOStream(stream)

"""httpcore with safe connects: a network backend for its pools, and so for everything built on them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from . import _joint

try:
    import httpcore

    # httpcore has no public name for the stream around a connected socket.
    from httpcore._backends.sync import SyncStream
except ImportError as error:
    raise _joint.missing(__name__, "httpcore", "1") from error

from .._connect.blocking import Connector


class SyncBackend(httpcore.SyncBackend):
    """`httpcore.SyncBackend` whose TCP connects never meet themselves, race addresses and keep their deadline.

    :param connector: a `Connector`, for what httpcore has no word for: ``retry``, ``memory``. Its timeout holds for the
        connect where httpcore has none. None: a plain one.
    :raises TypeError: the connector is no `Connector`.

    >>> with httpcore.ConnectionPool(network_backend=SyncBackend()) as pool:
    ...     pool.connections
    []
    """

    def __init__(self, connector: Connector | None = None) -> None:
        self.connector = _joint.checked(connector)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect; called by httpcore.

        :param timeout: seconds for names and all addresses together; None: no limit but the connector's.
        :param local_address: the address to connect from, in the place of the connector's.
        :param socket_options: as for `socket.socket.setsockopt`; set before the connect, and TCP_NODELAY after them.
        :raises httpcore.ConnectTimeout: no answer in time.
        :raises httpcore.ConnectError: anything else, with the error of `create_connection` as its cause, and its notes.
        """
        options = (*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
        source = (local_address, 0) if local_address is not None else None
        try:
            sock = _joint.connect(self.connector, (host, port), timeout, source, options=options)
        except TimeoutError as error:
            raise _joint.told(httpcore.ConnectTimeout(error), error) from error
        except OSError as error:
            raise _joint.told(httpcore.ConnectError(error), error) from error
        return SyncStream(sock)

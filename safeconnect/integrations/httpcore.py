"""httpcore with safe connects: a network backend for its pools, and so for everything built on them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from . import _common

with _common.needed(__name__, "httpcore", "1"):
    import httpcore

    # httpcore has no public name for the stream around a connected socket.
    from httpcore._backends.sync import SyncStream

from .._connect.blocking import Connector


class _Backend:
    """The base of both backends."""

    def __init__(self, connector: Connector | None = None) -> None:
        self.connector: Connector = _common.checked(connector)

    def _combined(self, local_address: str | None, socket_options: Iterable[Any] | None) -> Connector:
        return _common.combine(
            self.connector,
            options=(*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)),
            source_address=(local_address, 0) if local_address is not None else None,
        )

    def _failure(self, error: OSError) -> Exception:
        kind = httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError
        return _common.with_notes(kind(error), error)


class SyncBackend(_Backend, httpcore.SyncBackend):
    """`httpcore.SyncBackend` whose connects never connect to themselves, race addresses and keep one deadline.

    :param connector: a `Connector`, for settings that httpcore lacks: ``retry``, ``memory``. Its timeout applies to the
        connect if httpcore has none. None: a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.

    >>> with httpcore.ConnectionPool(network_backend=SyncBackend()) as pool:
    ...     pool.connections
    []
    """

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
        :param local_address: the address to connect from; replaces the connector's.
        :param socket_options: as for `socket.socket.setsockopt`; set before the connect, followed by TCP_NODELAY.
        :raises httpcore.ConnectTimeout: no answer in time.
        :raises httpcore.ConnectError: anything else, with the error of `create_connection` as its cause, and its notes.
        """
        try:
            sock = _common.connect(self._combined(local_address, socket_options), (host, port), timeout)
        except OSError as error:
            raise self._failure(error) from error
        return SyncStream(sock)

"""PyMySQL with safe connects: a connection class, and `connect`."""

from __future__ import annotations

import socket
import traceback
from typing import Any

from . import _joint

try:
    import pymysql.connections
    from pymysql.constants import CR
except ImportError as error:
    raise _joint.missing(__name__, "PyMySQL", "1") from error

from .._connect.blocking import Connector

_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))


class Connection(pymysql.connections.Connection):
    """`pymysql.connections.Connection` that never connects to itself, races addresses and keeps its deadline.

    Connecting again, by `connect` or ``ping(reconnect=True)``, is just as safe. Unix sockets, and sockets given to
    `connect`, are left to PyMySQL.

    :param connector: a `Connector`, for what PyMySQL has no word for: ``retry``, ``memory``, further ``options``. None:
        a plain one.
    :raises TypeError: the connector is no `Connector`.
    :raises pymysql.err.OperationalError: where the connect fails, with number 2003, the error of `create_connection`
        as its ``__cause__`` and ``original_exception``, and its notes.

    Every other argument is PyMySQL's. ``connect_timeout`` is a deadline for names and all addresses together.

    >>> connection = Connection(host="127.0.0.1", port=3306, user="me", connect_timeout=5, defer_connect=True)
    """

    def __init__(self, *, connector: Connector | None = None, **keywords: Any) -> None:
        self.connector = _joint.checked(connector)
        super().__init__(**keywords)

    def connect(self, sock: Any = None) -> None:
        """Connect and log in.

        :param sock: a connected socket to be used; None: connect one.
        :raises pymysql.err.OperationalError: as for the class; other numbers where the server refuses.
        """
        if sock is None and not self.unix_socket:
            self._closed = False
            sock = self._connected()
            self.host_info = f"socket {self.host}:{self.port}"
        super().connect(sock)

    def _connected(self) -> socket.socket:
        source = (self.bind_address, 0) if self.bind_address is not None else None
        address = (self.host, self.port)
        try:
            return _joint.connect(self.connector, address, self.connect_timeout, source, options=_OPTIONS)
        except BaseException as error:
            # As PyMySQL does it, and in its words.
            self._force_close()  # type: ignore[attr-defined]  # not in its stubs
            if not isinstance(error, OSError):
                raise
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> pymysql.err.OperationalError:
        text = f"Can't connect to MySQL server on {self.host!r} ({error})"
        failure = _joint.told(pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, text), error)
        attributes: Any = failure  # that its stubs do not know
        attributes.original_exception = error
        attributes.traceback = traceback.format_exc()
        return failure


connect = Connection

"""PyMySQL with safe connects: a connection class, and `connect`."""

from __future__ import annotations

import socket
import traceback
from typing import Any

from . import _common

with _common.needed(__name__, "PyMySQL", "1"):
    import pymysql.connections
    from pymysql.constants import CR

_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))


class Connection(_common.Client, pymysql.connections.Connection):
    """`pymysql.connections.Connection` that never connects to itself, races addresses and keeps one deadline.

    Reconnects, by `connect` or ``ping(reconnect=True)``, are as safe. Unix sockets, and sockets given to `connect`, are
    left to PyMySQL.

    :param connector: a `Connector`, for settings that PyMySQL lacks: ``retry``, ``memory``, further ``options``. None:
        a plain one.
    :raises TypeError: ``connector`` is not a `Connector`.
    :raises pymysql.err.OperationalError: the connect failed; it has number 2003, the error of `create_connection` as
        its ``__cause__`` and ``original_exception``, and its notes.

    Every other argument is PyMySQL's. ``connect_timeout`` is a deadline for names and all addresses together.

    >>> connection = Connection(host="127.0.0.1", port=3306, user="me", connect_timeout=5, defer_connect=True)
    """

    def connect(self, sock: Any = None) -> None:
        """Connect and log in.

        :param sock: a connected socket to use; None: connect one.
        :raises pymysql.err.OperationalError: as for the class; other numbers where the server refuses.
        """
        if sock is None and not self.unix_socket:
            self._closed = False
            sock = self._connected()
            self.host_info: str = f"socket {self.host}:{self.port}"
        super().connect(sock)

    def _connected(self) -> socket.socket:
        source = (self.bind_address, 0) if self.bind_address is not None else None
        address = (self.host, self.port)
        try:
            return _common.connect(self.connector, address, self.connect_timeout, source, options=_OPTIONS)
        except BaseException as error:
            # As in PyMySQL, with its message.
            self._force_close()  # type: ignore[attr-defined]  # not in its stubs
            if not isinstance(error, OSError):
                raise
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> pymysql.err.OperationalError:
        text = f"Can't connect to MySQL server on {self.host!r} ({error})"
        failure = _common.with_notes(pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, text), error)
        attributes: Any = failure  # its stubs lack these two
        attributes.original_exception = error
        attributes.traceback = traceback.format_exc()
        return failure


connect = Connection

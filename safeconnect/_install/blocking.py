"""The functions that `install` puts in the place of functions that connect in the calling thread."""

from __future__ import annotations

import socket
import sys

from .._fork import imports
from .._sockets import answers
from .._sockets.lifecycle import DEFAULT_TIMEOUT
from ..integrations import _common
from . import clients
from .settings import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def create_connection(
    address: tuple[Any, ...],
    timeout: float | None = DEFAULT_TIMEOUT,
    source_address: Any = None,
    *,
    all_errors: bool = False,
) -> socket.socket:
    """`socket.create_connection` by settings that `install` was given."""
    if all_errors:
        own = {"source_address": source_address} if source_address else {}
        connector = chosen.connector.replace(all_errors=True, **own)
        return connector.connect(address, connector.timeout if timeout is DEFAULT_TIMEOUT else timeout)
    return _common.connect(chosen.connector, address, timeout, source_address)


def urllib3_create_connection(
    address: tuple[str, int],
    timeout: Any = DEFAULT_TIMEOUT,
    source_address: Any = None,
    socket_options: Sequence[Any] | None = None,
) -> socket.socket:
    """``urllib3.util.connection.create_connection``; so requests, botocore, and all that stands on urllib3."""
    with imports.lock:
        from ..integrations.urllib3 import _connect

    return _connect(chosen.connector, address, timeout, source_address, socket_options)


def redis_connect(self: Any) -> socket.socket:
    """``redis.connection.Connection._connect``."""
    with imports.lock:
        from ..integrations.redis import _connect

    return _connect(chosen.connector, self)


def websocket_open_socket(addrinfo_list: Sequence[Any], sockopt: Sequence[Any], timeout: float | None) -> socket.socket:
    """``websocket._http._open_socket``, of websocket-client. The names have been looked up; a retry does not again."""
    candidates = answers.usable(addrinfo_list)
    if not candidates:
        own: Any = clients.WEBSOCKET.original
        return own(addrinfo_list, sockopt, timeout)  # type: ignore[no-any-return]
    connector = chosen.connector.replace(resolver=lambda *_: candidates, resolution_delay=None)
    address = candidates[0][4][:2]
    options = [*sys.modules["websocket._http"].DEFAULT_SOCKET_OPTION, *sockopt]
    try:
        return _common.connect(connector, address, timeout, options=options)
    except OSError as error:
        error.remote_ip = str(address[0])  # type: ignore[attr-defined]  # as theirs
        raise


def amqp_connect(self: Any, host: str, port: int, timeout: float | None) -> None:
    """``amqp.transport._AbstractTransport._connect``, and so kombu and celery."""
    self.sock = _common.connect(chosen.connector, (host, port), timeout)


def pymongo_create_connection(address: tuple[str, int], options: Any) -> socket.socket:
    """``pymongo.pool_shared._create_connection``, and so motor."""
    host, port = address
    if host.endswith(".sock"):  # a path
        own: Any = clients.PYMONGO.original
        return own(address, options)  # type: ignore[no-any-return]
    timeout, family = pymongo_timeout(options), pymongo_family(host)
    sock = _common.connect(chosen.connector, (host, port), timeout, options=PYMONGO_OPTIONS, family=family)
    return pymongo_prepared(sock, timeout)


PYMONGO_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))


def pymongo_timeout(options: Any) -> float | None:
    """Return the timeout of a connect: what is left of the operation's, if it has one.

    :raises TimeoutError: nothing is left.
    """
    left: float | None = sys.modules["pymongo.pool_shared"]._csot.remaining()  # noqa: SLF001 - `clients` checks it
    if left is None:
        timeout: float | None = options.connect_timeout
        return timeout
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def pymongo_prepared(sock: socket.socket, timeout: float | None) -> socket.socket:
    """Give a connected socket the timeout and pymongo's times of keepalive; after an error it is closed."""
    try:
        sys.modules["pymongo.pool_shared"]._set_keepalive_times(sock)  # noqa: SLF001 - `clients` checks it
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def pymongo_family(host: str) -> int:
    """Return the family of the addresses that pymongo connects to: IPv4 for localhost, otherwise any."""
    return socket.AF_INET if host == "localhost" else 0

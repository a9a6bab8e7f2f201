"""The functions that `install` puts in the place of functions that connect in the calling thread."""

from __future__ import annotations

from .._fork import imports
from .._sockets.lifecycle import DEFAULT_TIMEOUT
from ..integrations import _common
from .settings import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
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

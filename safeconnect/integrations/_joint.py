"""The joint: the safe connect, as all clients need it that bring their own timeouts, options and errors along."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, TypeVar

from .._connect.blocking import Connector
from .._sockets.sockets import DEFAULT_TIMEOUT, handed_over

_PLAIN = Connector()
_Error = TypeVar("_Error", bound=Exception)


def checked(connector: Connector | None) -> Connector:
    """The connector, or a plain one for None.

    :raises TypeError: it is something else.
    """
    if connector is None:
        return _PLAIN
    if not isinstance(connector, Connector):
        raise TypeError(f"connector must be a Connector, not {type(connector).__name__}")
    return connector


def connect(
    connector: Connector,
    address: tuple[Any, ...],
    timeout: float | None = DEFAULT_TIMEOUT,
    source_address: Any = None,
    *,
    options: Iterable[Any] | None = None,
    family: int = 0,
) -> socket.socket:
    """Connect by the connector's settings, and by the client's own where it has such settings.

    :param timeout: the client's, for the connect and for the connected socket. Where it has none (None or the default),
        the connector's is the deadline of the connect, and the socket is without one as the client wants it.
    :param source_address: the client's, in the place of the connector's.
    :param options: the client's, set after the connector's.
    :param family: connect to addresses of that family only; 0 means those of the connector's.
    :raises OSError: as `create_connection`. Never an `ExceptionGroup`, which no client expects.
    """
    changes = {"family": family} if family else {}
    plan = planned(connector, options=options, source_address=source_address, **changes)
    has_none = timeout is None or timeout is DEFAULT_TIMEOUT
    limit = connector.timeout if has_none and connector.timeout is not DEFAULT_TIMEOUT else timeout
    sock = plan.connect(address, limit)
    return sock if limit is timeout else handed_over(sock, timeout)


def planned(
    connector: Connector,
    *,
    options: Iterable[Any] | None = None,
    source_address: Any = None,
    **changes: Any,
) -> Connector:
    """The connector's settings, and the client's own in their place where it has such settings.

    :param options: the client's, set after the connector's.
    :param source_address: the client's, in the place of the connector's.
    :param changes: other settings, by their names.
    :returns: never one that raises `ExceptionGroup`, which no client expects.
    :raises TypeError: a setting of a wrong type.
    """
    if options:
        changes["options"] = (*connector.options, *map(tuple, options))
    if source_address:
        changes |= {"source_address": source_address, "source_ports": None, "share_source": False}
    if connector.all_errors:
        changes["all_errors"] = False
    return connector.replace(**changes) if changes else connector


def told(error: _Error, cause: BaseException) -> _Error:
    """The client's error with the story of ours: its notes."""
    for note in getattr(cause, "__notes__", ()):
        error.add_note(note)
    return error


def missing(module: str, package: str, version: str) -> ImportError:
    """The error for a client that is not there, or too old."""
    return ImportError(f'{module} needs {package} >= {version}: pip install "{package}>={version}"', name=package)

"""The safe connect for clients that bring their own timeouts, options and errors."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .._connect.blocking import Connector
from .._sockets.lifecycle import DEFAULT_TIMEOUT, handed_over

_PLAIN = Connector()
_Error = TypeVar("_Error", bound=BaseException)


class Client:
    """A base, before a client's own class, that takes ``connector`` from its arguments.

    :raises TypeError: ``connector`` is not a `Connector`.
    """

    def __init__(self, *arguments: Any, connector: Connector | None = None, **keywords: Any) -> None:
        self.connector: Connector = checked(connector)  # first, because some clients connect while they are made
        super().__init__(*arguments, **keywords)


def checked(connector: Connector | None) -> Connector:
    """Return the connector, or a plain one for None.

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
    """Connect by the settings of the connector and of the client.

    :param timeout: the client's timeout, for the connect and for the connected socket. If the client has none (None or
        the default), the connector's is the deadline of the connect, and the socket gets none, as the client expects.
    :param source_address: the client's; replaces the connector's.
    :param options: the client's; set after the connector's.
    :param family: connect to addresses of this family only; 0: the connector's setting.
    :raises OSError: as `create_connection`. Never an `ExceptionGroup`, which no client expects.
    """
    changes = {"family": family} if family else {}
    combined = combine(connector, options=options, source_address=source_address, **changes)
    has_none = timeout is None or timeout is DEFAULT_TIMEOUT
    connect_timeout = connector.timeout if has_none and connector.timeout is not DEFAULT_TIMEOUT else timeout
    sock = combined.connect(address, connect_timeout)
    return sock if connect_timeout is timeout else handed_over(sock, timeout)


def combine(
    connector: Connector,
    *,
    options: Iterable[Any] | None = None,
    source_address: Any = None,
    **changes: Any,
) -> Connector:
    """Return a connector with the settings of this one, changed to the client's where the client has them.

    :param options: the client's; set after the connector's.
    :param source_address: the client's; replaces the connector's.
    :param changes: other settings, by their names.
    :returns: a connector that never raises `ExceptionGroup`, which no client expects.
    :raises TypeError: a setting has a wrong type.
    """
    if options:
        changes["options"] = (*connector.options, *map(tuple, options))
    if source_address:
        changes |= {"source_address": source_address, "source_ports": None, "share_source": False}
    if connector.all_errors:
        changes["all_errors"] = False
    return connector.replace(**changes) if changes else connector


def with_notes(error: _Error, cause: BaseException | None) -> _Error:
    """Copy the notes of our error to the client's, and return that."""
    for note in getattr(cause, "__notes__", ()):
        error.add_note(note)
    return error


@contextmanager
def needed(module: str, package: str, version: str) -> Iterator[None]:
    """Say what to install if the block cannot import a client: it is missing, or too old."""
    try:
        yield
    except ImportError as error:
        text = f'{module} needs {package} >= {version}: pip install "{package}>={version}"'
        raise ImportError(text, name=package) from error

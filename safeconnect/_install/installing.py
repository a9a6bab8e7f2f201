"""Put the safe connect in the place of `socket.create_connection` and of clients' own connects, for the whole process.

Clients that look `socket.create_connection` up when they connect then connect safely without a change: http.client,
urllib.request, smtplib, ftplib, imaplib, poplib, xmlrpc.client, and many outside the standard library. Clients that
connect by a function of their own are reached one by one: `clients`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple
from weakref import ref

from .._connect.blocking import Connector, create_connection
from .._fork import Guard
from .._lazy import publish
from ..integrations import _common
from . import blocking
from .clients import CLIENTS, NAMES
from .hook import ImportHook
from .replacement import Replacement
from .settings import PLAIN, chosen

_guard = Guard()
_STANDARD = Replacement("socket", "create_connection", create_connection, blocking.create_connection)


class Coverage(NamedTuple):
    """A client that connects safely without a change, or does not, as `installed` reports it.

    :ivar is_covered: True if its connects are ours, now or once it is imported.
    :ivar detail: why not; or that it is still to be imported.

    >>> Coverage(is_covered=True, detail="once it is imported").is_covered
    True
    """

    is_covered: bool
    detail: str = ""


class _Request:
    """The request of one `install`, or one `patched` block, until it is over or dies."""

    __slots__ = ("__weakref__", "clients", "connector", "is_over")

    def __init__(self, clients: Iterable[str] | None, connector: Connector | None) -> None:
        self.clients = _checked_clients(clients)
        _common.checked(connector)
        self.connector = connector
        self.is_over = False


def _checked_clients(clients: Iterable[str] | None) -> frozenset[str]:
    if clients is None:
        return frozenset(NAMES)
    if isinstance(clients, (str, bytes)) or not hasattr(clients, "__iter__"):
        raise TypeError(f"clients must be several names, as in clients=[{clients!r}]")
    names = frozenset(clients)
    for name in names:
        if name not in NAMES:
            raise ValueError(f"clients must be among {', '.join(NAMES)}, not {name!r}")
    return names


_installed: list[_Request] = []  # one at most
_blocks: dict[ref[_Request], None] = {}  # of the `patched` blocks that run, in their order


def install(*, clients: Iterable[str] | None = None, connector: Connector | None = None) -> None:
    """Connect safely in the whole process, without a change of its code, until `uninstall`.

    `create_connection` takes the place of the standard library's, and the clients that connect by a function of their
    own get ours in its place, now or as soon as they are imported. `installed` reports which. Installing again changes
    the clients and the settings to those that are given then.

    :param clients: which of them beside all that calls `socket.create_connection`: ``"asyncio"`` (the standard loops'
        ``create_connection``, so `asyncio.open_connection`, asyncpg, websockets, ...), ``"aiohappyeyeballs"``
        (aiohttp), ``"anyio"`` and ``"trio"`` (httpx and httpcore in their asynchronous form), ``"urllib3"`` (requests,
        botocore, elasticsearch, kubernetes, ...), ``"redis"``, ``"websocket"`` (websocket-client), ``"amqp"`` (kombu,
        celery), ``"pymongo"`` (motor). None, the default: all.
    :param connector: a `Connector` whose settings apply to all these connects. What a call says itself comes first: its
        timeout, source address, socket options. None: a plain one.
    :raises TypeError: ``clients`` is one name, or ``connector`` is not a `Connector`.
    :raises ValueError: there is no such client.

    A client is left alone if its version or its function is not one that is known. What has taken a function by
    ``from socket import create_connection`` before keeps it. uvloop's loops cannot be changed: `safeconnect.asyncio`
    works on them.

    >>> import socket
    >>> install()
    >>> socket.create_connection is create_connection
    True
    >>> uninstall()
    """
    request = _Request(clients, connector)
    _installed[:] = [request]
    _settle()


def uninstall() -> None:
    """Undo `install`: put back exactly the functions that were there.

    Does nothing where nothing is installed. While a `patched` block runs the functions stay until its end. Where
    another tool has put a function of its own in place since then, that one is left alone; once it is gone, calling
    this again takes ours away.

    >>> import socket
    >>> standard = socket.create_connection
    >>> install()
    >>> uninstall()
    >>> socket.create_connection is standard
    True
    """
    _installed.clear()
    _settle()


def installed() -> dict[str, Coverage]:
    """Report which connects of this process are safe without a change: by client, and empty if nothing is installed.

    :returns: the clients of `install`, ``"socket"`` for all that calls `socket.create_connection`, and ``"uvloop"`` if
        that is loaded.

    >>> install(clients=["trio"])
    >>> installed()["socket"]
    Coverage(is_covered=True, detail='')
    >>> installed()["redis"]
    Coverage(is_covered=False, detail='it is not among the clients that were chosen')
    >>> uninstall()
    """
    _settle()
    wanted, _ = _wanted(_requests())
    if wanted is None:
        return {}
    found = {"socket": Coverage(is_covered=_STANDARD.is_in_place, detail="" if _STANDARD.is_in_place else _ANOTHER)}
    for client in CLIENTS:
        if client.name not in wanted:
            found[client.name] = Coverage(is_covered=False, detail="it is not among the clients that were chosen")
        elif client.why_not:
            found[client.name] = Coverage(is_covered=False, detail=client.why_not)
        elif not client.is_checked:
            found[client.name] = Coverage(is_covered=True, detail="once it is imported")
        else:
            in_place = client.is_in_place
            found[client.name] = Coverage(is_covered=in_place, detail="" if in_place else _ANOTHER)
    if "uvloop" in sys.modules:
        found["uvloop"] = Coverage(is_covered=False, detail="its loops are compiled; safeconnect.asyncio works on them")
    return found


_ANOTHER = "another tool has put its own function in place"


class patched:  # noqa: N801 - used like a function, in a with statement
    """The context manager form of `install`: in force while any such block runs, in any thread.

    It changes the whole process, not only the block's own thread. Blocks may be nested and may overlap, and an instance
    may be used again. The clients of all of them are reached, by the settings of the latest.

    :param clients: as for `install`, and ``connector`` too, with the same errors.

    >>> import socket
    >>> with patched():
    ...     socket.create_connection is create_connection
    True
    """

    def __init__(self, *, clients: Iterable[str] | None = None, connector: Connector | None = None) -> None:
        self._clients = _checked_clients(clients)
        _Request(self._clients, connector)  # refuses what is wrong
        self._connector = connector
        self._blocks: list[_Request] = []

    def __repr__(self) -> str:
        return f"patched(clients={sorted(self._clients)!r}, connector={self._connector!r})"

    def __enter__(self) -> None:
        block = _Request(self._clients, self._connector)
        self._blocks.append(block)
        _blocks[ref(block, _ended)] = None
        _settle()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._blocks:  # without an __enter__ there is nothing to end
            self._blocks.pop().is_over = True  # another thread, or a traceback, may keep it alive
            _settle()


def _ended(_: ref[_Request]) -> None:
    """End a block whose `patched.__exit__` was interrupted: at the latest it ends when its request dies."""
    _settle()


def _requests() -> list[_Request]:
    """Return the requests in force, in their order."""
    blocks = (request for block in _blocks.copy() if (request := block()) is not None and not request.is_over)
    return [*_installed, *blocks]


def _wanted(requests: list[_Request]) -> tuple[frozenset[str] | None, Connector]:
    """Return the clients to reach, None if nothing is installed, and the settings."""
    if not requests:
        return None, PLAIN
    connector = next((each.connector for each in reversed(requests) if each.connector is not None), PLAIN)
    return frozenset().union(*(each.clients for each in requests)), connector


def _forget_the_dead() -> None:
    for block in [each for each in _blocks.copy() if each() is None]:
        _blocks.pop(block, None)


def _settle() -> None:
    """Replace or restore each function, as is wanted now. Called anew after an interrupt, it does what is left."""
    wanted, _ = _wanted(_requests())
    for client in CLIENTS:
        if wanted is not None and client.name in wanted:
            client.check()  # outside of the lock, as it imports
    with _guard.lock:
        _forget_the_dead()
        wanted, chosen.connector = _wanted(_requests())
        standard = create_connection if chosen.connector is PLAIN else blocking.create_connection
        _STANDARD.settle(None if wanted is None else standard)
        for client in CLIENTS:
            client.settle(wanted is not None and client.name in wanted)
        _hook.settle(wanted is not None)


_hook = ImportHook(NAMES, _settle)

publish("safeconnect", Coverage, patched)

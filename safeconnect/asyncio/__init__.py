"""Safe connects for asyncio: `create_connection`, `open_connection`, `connect_transport` and `simultaneous_open`.

The same connect as the blocking one: never to itself, addresses raced, one deadline over all, errors with notes. It
works on any event loop (uvloop too) and starts no task. It looks names up in daemon threads of its own, so neither the
loop nor its shutdown ever waits for a resolver.

Fairness: a connect that completes at once, as on loopback, does not yield to the event loop, but every 8th of them
does. Streams and transports always yield when they are made.
"""

from __future__ import annotations

from .._connect.asyncio import create_connection
from .._connect.streams import connect_transport, open_connection
from .._lazy import loader as _loader
from .._lazy import publish as _publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._close.asyncio import close_gracefully as close_gracefully
    from .._persistent.asyncio import PersistentConnection as PersistentConnection
    from .._simultaneous.asyncio import simultaneous_open as simultaneous_open
    from .._wait.asyncio import wait_for_port as wait_for_port

__all__ = [
    "PersistentConnection",
    "close_gracefully",
    "connect_transport",
    "create_connection",
    "open_connection",
    "simultaneous_open",
    "wait_for_port",
]

_LATER = {
    "PersistentConnection": "._persistent.asyncio",
    "close_gracefully": "._close.asyncio",
    "simultaneous_open": "._simultaneous.asyncio",
    "wait_for_port": "._wait.asyncio",
}

__getattr__: Callable[[str], object] = _loader(__name__, _LATER)
_publish(__name__, connect_transport, create_connection, open_connection)

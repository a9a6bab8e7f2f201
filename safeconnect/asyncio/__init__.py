"""The asyncio driver: `create_connection`, `open_connection`, `connect_transport` and `simultaneous_open`.

The same connect as the blocking one: never to itself, addresses raced, one deadline over all, errors with notes. It
works on any event loop (uvloop too), starts no task, and looks names up in daemon threads of its own, so that neither
the loop nor its shutdown ever waits for a resolver.

Fairness: a connect that is done at once, as on loopback, does not go through the event loop; every 8th of them lets the
other tasks have their turn. Streams and transports go through it in any case, when they are made.
"""

from .._lazy import loader as _loader
from .connecting import connect as connect
from .connecting import create_connection
from .streams import connect_transport, open_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .closing import close_gracefully as close_gracefully
    from .meeting import simultaneous_open as simultaneous_open
    from .persistent import PersistentConnection as PersistentConnection
    from .waiting import wait_for_port as wait_for_port

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
    "PersistentConnection": "persistent",
    "close_gracefully": "closing",
    "simultaneous_open": "meeting",
    "wait_for_port": "waiting",
}

__getattr__ = _loader(__name__, _LATER)

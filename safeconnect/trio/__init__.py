"""Safe connects for trio: `create_connection`, `open_tcp_stream` and `simultaneous_open`.

The same connect as the blocking one: never to itself, addresses raced, one deadline over all, errors with notes. It
looks names up in daemon threads of its own, so no cancellation waits for a resolver.

Every call is a checkpoint, and that checkpoint comes before there is a socket. A connect that completes at once, as on
loopback, has no other.
"""

from __future__ import annotations

try:
    import trio as _trio  # noqa: F401 - for an error that says how to install it
except ImportError as _error:
    raise ImportError("safeconnect.trio needs trio: pip install 'safeconnect[trio]'") from _error

from .._connect.trio import create_connection, open_tcp_stream
from .._lazy import loader as _loader
from .._lazy import publish as _publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._close.trio import close_gracefully as close_gracefully
    from .._persistent.trio import PersistentConnection as PersistentConnection
    from .._simultaneous.trio import simultaneous_open as simultaneous_open
    from .._wait.trio import wait_for_port as wait_for_port

__all__ = [
    "PersistentConnection",
    "close_gracefully",
    "create_connection",
    "open_tcp_stream",
    "simultaneous_open",
    "wait_for_port",
]

_LATER = {
    "PersistentConnection": "._persistent.trio",
    "close_gracefully": "._close.trio",
    "simultaneous_open": "._simultaneous.trio",
    "wait_for_port": "._wait.trio",
}

__getattr__: Callable[[str], object] = _loader(__name__, _LATER)
_publish(__name__, create_connection, open_tcp_stream)

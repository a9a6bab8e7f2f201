"""Faults for tests of clients: every way in which a connect fails, on demand. They do not need pytest.

Each call makes an address that behaves in a certain way as long as its ``with`` block lasts. ``fault.address`` is what
to connect to; ``fault.connections`` logs the connections that came in. The port stays bound, so no two tests get the
same. The end of the block wakes and joins all threads and closes all sockets.

>>> import socket
>>> with refused() as fault:
...     socket.create_connection(fault.address)
Traceback (most recent call last):
ConnectionRefusedError: [Errno 111] Connection refused
"""

from __future__ import annotations

import ssl  # noqa: F401 - annotations of the classes are evaluated here, as it is their ``__module__``
from collections.abc import Sequence  # noqa: F401 - likewise

from .._lazy import publish as _publish
from ._base import Connection, Fault, Over, Peer, Server
from ._listeners import BlackHole, Flaky, Refusing, blackhole, flaky, late_listener, refused
from ._names import DualStack, Lookup, Names, dual_stack, names
from ._namespaces import DeadPeer, ExposedHost, Host, dead_peer, exposed_host, namespaces_unavailable
from ._servers import (
    TlsServer,
    crossed_replies,
    drips,
    echo,
    half_closes,
    never_reads,
    resets,
    serve,
    silent,
    slow_accept,
    tls,
)
from ._simulation import Result, Script
from ._watch import Guard, SelfConnecting, guard, self_connecting

__all__ = [
    "BlackHole",
    "Connection",
    "DeadPeer",
    "DualStack",
    "ExposedHost",
    "Fault",
    "Flaky",
    "Guard",
    "Host",
    "Lookup",
    "Names",
    "Over",
    "Peer",
    "Refusing",
    "Result",
    "Script",
    "SelfConnecting",
    "Server",
    "TlsServer",
    "blackhole",
    "crossed_replies",
    "dead_peer",
    "drips",
    "dual_stack",
    "echo",
    "exposed_host",
    "flaky",
    "guard",
    "half_closes",
    "late_listener",
    "names",
    "namespaces_unavailable",
    "never_reads",
    "refused",
    "resets",
    "self_connecting",
    "serve",
    "silent",
    "slow_accept",
    "tls",
]

_publish(__name__, *(globals()[name] for name in __all__))

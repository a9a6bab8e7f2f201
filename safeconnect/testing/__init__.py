"""Fixtures for tests of clients: every way in which a connect fails, on demand. No pytest is needed.

Each call gives an address that behaves in a certain way as long as its ``with`` block lasts: ``fault.address`` is what
to connect to, ``fault.connections`` the log of what came in. Ports are held, so that no two tests get the same. At the
end of the block everything is woken, joined and closed.

>>> import socket
>>> with refused() as fault:
...     socket.create_connection(fault.address)
Traceback (most recent call last):
ConnectionRefusedError: [Errno 111] Connection refused
"""

from __future__ import annotations

from .._lazy import publish as _publish
from ._server import Connection, Fault, Over, Peer, Server
from .faults import (
    BlackHole,
    blackhole,
    crossed_replies,
    drips,
    echo,
    half_closes,
    late_listener,
    never_reads,
    refused,
    resets,
    serve,
    silent,
    slow_accept,
)
from .flaky import Flaky, flaky
from .guard import Guard, guard
from .names import DualStack, Lookup, Names, dual_stack, names
from .namespaces import dead_peer, exposed_host, namespaces_unavailable
from .script import Script
from .self_connecting import SelfConnecting, self_connecting
from .tls import TlsServer, tls

__all__ = [
    "BlackHole",
    "Connection",
    "DualStack",
    "Fault",
    "Flaky",
    "Guard",
    "Lookup",
    "Names",
    "Over",
    "Peer",
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

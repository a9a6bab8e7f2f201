"""`simultaneous_open` on trio."""

from __future__ import annotations

from datetime import datetime

import trio

from .._lazy import typing as t
from .._loops import trio as loop
from .shared import Attempts, follow


async def simultaneous_open(
    local: t.Address,
    peer: t.Address,
    *,
    timeout: float | None,
    at: datetime | float | None = None,
    interval: float = 0.05,
    allow_self_connect: bool = False,
) -> trio.socket.SocketType:
    """Connect to a peer that connects to us: `safeconnect.simultaneous_open`, on trio. The socket is trio's.

    :raises OSError: and all others: as there.

    >>> async def side(local, peer):
    ...     (await simultaneous_open(local, peer, timeout=5)).close()
    >>> async def main():
    ...     a, b = ("127.0.0.1", 20805), ("127.0.0.1", 20806)
    ...     async with trio.open_nursery() as nursery:
    ...         nursery.start_soon(side, a, b)
    ...         nursery.start_soon(side, b, a)
    >>> trio.run(main)
    """
    await trio.lowlevel.checkpoint()
    attempts = Attempts(local, peer, timeout, allow_self_connect=allow_self_connect)
    return trio.socket.from_stdlib_socket(await follow(loop, attempts, at, interval))

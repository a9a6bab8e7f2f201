"""`simultaneous_open` on asyncio."""

from __future__ import annotations

import socket
from datetime import datetime

from .._lazy import typing as t
from .._loops import asyncio as loop
from .shared import Attempts, follow


async def simultaneous_open(
    local: t.Address,
    peer: t.Address,
    *,
    timeout: float | None,
    at: datetime | float | None = None,
    interval: float = 0.05,
    allow_self_connect: bool = False,
) -> socket.socket:
    """Connect to a peer that connects to us: `safeconnect.simultaneous_open`, on asyncio. The socket is non-blocking.

    :raises OSError: and all others: as there.

    >>> import asyncio
    >>> async def main():
    ...     a, b = ("127.0.0.1", 20803), ("127.0.0.1", 20804)
    ...     both = await asyncio.gather(simultaneous_open(a, b, timeout=5), simultaneous_open(b, a, timeout=5))
    ...     for sock in both:
    ...         sock.close()
    >>> asyncio.run(main())
    """
    return await follow(loop, Attempts(local, peer, timeout, allow_self_connect=allow_self_connect), at, interval)

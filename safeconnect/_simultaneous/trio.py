"""`simultaneous_open` on trio."""

from __future__ import annotations

import trio

from .._loops import trio as loop
from .shared import Attempts, follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any


async def simultaneous_open(
    local: tuple[Any, ...],
    peer: tuple[Any, ...],
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

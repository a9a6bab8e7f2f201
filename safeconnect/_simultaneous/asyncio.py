"""`simultaneous_open` on asyncio."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from .._connect.asyncio import POLL_SECONDS
from .blocking import Sides

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
) -> socket.socket:
    """Connect to a peer that connects to us: `safeconnect.simultaneous_open`, which see; the socket is non-blocking.

    :raises OSError: and all the others: as there.

    >>> async def main():
    ...     a, b = ("127.0.0.1", 20803), ("127.0.0.1", 20804)
    ...     both = await asyncio.gather(simultaneous_open(a, b, timeout=5), simultaneous_open(b, a, timeout=5))
    ...     for sock in both:
    ...         sock.close()
    >>> asyncio.run(main())
    """
    loop = asyncio.get_running_loop()
    sides = Sides(local, peer, timeout, allow_self_connect=allow_self_connect)
    waits = sides.tries(at, interval, loop.time)
    try:
        while True:
            sock, seconds = next(waits)
            if sock is None:
                await asyncio.sleep(seconds or 0)
            else:
                await _wait_for_writable(loop, sock, seconds)
    except StopIteration as end:
        winner: socket.socket = end.value
        return winner
    finally:
        waits.close()


async def _wait_for_writable(loop: asyncio.AbstractEventLoop, sock: socket.socket, seconds: float | None) -> None:
    """Until the socket is writable, or so long; where the loop cannot watch sockets, a little while."""
    writable = asyncio.Event()
    try:
        loop.add_writer(sock, writable.set)
    except NotImplementedError:
        await asyncio.sleep(POLL_SECONDS)
        return
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await writable.wait()
    finally:
        loop.remove_writer(sock)

"""What the drivers of `close_gracefully` share: closing the socket, and on an event loop reading to the end."""

from __future__ import annotations

import socket

from .._inspect.peer import has_unacknowledged
from .._sockets import lifecycle
from .policy import CHUNK, POLL_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._loops import Loop
    from .policy import Closing


def end(sock: Any, closing: Closing) -> None:
    """Close the socket: in order after a clean end, else with a reset."""
    if closing.how == "clean":
        sock.close()
    elif sock.fileno() >= 0:
        lifecycle.reset(sock)


async def shut_down(loop: Loop, sock: Any, closing: Closing) -> None:
    """Send a FIN, read to the peer's FIN, and wait until the peer's system has all that was sent."""
    sock.shutdown(socket.SHUT_WR)
    while closing.received(len(await loop.recv(sock, CHUNK))):
        pass
    if closing.how == "clean":
        await wait_for_acknowledgement(loop, sock)


async def wait_for_acknowledgement(loop: Loop, sock: Any) -> None:
    """Wait until the peer's system has all that was sent; it may not yet where the peer had closed before."""
    while has_unacknowledged(sock):
        await loop.sleep(POLL_SECONDS)


def deadline_of(loop: Loop, closing: Closing) -> float | None:
    """Return the instant at which the timeout is over."""
    return None if closing.timeout is None else loop.now() + closing.timeout

"""Shared by the drivers of `close_gracefully`: closing the socket, and on an event loop reading to the end."""

from __future__ import annotations

import socket

from .._inspect.connection import has_unacknowledged
from .._sockets import lifecycle
from .policy import CHUNK, POLL_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
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


async def run(
    loop: Loop, sock: Any, closing: Closing, function: Callable[..., Awaitable[None]] = shut_down, *others: Any
) -> None:
    """Call the function, by default `shut_down`, with the first three arguments and the others, until the deadline."""
    if lifecycle.is_self_connected(sock):
        closing.how = "reset"
        return
    try:
        await loop.within(closing.deadline, function(loop, sock, closing, *others))
    except OSError as error:  # a TimeoutError, too
        closing.failed(error)

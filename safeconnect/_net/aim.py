"""Aim: choose the source ports that one connect may use, so that the target's own port is not among them.

A socket whose source port cannot be the target port cannot connect to itself. The same option keeps connects fast: the
kernel looks for a free port by walking its whole range, which takes hundreds of microseconds once half of it is taken
toward one destination, while a window of a few ports bounds the walk. A window that happens to be full costs about ten
microseconds and another is drawn. Random windows also keep source ports hard to guess (RFC 6056) and need no state.
"""

import os
import socket
from collections.abc import Iterator

from ..ports import MAX_PORT, PortRange, PortSet
from . import kernel

# Measured: 16 and 32 ports cost the same up to 98 % of the range in use; 32 finds a free port in fewer draws.
WINDOW_SIZE = 32
# With 98 % of the range taken, half of the windows of 32 hold a free port; 16 draws all miss once in 30,000 connects.
REDRAWS = 15

# Windows drawn ahead, each with the option's value for it: drawing one in the middle of a connect takes 4 of its 20
# microseconds, for by then the processor's caches hold the kernel's code; dealt in a batch it takes 1.
_DEAL = 32
_deck: list[tuple[range, int]] = []
kernel.on_change(_deck.clear)


def draw(n: int) -> int:
    """An integer of ``range(n)`` from the system's entropy: not to be guessed, nor repeated in a forked child."""
    return int.from_bytes(os.urandom(8), "little") * n >> 64


def aim(sock: socket.socket, target_port: int) -> range | None:
    """Give the socket a fresh random window of source ports without ``target_port``.

    :returns: the window; None where the kernel lacks the option, or no port but the target's is there to be used. A
        socket that then has a port outside its window shows that the kernel's range has changed (`missed`).
    """
    if kernel.IP_LOCAL_PORT_RANGE in kernel.missing:
        return None
    try:
        window, value = _deck.pop()
    except IndexError:
        _deck.extend(_deal())
        return aim(sock, target_port) if _deck else None
    if target_port in window:
        bounds = kernel.source_ports().window_bounds(draw, WINDOW_SIZE, target_port)
        if bounds is None:
            return None
        window, value = range(bounds[0], bounds[1] + 1), _packed(*bounds)
    return window if kernel.set_option(sock, kernel.IP_LOCAL_PORT_RANGE, value) else None


def missed() -> None:
    """Read the source ports afresh: the kernel ignores a window whose bounds lie outside its own range."""
    kernel.source_ports(refresh=True)


def _deal() -> Iterator[tuple[range, int]]:
    ports = kernel.source_ports()
    entropy = memoryview(os.urandom(8 * _DEAL)).cast("Q")
    for number in entropy:
        bounds = ports.window_bounds(lambda n, number=number: number * n >> 64, WINDOW_SIZE)
        if bounds is not None:
            yield range(bounds[0], bounds[1] + 1), _packed(*bounds)


def widen(sock: socket.socket, target_port: int) -> Iterator[None]:
    """Offer the socket other source ports, step by step, each after the last one gave EADDRNOTAVAIL.

    More windows first. Then every port there is, read afresh from the kernel: those below the target's and those above,
    for the option knows one range only. Whoever comes to the end without success has proved that none is left.
    """
    for _ in range(REDRAWS):
        if not aim(sock, target_port):
            return
        yield
    for side in sides(target_port):
        if kernel.set_option(sock, kernel.IP_LOCAL_PORT_RANGE, _packed(side.ranges[0].first, side.ranges[-1].last)):
            yield


def sides(target_port: int) -> list[PortSet]:
    """All source ports but the target's, read afresh: those below it and those above, where there are any."""
    ports = kernel.source_ports(refresh=True)
    below = ports & ~PortSet(PortRange(target_port, MAX_PORT))
    above = ports & ~PortSet(PortRange(0, target_port))
    return [side for side in (below, above) if side]


def _packed(first: int, last: int) -> int:
    """The option's value as a C int, which setsockopt() takes in a third of the time it needs for bytes."""
    value = last << 16 | first
    return value - (1 << 32) if value >= 1 << 31 else value

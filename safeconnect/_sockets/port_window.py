"""Aim: choose the source ports that one connect may use, so that the target's own port is not among them.

A socket whose source port cannot be the target port cannot connect to itself. The same option keeps connects fast: the
kernel looks for a free port by walking its whole range, which takes hundreds of microseconds once half of it is taken
toward one destination, while a window of a few ports bounds the walk. A window that happens to be full costs about ten
microseconds, and others are tried; the next connects to the same address then begin where a port was found. Random
windows also keep source ports hard to guess (RFC 6056), and what one destination can see of its neighbourhood is no
more than the kernel's own choice shows it, which goes up in small steps for each destination.
"""

from __future__ import annotations

import os
import socket

from ..ports import MAX_PORT, PortRange, PortSet
from . import kernel
from .kernel import IP_LOCAL_PORT_RANGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..typing import SockAddr


# Measured with the range filled by plain connects, which leave long runs of taken ports behind: 16 ports are found full
# fastest, and the search goes on from there; 256 and more pay for the walk.
WINDOW_SIZE = 16
# How much larger each further window is: a full one is a sign that free ports are far between, and walking 128 ports
# costs less than another failed try.
GROWTH = 8

# Windows drawn ahead, each with the option's value for it. In the middle of a connect the processor's caches hold the
# kernel's code: drawing one there takes 4 of a connect's 20 microseconds, and a third of one when dealt in a batch.
_DEAL = 64
_deck: list[tuple[range, int]] = []
# How far to look around a port that a search has found: free ports lie together when plain connects have taken the
# others. And how often to begin there, before another random window shows whether the pressure is over.
_NEIGHBOURHOOD = 8
_RETURNS = 16
_found: _Found | None = None
_windows: tuple[int, ...] = ()  # what is dealt from: the option's values for all windows, side by side


@kernel.on_change
def _void() -> None:
    """Drop what was made of the old source ports, and what a forked child would share with its parent."""
    global _windows, _found
    _deck.clear()
    _windows = ()
    _found = None


class _Found:
    """Where the last search for a source port ended, and toward which address; one for the process."""

    __slots__ = ("returns", "sockaddr", "value", "window")

    def __init__(self, sockaddr: SockAddr, first: int, last: int) -> None:
        self.sockaddr = sockaddr
        self.window = range(first, last + 1)
        self.value = packed(first, last)
        self.returns = _RETURNS


def aim(sock: socket.socket, sockaddr: SockAddr) -> range | None:
    """Give the socket a window of source ports without the port of its target: a random one, as a rule.

    :returns: the window; None where the kernel lacks the option, or no port but the target's is there to be used. A
        socket that then has a port outside its window shows that the kernel's range has changed (`missed`).
    """
    if IP_LOCAL_PORT_RANGE in kernel.missing:
        return None
    found = _found  # one look: other threads search, too
    if found and found.returns and found.sockaddr == sockaddr:
        found.returns -= 1
        window, value = found.window, found.value
    else:
        try:
            window, value = _deck.pop()
        except IndexError:
            dealt = list(_deal())
            if not dealt:
                return None
            window, value = dealt.pop()  # kept back: other threads may take all the rest
            if _windows:
                _deck.extend(dealt)  # otherwise they are a guess, for this connect alone
        if sockaddr[1] in window:
            bounds = kernel.source_ports().window_bounds(draw, WINDOW_SIZE, sockaddr[1])
            if bounds is None:
                return None
            window, value = range(bounds[0], bounds[1] + 1), packed(*bounds)
    try:  # kernel.set_option() without the call, for every connect comes by here
        sock.setsockopt(0, IP_LOCAL_PORT_RANGE, value)
    except OSError as error:
        kernel.refused(IP_LOCAL_PORT_RANGE, error)
        return None
    return window


def _deal() -> Iterator[tuple[range, int]]:
    global _windows
    # One look at the global: another thread may void it meanwhile.
    windows = _windows or tuple(_side_by_side(kernel.source_ports()))
    if not windows:
        return  # every port is reserved
    if kernel.is_told():
        _windows = windows
    for number in memoryview(os.urandom(4 * _DEAL)).cast("I"):
        value = windows[number * len(windows) >> 32]
        yield range(value & 0xFFFF, (value >> 16 & 0xFFFF) + 1), value


def _side_by_side(ports: PortSet) -> Iterator[int]:
    """Windows that hold each port of the set once, and as many of them as the next."""
    count = -(-len(ports) // WINDOW_SIZE)
    for index in range(count):
        first = ports.nth(index * len(ports) // count)
        last = ports.nth((index + 1) * len(ports) // count - 1)
        yield packed(first, last)


def draw(n: int) -> int:
    """An integer of ``range(n)`` from the system's entropy: not to be guessed, nor repeated in a forked child."""
    return int.from_bytes(os.urandom(8), "little") * n >> 64


def chance() -> float:
    """A number of [0, 1), from the same source."""
    return draw(1 << 53) / (1 << 53)


def missed() -> None:
    """Read the source ports afresh: the kernel ignores a window whose bounds lie outside its own range.

    What was drawn goes in any case: a thread may have drawn it from the old range while another read the new one.
    """
    kernel.source_ports(refresh=True)
    _void()


def widen(sock: socket.socket, sockaddr: SockAddr) -> Iterator[None]:
    """Offer the socket other source ports, step by step, each after the last one gave EADDRNOTAVAIL.

    First the neighbourhood of the port that the last search found, unless the socket was aimed there; then larger
    windows. In the end every port there is, read afresh from the kernel: those below the target's and those above, for
    the option knows one range only. Whoever comes to the end without success has proved that none is left.
    """
    ports = kernel.source_ports()
    found = _found
    passed_over = found and found.sockaddr == sockaddr and not found.returns
    if found and passed_over and kernel.set_option(sock, IP_LOCAL_PORT_RANGE, found.value):
        yield
    size = GROWTH * WINDOW_SIZE
    while size < len(ports):
        bounds = ports.window_bounds(draw, size, sockaddr[1])
        if bounds and kernel.set_option(sock, IP_LOCAL_PORT_RANGE, packed(*bounds)):
            yield
        size *= GROWTH
    for side in sides(sockaddr[1]):
        if kernel.set_option(sock, IP_LOCAL_PORT_RANGE, packed(side.ranges[0].first, side.ranges[-1].last)):
            yield


def remember(port: int, sockaddr: SockAddr) -> None:
    """Tell which port a search toward an address has ended with."""
    global _found
    near = _near(kernel.source_ports(), port, sockaddr[1])
    _found = _Found(sockaddr, *near) if near else None


def _near(ports: PortSet, port: int, target_port: int) -> tuple[int, int] | None:
    """The ports around one, up to the target's; None where that is none of the source ports."""
    if port not in ports or port == target_port:
        return None
    first, last = port - _NEIGHBOURHOOD, port + _NEIGHBOURHOOD
    if first <= target_port < port:
        first = target_port + 1
    elif port < target_port <= last:
        last = target_port - 1
    # The kernel ignores a bound outside its range.
    return max(first, ports.nth(0)), min(last, ports.nth(len(ports) - 1))


def sides(target_port: int) -> list[PortSet]:
    """All source ports but the target's, read afresh: those below it and those above, where there are any."""
    ports = kernel.source_ports(refresh=True)
    below = ports & ~PortSet(PortRange(target_port, MAX_PORT))
    above = ports & ~PortSet(PortRange(0, target_port))
    return [side for side in (below, above) if side]


def packed(first: int, last: int) -> int:
    """The option's value as a C int, which setsockopt() takes in a third of the time it needs for bytes."""
    value = last << 16 | first
    return value - (1 << 32) if value >= 1 << 31 else value

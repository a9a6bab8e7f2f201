"""The source-port window: the few source ports that one connect may use, which leave out the target's own port.

A socket whose source port cannot be the target's port cannot connect to itself. The window also keeps connects fast.
Without one, the kernel looks for a free port by walking its whole range, which takes hundreds of microseconds once half
of the range is taken toward one destination. A window bounds the walk. If it happens to be full, that costs about ten
microseconds, and others are tried; the next connects to the same address begin where a port was found.

Windows are random, so source ports stay hard to guess (RFC 6056). Ports near a found one tell a destination no more
than the kernel's own numbering does, which goes up in small steps for each destination.

Windows are prefetched: drawn in batches, and taken one by one with ``list.pop``, which is atomic, so threads need no
lock. They are drawn from what the kernel has said about its ports, and are dropped when that changes, in a forked child
(where parent and child would use the same ones), and when a socket shows a port outside of its window: the kernel
ignores a window that is not within its range, so the range has changed.

A kernel that ignores windows within its range, or whose range cannot be read, gets no more of them after a few tries.
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
    from typing import Literal

    from ..typing import SockAddr

    # The option's value, and the first and the last port: each connect compares ports, and taking them out of the
    # value would take longer than the option itself.
    Window = tuple[int, int, int]
    NoWindow = Literal[0]


# Measured with the range filled by plain connects, which leave long runs of taken ports behind: 16 ports are found full
# fastest, and the search goes on from there; 256 and more pay for the walk.
WINDOW_SIZE = 16
# How much larger each further window is: a full one is a sign that free ports are far between, and walking 128 ports
# costs less than another failed try.
GROWTH = 8

ANY_PORT: NoWindow = 0  # no window: the kernel chooses among all its source ports
# In the middle of a connect the processor's caches hold the kernel's code: drawing a window there takes 4 of a
# connect's 20 microseconds, and in a batch a third of one. There are none where the kernel lacks the option.
_BATCH = 64
# How many ports on each side of a found one to try next: free ports lie together when plain connects have taken the
# others. And how many connects begin there, before a random window shows whether ports are still scarce.
_NEIGHBOURHOOD = 8
_RETURNS = 16
# A window within the kernel's range that is ignored may mean that the range has changed twice. Not so several of them.
MAX_IGNORED = 3


class _Stock:
    """The windows of this process. Threads share it without a lock: what they may change is read once."""

    __slots__ = ("found", "ignored", "prefetched", "windows")

    def __init__(self) -> None:
        self.prefetched: list[Window] = []
        self.windows: tuple[Window, ...] = ()  # to draw from: all of them, side by side
        self.found: _Found | None = None
        self.ignored = 0  # windows within the kernel's range that it has ignored

    def forget(self) -> None:
        """Drop all windows."""
        self.prefetched.clear()
        self.windows = ()
        self.found = None


_stock = _Stock()


@kernel.on_change
def _start_afresh() -> None:
    """The source ports have changed, or this is a forked child."""
    _stock.forget()
    _stock.ignored = 0


class _Found:
    """The port that the last search found, and toward which address; one for the process."""

    __slots__ = ("returns", "sockaddr", "window")

    def __init__(self, sockaddr: SockAddr, window: Window) -> None:
        self.sockaddr = sockaddr
        self.window = window
        self.returns = _RETURNS


def choose(sock: socket.socket, sockaddr: SockAddr) -> Window | NoWindow:
    """Give the socket a window of source ports without the port of its target: a random one, as a rule.

    :returns: the window; ANY_PORT if the kernel lacks the option, or has no source port but the target's. If there is
        a window and the connected socket's port is not in it, call `missed`.
    """
    stock = _stock
    found = stock.found  # read once: other threads write it, and may count the last return twice
    if found and found.returns > 0 and found.sockaddr == sockaddr:
        found.returns -= 1
        window = found.window
    else:
        try:
            drawn = stock.prefetched.pop() if stock.prefetched else _draw_batch()
        except IndexError:  # another thread has taken the last one
            drawn = _draw_batch()
        if not drawn:
            return ANY_PORT
        window = drawn
    value, first, last = window
    if first <= sockaddr[1] <= last:
        bounds = kernel.source_ports().window_bounds(draw, WINDOW_SIZE, sockaddr[1])
        if bounds is None:
            return ANY_PORT
        value, _, _ = window = window_of(*bounds)
    try:  # as kernel.set_option(), without the call: every connect does this
        sock.setsockopt(0, IP_LOCAL_PORT_RANGE, value)
    except OSError as error:
        kernel.refused(IP_LOCAL_PORT_RANGE, error)
        if IP_LOCAL_PORT_RANGE in kernel.missing:
            stock.forget()
        return ANY_PORT
    return window


def _draw_batch() -> Window | NoWindow:
    """Return a random window, and prefetch others."""
    if IP_LOCAL_PORT_RANGE in kernel.missing:
        return ANY_PORT
    drawn = _random_windows()
    if not drawn:
        return ANY_PORT
    window = drawn.pop()  # taken first: other threads may take all the others
    if _stock.windows:
        _stock.prefetched.extend(drawn)  # otherwise they are a guess, good for this connect only
    return window


def _random_windows() -> list[Window]:
    try:
        if not kernel.has_port_range():
            return []
    except OSError:  # no descriptor to ask with; the next batch asks again
        pass
    # Read once: another thread may empty it meanwhile.
    windows = _stock.windows or tuple(_side_by_side(kernel.source_ports()))
    if windows and kernel.is_told():
        _stock.windows = windows
    count = len(windows)  # 0 if every port is reserved
    return [windows[number % count] for number in memoryview(os.urandom(4 * _BATCH)).cast("I") if count]


def _side_by_side(ports: PortSet) -> Iterator[Window]:
    """Yield windows of nearly equal size that together hold each port of the set once."""
    count = -(-len(ports) // WINDOW_SIZE)
    for index in range(count):
        first = ports.nth(index * len(ports) // count)
        last = ports.nth((index + 1) * len(ports) // count - 1)
        yield window_of(first, last)


def draw(n: int) -> int:
    """Return an integer of ``range(n)`` that cannot be guessed, and is not repeated in a forked child."""
    return int.from_bytes(os.urandom(8), "little") * n >> 64


def chance() -> float:
    """Return a number of [0, 1), as `draw` does."""
    return draw(1 << 53) / (1 << 53)


def missed(sock: socket.socket, window: Window) -> None:
    """Read the source ports anew: the kernel has ignored a window, so it lay outside of the kernel's range.

    Prefetched windows are dropped even if the ports are the same: another thread may have read the new range while
    this one drew from the old.

    :param window: if the socket has it, and a few of them lay within the range even so, no more are set.
    """
    told = kernel.source_ports(refresh=True)
    _stock.forget()
    value, first, last = window
    is_within = bool(told) and told.nth(0) <= first and last <= told.nth(len(told) - 1)
    if is_within and sock.getsockopt(0, IP_LOCAL_PORT_RANGE) == value:
        _stock.ignored += 1
        if _stock.ignored >= MAX_IGNORED:
            kernel.missing.add(IP_LOCAL_PORT_RANGE)


def widen(sock: socket.socket, sockaddr: SockAddr) -> Iterator[None]:
    """Offer the socket other source ports, step by step: go on when the last ones gave EADDRNOTAVAIL.

    First the neighbourhood of the port that the last search found, unless that was the socket's window; then larger
    windows. In the end all ports, read anew from the kernel: those below the target's and those above, because the
    option takes one range only. If all steps fail, no port is left.
    """
    ports = kernel.source_ports()
    found = _stock.found
    passed_over = found and found.sockaddr == sockaddr and found.returns <= 0
    if found and passed_over and kernel.set_option(sock, IP_LOCAL_PORT_RANGE, found.window[0]):
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
    """Remember which port a search toward an address has found."""
    near = _near(kernel.source_ports(), port, sockaddr[1])
    _stock.found = _Found(sockaddr, window_of(*near)) if near else None


def _near(ports: PortSet, port: int, target_port: int) -> tuple[int, int] | None:
    """Return the bounds of the ports around one, without the target's; None if it is not a source port."""
    if port not in ports or port == target_port:
        return None
    first, last = port - _NEIGHBOURHOOD, port + _NEIGHBOURHOOD
    if first <= target_port < port:
        first = target_port + 1
    elif port < target_port <= last:
        last = target_port - 1
    # The kernel ignores a window with a bound outside of its range.
    return max(first, ports.nth(0)), min(last, ports.nth(len(ports) - 1))


def sides(target_port: int) -> list[PortSet]:
    """Return all source ports but the target's, read anew: those below it and those above, if there are any."""
    ports = kernel.source_ports(refresh=True)
    below = ports & ~PortSet(PortRange(target_port, MAX_PORT))
    above = ports & ~PortSet(PortRange(0, target_port))
    return [side for side in (below, above) if side]


def window_of(first: int, last: int) -> Window:
    """Return the window of these ports."""
    return packed(first, last), first, last


def packed(first: int, last: int) -> int:
    """Return the option's value: as a C int, which setsockopt() takes in a third of the time as bytes."""
    value = last << 16 | first
    return value - (1 << 32) if value >= 1 << 31 else value

"""The order in which to try the source ports that the user allows, toward one target.

Allowed ports within the kernel's own range are offered many at once, as a per-socket range in which the kernel itself
finds a free one. The others are bound one by one.
"""

from __future__ import annotations

from ..ports import PortRange, PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..typing import DrawBelow

# A first look at a few ports at a random place keeps the source port hard to guess, and the kernel's walk short.
WINDOW_SIZE = 16


def steps(allowed: PortSet, kernels: PortSet, target_port: int, draw: DrawBelow) -> Iterator[PortRange]:
    """Yield the ranges of ports to offer, one after the other, until all allowed ports have been offered.

    A range of one port may be bound. A longer one lies within ``kernels``, and is for the per-socket range. No range
    holds the target's port.

    :param kernels: the ports that a per-socket range may hold; empty where there is no such option.
    :param draw: ``draw(n)`` gives an integer of ``range(n)``.
    """
    usable = allowed - PortSet([0, target_port])
    inside = usable & kernels
    if inside:
        ranges = inside.ranges
        chosen = inside.choose(draw)
        home = next(each for each in ranges if chosen in each)
        yield PortSet(home).window(draw, WINDOW_SIZE) or home
        first = draw(len(ranges))
        yield from ranges[first:] + ranges[:first]
    for port in (usable - inside).shuffled(draw):
        yield PortRange(port, port)

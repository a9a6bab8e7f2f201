"""The ports that the kernel never chooses by itself."""

from __future__ import annotations

from ..ports import MAX_PORT, PortRange, PortSet
from . import kernel

_FIRST_UNPRIVILEGED = 1024


def spare_ports() -> PortSet:
    """Return the ports above the ephemeral range or, if there are none, below, where servers have theirs as a rule."""
    ephemeral = kernel.ephemeral_ports(refresh=True)
    above = ephemeral.last + 1, MAX_PORT
    below = _FIRST_UNPRIVILEGED, ephemeral.first - 1
    found = next((PortSet(PortRange(first, last)) for first, last in (above, below) if first <= last), PortSet())
    return found - kernel.reserved_ports(refresh=True)

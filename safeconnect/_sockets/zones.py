"""Zones in the text of an address (RFC 4007), ``fe80::1%eth0``: turned into the scope id that the kernel takes.

Python takes the scope id of an address from its fourth part alone. A zone beside a 0 there, or beside nothing, is
dropped, and the kernel then says EINVAL.
"""

from __future__ import annotations

import errno
import socket

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 2**32 - 1


def scoped(sockaddr: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the IPv6 address with the zone of its text as its scope id; itself if it has no zone.

    A scope id that it already has stays.

    :raises OSError: ENODEV: this host has no interface of that name.
    """
    host = sockaddr[0].decode("latin-1") if isinstance(sockaddr[0], (bytes, bytearray)) else sockaddr[0]
    if not isinstance(host, str) or "%" not in host or ":" not in host:
        return sockaddr
    address, _, zone = host.partition("%")
    flowinfo, scope_id = (*sockaddr[2:], 0, 0)[:2]
    return address, sockaddr[1], flowinfo, scope_id or _scope_id(zone, host)


def unknown(host: object) -> str:
    """Return why this host cannot be reached if its zone is the reason; otherwise an empty text."""
    if isinstance(host, str) and "%" in host and ":" in host:
        try:
            scoped((host, 0))
        except OSError as error:
            return error.strerror or ""
    return ""


def _scope_id(zone: str, host: str) -> int:
    try:
        return socket.if_nametoindex(zone)
    except (OSError, ValueError) as error:
        # A name first, as in getaddrinfo(3); then a number.
        if zone.isascii() and zone.isdecimal() and len(zone) <= len(str(_MOST)) and int(zone) <= _MOST:
            return int(zone)
        if getattr(error, "errno", None) in kernel.SCARCE:
            raise  # asking takes a socket
        raise OSError(errno.ENODEV, f"this host has no interface {zone!r}, the zone in {host!r}") from None

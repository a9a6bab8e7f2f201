"""Safe connects under other people's clients: urllib3, requests, httpx, redis, PyMySQL, the standard library's.

There are two levels. This module is for clients that connect themselves but let you set socket options: it keeps source
port and target port apart, and needs no client installed. Each of the modules beside it puts the whole safe connect
into one client, and is the only one that imports that client. `docs/clients.md` lists them.
"""

from __future__ import annotations

import socket

from .._checks import check_int
from .._lazy import typing as t
from .._sockets import kernel, lifecycle, port_window
from ..ports import MAX_PORT

__all__ = ["socket_factory", "socket_options"]


def socket_options(port: int) -> list[tuple[int, int, int]]:
    """Return socket options that prevent self-connects to a target port, for clients that set options before connect.

    Such clients (urllib3 and those built on it) take them as ``socket_options=``. One pool has one list of options, so
    the option is ``IP_LOCAL_PORT_RANGE`` (Linux 6.3, ip(7)) with all source ports on the larger side of the target's
    port: at least half of them, less one. Self-connects are not detected, and nothing is retried or raced.

    :param port: the target's port, 1 to 65535. Sockets with these options may connect to other ports as well, but
        self-connects are prevented to this one only.
    :returns: ``(level, name, value)`` tuples. The list is empty if the kernel never chooses that port as a source port,
        if it chooses no other, or if it lacks the option. Each call reads the kernel's range, and the kernel ignores
        options with bounds outside it: call again when the range has been changed.
    :raises TypeError: the port is not an int.
    :raises ValueError: the port is not 1-65535.

    >>> socket_options(80)  # no source port, unless the range has been changed
    []
    >>> pool_options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *socket_options(40000)]
    """
    check_int("port", port, 1, MAX_PORT)
    if port not in kernel.source_ports(refresh=True) or not kernel.has_port_range():
        return []
    side = max(port_window.sides(port), key=len, default=None)
    if side is None:
        return []
    value = port_window.packed(side.ranges[0].first, side.ranges[-1].last)
    return [(socket.IPPROTO_IP, kernel.IP_LOCAL_PORT_RANGE, value)]


def socket_factory(addr_info: t.Candidate) -> socket.socket:
    """Open a socket that cannot connect to itself, for clients that take a socket factory.

    aiohttp's ``TCPConnector(socket_factory=...)`` (3.12 and later) and aiohappyeyeballs'
    ``start_connection(socket_factory=...)`` (2.5 and later) do. The socket has the options of `socket_options` for its
    target's port. It does not get the window of few ports that `create_connection` uses: the ports of a window
    can be used up while others are free, and the client would not try those.

    :param addr_info: ``(family, type, proto, canonname, sockaddr)``, one result of `socket.getaddrinfo`.
    :returns: a non-blocking socket, not connected; it has the options if the family is IPv4 or IPv6.
    :raises TypeError: ``addr_info`` is not a tuple.
    :raises ValueError: ``addr_info`` does not have five items, or its port is not 1-65535.
    :raises OSError: the socket could not be opened, or an option not set; then it is closed.

    >>> with socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 40000))) as sock:
    ...     sock.getblocking()
    False
    """
    if not isinstance(addr_info, (tuple, list)):
        raise TypeError(f"addr_info must be a tuple as getaddrinfo() gives, not {type(addr_info).__name__}")
    if len(addr_info) != 5:
        raise ValueError(f"addr_info must be (family, type, proto, canonname, sockaddr), not {addr_info!r}")
    family, kind, proto, _, sockaddr = addr_info
    options = socket_options(sockaddr[1]) if family in lifecycle.IP_FAMILIES else []
    sock = socket.socket(family, kind, proto)
    try:
        sock.settimeout(0)
        for option in options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock

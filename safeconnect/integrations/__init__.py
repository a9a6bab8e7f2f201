"""Safe connects under other people's clients: urllib3, requests, httpx, redis, PyMySQL, the standard library's.

There are two levels. Here is the level of options, for clients that connect themselves but let their sockets be
dressed: it keeps source port and target port apart, and needs no client installed. The modules beside it are the level
of the connect: each puts the whole safe connect into one client, and is the only one that imports it. `docs/clients.md`
has them in a table.
"""

from __future__ import annotations

import socket

from .._connect import attempt
from .._sockets import kernel, port_window
from ..ports import MAX_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Candidate

__all__ = ["socket_factory", "socket_options"]


def socket_options(port: int) -> list[tuple[int, int, int]]:
    """Socket options that prevent self-connects toward a target port, for any client that sets options before connect.

    Such clients take them as ``socket_options=``: urllib3 and what is built on it. As one pool has one list of
    options, the option is ``IP_LOCAL_PORT_RANGE`` (Linux 6.3, ip(7)) with all source ports on one side of the target's
    port, the larger one: at least half of them, less one. Nothing is detected, retried or raced.

    :param port: the target's port, 1 to 65535. Sockets with these options may connect to other ports as well, but only
        toward this one is the self-connect prevented.
    :returns: ``(level, name, value)`` tuples; an empty list where the kernel never chooses that port as a source port,
        where it chooses no other, and where it lacks the option. The kernel's range is read at each call, and the
        kernel ignores options whose bounds lie outside it: ask again when it has been changed.
    :raises TypeError: the port is not an int.
    :raises ValueError: the port is not 1-65535.

    >>> socket_options(80)  # no source port, unless the range has been changed
    []
    >>> pool_options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *socket_options(40000)]
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"port must be 1-{MAX_PORT}, not {port}")
    if port not in kernel.source_ports(refresh=True) or not kernel.has_port_range():
        return []
    side = max(port_window.sides(port), key=len, default=None)
    if side is None:
        return []
    value = port_window.packed(side.ranges[0].first, side.ranges[-1].last)
    return [(socket.IPPROTO_IP, kernel.IP_LOCAL_PORT_RANGE, value)]


def socket_factory(addr_info: Candidate) -> socket.socket:
    """Open a socket that cannot connect to itself, for clients that take a factory of sockets.

    aiohttp's ``TCPConnector(socket_factory=...)`` (3.12 and later) and aiohappyeyeballs'
    ``start_connection(socket_factory=...)`` (2.5 and later) do. The socket has the options of `socket_options` for its
    target's port. It does not get the window of few ports that `create_connection` uses: a window can be full while
    other ports are free, and the client would not try those.

    :param addr_info: ``(family, type, proto, canonname, sockaddr)``, one of the results of `socket.getaddrinfo`.
    :returns: a non-blocking socket, not connected; options only where the family is IPv4 or IPv6.
    :raises TypeError: ``addr_info`` is not a tuple.
    :raises ValueError: ``addr_info`` does not have five items, or its port is not 1-65535.
    :raises OSError: the socket could not be opened or dressed; it is closed then.

    >>> with socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 40000))) as sock:
    ...     sock.getblocking()
    False
    """
    if not isinstance(addr_info, (tuple, list)):
        raise TypeError(f"addr_info must be a tuple as getaddrinfo() gives, not {type(addr_info).__name__}")
    if len(addr_info) != 5:
        raise ValueError(f"addr_info must be (family, type, proto, canonname, sockaddr), not {addr_info!r}")
    family, kind, proto, _, sockaddr = addr_info
    options = socket_options(sockaddr[1]) if attempt.kernel_chooses(family, None) else []
    sock = socket.socket(family, kind, proto)
    try:
        sock.settimeout(0)
        for option in options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock

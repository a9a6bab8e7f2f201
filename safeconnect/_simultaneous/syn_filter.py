"""A shield: while it stands, the kernel does not answer connects to a local address with a reset, but not at all.

Whoever connects to it then waits, and its SYN comes again after a second. That makes a simultaneous open certain: the
side that is first waits, and the second one's SYN finds it connecting. Without it each refuses the other, unless both
are inside connect() in the same microseconds.

It is a listening socket with a filter that passes nothing (SO_ATTACH_FILTER, socket(7)): a SYN for which there is no
connecting socket reaches the listener, and the filter drops it (tcp_v4_rcv). Some kernels want CAP_NET_ADMIN for a
filter (seen on 6.18). There the listener asks for packets that no router has passed on, which needs no privilege
(IP_MINTTL 255, ip(7); RFC 5082): most hosts send with 64 or 128, so their SYNs are dropped as well.
"""

from __future__ import annotations

import errno
import socket
import sys

from .._fork import imports
from .._sockets.endpoint import written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/filter.h: one instruction, BPF_RET | BPF_K with 0, "let pass no byte". asm-generic/socket.h for the option.
_RETURN = 0x06
_SO_ATTACH_FILTER = 26
# linux/in.h and linux/in6.h: IP_MINTTL, IPV6_MINHOPCOUNT.
_LOWEST_TTL = {socket.AF_INET: (socket.IPPROTO_IP, 21), socket.AF_INET6: (socket.IPPROTO_IPV6, 73)}
_HIGHEST_TTL = 255


def raise_shield(family: int, address: tuple[Any, ...]) -> socket.socket | None:
    """Put a shield before an address of this host; it falls when the socket is closed.

    Sockets that are to connect from the address are bound with `bind_shared`, too.

    :returns: the socket; None where this kernel has no means to drop what comes.
    :raises OSError: as `bind_shared`.
    """
    if sys.platform != "linux":
        return None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if not (_attach_filter(sock) or _ask_for_highest_ttl(sock)):
            sock.close()
            return None
        bind_shared(sock, address)
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_shared(sock: socket.socket, address: tuple[Any, ...]) -> None:
    """Bind to an address where a shield stands, or a connection has ended a moment ago.

    :raises OSError: EINVAL: the address is not this host's. (The kernel says EADDRNOTAVAIL, which connect() says of a
        connection that is not quite gone.) EADDRINUSE: the port is taken.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        raise OSError(errno.EINVAL, f"{written(address)} is not an address of this host") from error


def _attach_filter(sock: socket.socket) -> bool:
    with imports.lock:
        import ctypes  # struct sock_fprog holds a pointer

    instruction = ctypes.create_string_buffer(_RETURN.to_bytes(2, sys.byteorder) + bytes(6), 8)

    class Program(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(1, ctypes.addressof(instruction))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    except OSError:
        return False
    return True


def _ask_for_highest_ttl(sock: socket.socket) -> bool:
    try:
        sock.setsockopt(*_LOWEST_TTL[sock.family], _HIGHEST_TTL)
    except OSError:
        return False
    return True

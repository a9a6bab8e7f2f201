"""A SYN filter: while it is open, the kernel drops SYNs to a local address instead of answering them with a reset.

The problem: in a simultaneous open, the kernel refuses a SYN that comes for a port where nobody is connecting at that
moment. So two sides that try in turns refuse each other, unless both are inside connect() in the same microseconds.

A SYN that is dropped is not refused. The other side stays in connect(), and its kernel sends the SYN again after a
second. Nobody has to wait for that: this side's own SYN finds the other one connecting, and the two are connected.

The filter is a listening socket on the same address, with a BPF program that passes nothing (SO_ATTACH_FILTER,
socket(7)). A SYN goes to a connecting socket if there is one for it; otherwise it goes to the listener, whose filter
drops it (tcp_v4_rcv).

Some kernels want CAP_NET_ADMIN for a filter (seen on 6.18). There the listener accepts only packets that no router has
forwarded, which needs no privilege (IP_MINTTL 255, ip(7); RFC 5082): most hosts send with 64 or 128, so
their SYNs are dropped as well.
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


def open_syn_filter(family: int, address: tuple[Any, ...]) -> socket.socket | None:
    """Drop SYNs to an address of this host until the returned socket is closed.

    Sockets that connect from the address must be bound with `bind_shared`, too.

    :returns: the socket; None if this kernel has no means to drop SYNs.
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
    """Bind to an address that has a SYN filter, or whose last connection has just ended.

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

"""Ask the kernel about TCP sockets by sock_diag(7): the backlogs of listeners; whether one listens at an address.

Linux only. The kernel answers within the call that asks, from its own tables, and sends nothing to anybody.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys

from .._sockets import kernel
from .._sockets.endpoint import unmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..typing import SockAddr

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, net/tcp_states.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTEN = 1 << 10
_ANY_STATE = _NO_COOKIE = 0xFFFFFFFF
_LOOPBACK_INTERFACE = 1  # in every network namespace; the kernel delivers by it what a host sends to itself

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_DUMP = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, any socket
# The same for one socket: then its port in network order, any peer, its address, the interface and no cookie.
_LOOKUP = struct.Struct("=BBBxI2s2x16s16xI8s")
_REPLY = struct.Struct("=56xIIII")  # struct inet_diag_msg, its end: received, sent, uid, inode
_FOUND = struct.pack("=H", _SOCK_DIAG_BY_FAMILY)
_PATIENCE = 2.0  # seconds; the kernel answers at once, or not at all in a sandbox


def backlogs(family: int) -> Iterator[tuple[int, int]]:
    """Yield the inode of each listener of a family, and its backlog.

    :raises OSError: the kernel does not tell.
    """
    with _open() as asked:
        asked.settimeout(_PATIENCE)
        asked.send(_message(_DUMP.pack(family, socket.IPPROTO_TCP, 0, _LISTEN), _NLM_F_DUMP))
        while True:
            for kind, body in _messages(asked.recv(1 << 16)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError(errno.EOPNOTSUPP, "sock_diag")
                _, backlog, _, inode = _REPLY.unpack_from(body)
                yield inode, backlog


class ListenerLookup:
    """Ask again and again whether a socket listens at one of these addresses of this host.

    :param sockaddrs: those of other hosts are left out.
    :raises OSError: the kernel does not tell.
    """

    __slots__ = ("_requests", "_socket")

    def __init__(self, sockaddrs: Iterable[SockAddr]) -> None:
        self._requests = [_message(_lookup(each)) for each in sockaddrs if is_own(each)]
        self._socket = _open()
        self._socket.settimeout(0)

    def __bool__(self) -> bool:
        """Return True if there is an address to ask for."""
        return bool(self._requests)

    def is_up(self) -> bool:
        """Return True if a socket would get a connection to one of the addresses.

        It may still not come to that: a firewall rejects it, or it is redirected.

        :raises OSError: the kernel does not tell.
        """
        for request in self._requests:
            self._socket.send(request)
            # The rest of the message is dropped. If there is no such socket, it is an error, ENOENT.
            if self._socket.recv(6)[4:] == _FOUND:
                return True
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def is_own(sockaddr: SockAddr) -> bool | None:
    """Return True if it is an address of this host: a UDP socket can bind to it. Nothing is sent.

    None if no descriptor is left to try it with.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in sockaddr[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((sockaddr[0], 0, *sockaddr[2:]))
    except OSError as error:
        return None if error.errno in kernel.SCARCE else False
    return True


def _open() -> socket.socket:
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "sock_diag is Linux'")
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def _message(request: bytes, flags: int = 0) -> bytes:
    length = _HEADER.size + len(request)
    return _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 0, 0) + request


def _lookup(sockaddr: SockAddr) -> bytes:
    host = unmapped(sockaddr[0].partition("%")[0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    if not any(packed):  # a connect to 0.0.0.0 or :: goes to the loopback address
        packed = socket.inet_pton(family, "::1" if ":" in host else "127.0.0.1")
    interface = sockaddr[3] if len(sockaddr) == 4 and sockaddr[3] else _LOOPBACK_INTERFACE
    port = sockaddr[1].to_bytes(2, "big")
    cookie = struct.pack("=II", _NO_COOKIE, _NO_COOKIE)
    return _LOOKUP.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE, port, packed, interface, cookie)


def _messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of one datagram, each at a multiple of 4 bytes: netlink(7)."""
    at = 0
    while at < len(raw):
        length, kind, *_ = _HEADER.unpack_from(raw, at)
        yield kind, raw[at + _HEADER.size : at + length]
        at += (length + 3) & ~3

"""The backlogs of the listening sockets of this network namespace, by sock_diag(7)."""

from __future__ import annotations

import errno
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/netlink.h, linux/sock_diag.h, net/tcp_states.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_LISTEN = 1 << 10

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, any socket
_REPLY = struct.Struct("=56xIIII")  # struct inet_diag_msg, its end: received, sent, uid, inode
_PATIENCE = 2.0  # seconds; the kernel answers at once, or not at all in a sandbox


def backlogs() -> dict[int, int]:
    """Return the backlog of each TCP listener by its inode, as given to listen(2), limited by somaxconn.

    One connection more may wait to be accepted (net/sock.h, sk_acceptq_is_full). Empty if the kernel does not tell:
    elsewhere than on Linux, without CONFIG_INET_DIAG, in a sandbox.
    """
    found: dict[int, int] = {}
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            found.update(_ask(family))
    except OSError:
        return {}
    return found


def _ask(family: int) -> Iterator[tuple[int, int]]:
    if sys.platform != "linux":
        return
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, flags, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        kernel.send(header + request)
        while True:
            for kind, body in _messages(kernel.recv(1 << 16)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError(errno.EOPNOTSUPP, "sock_diag")
                _, backlog, _, inode = _REPLY.unpack_from(body)
                yield inode, backlog


def _messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of one datagram, each at a multiple of 4 bytes: netlink(7)."""
    at = 0
    while at < len(raw):
        length, kind, *_ = _HEADER.unpack_from(raw, at)
        yield kind, raw[at + _HEADER.size : at + length]
        at += (length + 3) & ~3

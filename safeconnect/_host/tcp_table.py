"""Read every TCP socket of this network namespace; and, on request, its processes and the backlogs.

On Linux they come from /proc (proc_pid_net(5)), elsewhere from psutil. Finding the processes means reading every
descriptor of every process. The backlogs come from sock_diag(7).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from functools import lru_cache

from .._inspect.tcp_info import linux_state
from .._sockets import kernel
from .._sockets.endpoint import unmapped
from . import sock_diag
from .tcp_rows import Owner, TcpSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..typing import End

_PROC = "/proc"
_TABLES = ("tcp", "tcp6")
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2
_LONGEST_COMM = 15  # proc_pid_comm(5)

# psutil's names of states where they are not the standard's.
_STATES = {
    "SYN_RECV": "SYN_RECEIVED",
    "FIN_WAIT1": "FIN_WAIT_1",
    "FIN_WAIT2": "FIN_WAIT_2",
    "CLOSE": "CLOSED",
    "DELETE_TCB": "CLOSED",
    "NONE": "CLOSED",
}


def sockets() -> list[TcpSocket]:
    """Return every TCP socket of this network namespace, IPv4 and IPv6, in the order of the system's tables.

    A socket that is bound and neither connected nor listening has no entry. The tables are not read in one moment: a
    connection may be missing, or be there in two states, if it changes meanwhile.

    :raises OSError: the tables cannot be read. Elsewhere than on Linux: psutil is not installed (EOPNOTSUPP), or may
        not look (EPERM; on macOS only root may).
    """
    if sys.platform != "linux":
        return _sockets_by_psutil()
    # On a busy host the kernel loses its place and gives some rows again: 1 reading in 10 with 1,000 sockets.
    found = {(each.local, each.peer, each.inode): each for name in _TABLES for each in _read(name)}
    return list(found.values())


def owners(found: Iterable[TcpSocket]) -> dict[TcpSocket, tuple[Owner, ...]]:
    """Return the processes that have these sockets, as far as they may be seen: only root sees all.

    A socket without a visible process maps to an empty tuple: its process belongs to another user, or to another
    pid namespace, or there is none (any more).

    :param found: sockets of `sockets`.
    :raises OSError: there was no descriptor, or no memory, to look.
    """
    found = list(found)
    if sys.platform != "linux":
        return {each: () if each.pid is None else (Owner(each.pid, _name_by_psutil(each.pid)),) for each in found}
    holders: dict[int, list[Owner]] = {each.inode: [] for each in found if each.inode}
    for pid, inodes in _held_sockets(holders.keys()) if holders else ():
        owner = Owner(pid, _name(pid))
        for inode in inodes:
            holders[inode].append(owner)
    return {each: tuple(holders.get(each.inode or 0, ())) for each in found}


def backlogs() -> dict[int, int]:
    """Return the backlog of each TCP listener by its inode, as given to listen(2), limited by somaxconn.

    One connection more may wait to be accepted (net/sock.h, sk_acceptq_is_full). Empty if the kernel does not tell:
    elsewhere than on Linux, without CONFIG_INET_DIAG, in a sandbox.
    """
    found: dict[int, int] = {}
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            found.update(sock_diag.backlogs(family))
    except OSError:
        return {}
    return found


def _read(name: str) -> Iterator[TcpSocket]:
    try:
        table = open(f"{_PROC}/net/{name}", encoding="ascii")  # noqa: PTH123, SIM115 - as in kernel; closed below
    except FileNotFoundError:
        if name == "tcp":
            raise
        return  # a kernel without IPv6
    with table:
        next(table, None)  # the head
        for line in table:
            # sl, local, peer, state, queues (sent:received), timer, retransmissions, uid, timeout, inode
            _, local, peer, state, queues, _, _, uid, _, inode, *_ = line.split()
            unsent, _, unread = queues.partition(":")
            other = _end(peer)
            yield TcpSocket(
                local=_end(local),
                peer=other if other[1] else None,
                state=_state(state),
                ipv6=name == "tcp6",
                receive_queue=int(unread, 16),
                send_queue=int(unsent, 16),
                uid=int(uid),
                inode=int(inode),
            )


@lru_cache(maxsize=32)
def _state(digits: str) -> str:
    return linux_state(bytes.fromhex(digits))


def _end(text: str) -> End:
    host, _, port = text.partition(":")
    return _host(host), int(port, 16)


@lru_cache(maxsize=4096)
def _host(digits: str) -> str:
    """Return an address that the kernel prints in words of 32 bits, each in the byte order of the machine."""
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    packed = packed.removeprefix(_MAPPED)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _held_sockets(wanted: Iterable[int]) -> Iterator[tuple[int, set[int]]]:
    """Yield each process that has any of the sockets, and which; only those that may be seen."""
    names = {f"socket:[{inode}]": inode for inode in wanted}
    for pid in os.listdir(_PROC):  # noqa: PTH208 - paths would take three times as long
        if not pid.isdecimal():
            continue
        found = set()
        try:
            for number in os.listdir(f"{_PROC}/{pid}/fd"):  # noqa: PTH208
                inode = names.get(_link(f"{_PROC}/{pid}/fd/{number}"))
                if inode is not None:
                    found.add(inode)
        except OSError as error:
            if error.errno in kernel.SCARCE:
                raise
            continue  # another user's, or it has ended
        if found:
            yield int(pid), found


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""  # closed meanwhile


def _name(pid: int) -> str | None:
    """Return the program's name; the kernel cuts it off after 15 bytes, and the command line has the rest."""
    try:
        with open(f"{_PROC}/{pid}/comm", "rb") as file:  # noqa: PTH123
            name = os.fsdecode(file.read().rstrip(b"\n"))
        if len(os.fsencode(name)) >= _LONGEST_COMM:
            with open(f"{_PROC}/{pid}/cmdline", "rb") as file:  # noqa: PTH123
                program = os.fsdecode(file.read().partition(b"\0")[0]).rpartition("/")[2]
            name = program if program.startswith(name) else name
    except OSError as error:
        if error.errno in kernel.SCARCE:
            raise
        return None
    return name


def _sockets_by_psutil() -> list[TcpSocket]:
    try:
        import psutil  # only off Linux, and not of the core
    except ImportError:
        raise OSError(
            errno.EOPNOTSUPP, f"listing TCP sockets on {sys.platform} needs psutil: pip install psutil"
        ) from None
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        raise PermissionError(errno.EPERM, f"TCP sockets may not be listed by this user on {sys.platform}") from None
    except psutil.Error as error:
        raise OSError(errno.EIO, f"psutil could not list TCP sockets: {error}") from error
    return [_from_psutil(each) for each in found]


def _from_psutil(row: Any) -> TcpSocket:
    return TcpSocket(
        local=_plain(row.laddr) or ("", 0),
        peer=_plain(row.raddr),
        state=str(_STATES.get(row.status, row.status)),
        ipv6=row.family == socket.AF_INET6,
        pid=row.pid,
    )


def _plain(end: Any) -> End | None:
    if not end:
        return None
    return unmapped(end[0].partition("%")[0]), end[1]


def _name_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return None

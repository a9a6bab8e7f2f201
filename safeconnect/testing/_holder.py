"""Hold a user and a network namespace: a process of its own, run by its path, which imports nothing of the package.

It answers each line that it reads with one line: the number of the kernel's error, 0 for none, and what failed. The
first is ``enter``. When there is nothing more to read it ends, and with it all that runs in the namespaces: also when
whoever started it was killed. See namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform != "linux":
    raise ImportError("network namespaces exist on Linux only")

# linux/sched.h, linux/sockios.h, net/if.h
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
# linux/netlink.h, linux/rtnetlink.h, linux/pkt_sched.h
_RTM_NEWQDISC, _RTM_DELQDISC = 36, 37
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_REPLACE, _NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
_NLMSG_ERROR = 2
_TCA_KIND = 1
_TC_H_ROOT = 0xFFFFFFFF
_LO = 1  # the index of lo in every network namespace (linux/netdevice.h: LOOPBACK_IFINDEX)
_PROC_NET = "/proc/sys/net/ipv4"
_FIRST_UNPRIVILEGED = 1024


def enter() -> None:
    """Move this process, which must have one thread, into new namespaces, as their root, and set lo up.

    Linux 3.8 and later, where unprivileged user namespaces are allowed.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "unshare")
    # Without privilege the group may be mapped only when there is no more to be said of groups.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {user} 1")
    _write("/proc/self/gid_map", f"0 {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def set_port(port: str) -> None:
    """Leave one port as the only source port."""
    if int(port) < _FIRST_UNPRIVILEGED:
        # The range must lie outside the privileged ports: ip_local_port_range in the kernel's ip-sysctl.rst.
        _write(f"{_PROC_NET}/ip_unprivileged_port_start", port)
    _write(f"{_PROC_NET}/ip_local_port_range", f"{port} {port}")


def vanish() -> None:
    """Lose every packet on lo from now on; whoever sends it is told that it went out.

    By the queueing discipline ``blackhole`` (net/sched/sch_blackhole.c), part of every kernel with CONFIG_NET_SCHED.
    With lo set down instead, ::1 would be no address of the host any more, and connects to it fail at once.
    """
    kind = b"blackhole\0"
    attribute = struct.pack("=HH", 4 + len(kind), _TCA_KIND) + kind + bytes(-len(kind) % 4)
    _change_queue(_RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_REPLACE, attribute)


def heal() -> None:
    """Lose no more packets."""
    _change_queue(_RTM_DELQDISC, 0, b"")


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, "ascii")
    except OSError as error:
        error.filename = path  # the kernel refuses what is written, and then it is not known of what file
        raise


def _change_queue(kind: int, flags: int, attributes: bytes) -> None:
    """Ask the kernel for another queueing discipline of lo: rtnetlink(7)."""
    request = struct.pack("=BxxxiIII", socket.AF_UNSPEC, _LO, 0, _TC_H_ROOT, 0) + attributes
    header = struct.pack("=IHHII", 16 + len(request), kind, _NLM_F_REQUEST | _NLM_F_ACK | flags, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.send(header + request)
        answer = route.recv(4096)
    (answered,) = struct.unpack_from("=H", answer, 4)
    (code,) = struct.unpack_from("=i", answer, 16)
    if answered == _NLMSG_ERROR and code:  # 0 is the acknowledgement
        raise OSError(-code, os.strerror(-code), "the queueing discipline blackhole")


def namespaces_of(pid: int) -> set[str]:
    """Its user and network namespace as the kernel names them; none where this process may not know."""
    found = set()
    for kind in ("user", "net"):
        with contextlib.suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return found


def end_all(own: set[str]) -> None:
    """Kill all processes but this one that are in these namespaces, and wait until they have ended."""
    while inside := _processes(own):
        for process in inside:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        for process in inside:
            _has_ended(process, None)
            os.close(process)


def _processes(own: set[str]) -> list[int]:
    """Descriptors of them (pidfd_open(2), Linux 5.3), so that no number is taken for another process's."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - no need for paths
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # it is there no more
                process = os.pidfd_open(int(name))
                # It is asked last whether it has ended: if not, it was of this process what was read.
                if namespaces_of(int(name)) & own and not _has_ended(process, 0):
                    found.append(process)
                else:
                    os.close(process)
    return found


def _has_ended(process: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(timeout))


_COMMANDS: dict[str, Callable[..., None]] = {"enter": enter, "port": set_port, "vanish": vanish, "heal": heal}


def _obey(name: str, arguments: list[str], outside: set[str]) -> str:
    if name != "enter" and namespaces_of(os.getpid()) == outside:
        return f"{errno.EPERM} {name}: not before enter"  # nobody's network but its own is changed, not even by root
    try:
        _COMMANDS[name](*arguments)
    except OSError as error:
        return f"{error.errno} {error.filename or name}"
    return "0"


def main() -> None:
    """Obey until there are no more commands."""
    outside = namespaces_of(os.getpid())
    for line in sys.stdin:
        name, *arguments = line.split()
        print(_obey(name, arguments, outside), flush=True)
    end_all(namespaces_of(os.getpid()) - outside)  # nothing, where there were none to be had


if __name__ == "__main__":
    main()

"""The programs of `Host`: one script, run by its path in a process of its own. It imports nothing of the package.

``hold`` makes a user and a network namespace and keeps them. It answers each line that it reads with one line: the
number of the kernel's error (0: none) and what failed. The first line is ``enter``. At the end of its input it ends,
and with it all that runs in the namespaces; that happens also when the process that started it is killed.

``enter PID REPORT PROGRAM ARGUMENT...`` joins the namespaces of a process and becomes the program. So whoever runs it
gets the program itself, with its own process id, exit code and signals. REPORT is the descriptor of a socket: it closes
when the program has begun; before that it says what failed, if anything did.
See namespaces(7), user_namespaces(7). Some imports stand in functions, for speed: each program in a host starts here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
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
_KINDS = ("user", "net")  # in this order: who has entered the first has the right to enter the second


def hold() -> None:
    """Obey the commands on standard input until there are no more."""
    outside = namespaces_of(os.getpid())
    for line in sys.stdin:
        name, *arguments = line.split()
        print(_obey(name, arguments, outside), flush=True)
    end_all(namespaces_of(os.getpid()) - outside)  # an empty set if there are no namespaces here


def _obey(name: str, arguments: list[str], outside: set[str]) -> str:
    if name != "enter" and namespaces_of(os.getpid()) == outside:
        return f"{errno.EPERM} {name}: not before enter"  # never change the network outside, not even as root
    commands: dict[str, Callable[..., None]] = {
        "enter": make,
        "port": set_port,
        "echo": echo,
        "vanish": vanish,
        "heal": heal,
    }
    try:
        commands[name](*arguments)
    except OSError as error:
        return f"{error.errno} {error.filename or name}"
    return "0"


def make() -> None:
    """Move this process, which must have one thread, into new namespaces, as their root, and set lo up.

    Linux 3.8 and later, where unprivileged user namespaces are allowed.
    """
    import fcntl
    import socket

    user, group = os.getuid(), os.getgid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    # Without privilege the group may be mapped only after setgroups(2) has been given up.
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
    """Lose every packet on lo from now on; the sender is told that it went out.

    This is the queueing discipline ``blackhole`` (net/sched/sch_blackhole.c), part of every kernel with
    CONFIG_NET_SCHED. If lo were set down instead, ::1 would no longer be an address of the host, and connects to it
    would fail at once.
    """
    kind = b"blackhole\0"
    attribute = struct.pack("=HH", 4 + len(kind), _TCA_KIND) + kind + bytes(-len(kind) % 4)
    _change_queue(_RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_REPLACE, attribute)


def heal() -> None:
    """Lose no more packets."""
    _change_queue(_RTM_DELQDISC, 0, b"")


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library: Python has os.setns and os.unshare only since 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, "ascii")
    except OSError as error:
        error.filename = path  # an error of write(2), unlike one of open(2), does not have it
        raise


def _change_queue(kind: int, flags: int, attributes: bytes) -> None:
    """Ask the kernel to change the queueing discipline of lo: rtnetlink(7)."""
    import socket

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
    """Return the kernel's names of a process's user and network namespace; an empty set if it may not be seen."""
    found = set()
    for kind in _KINDS:
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
    """Return their descriptors (pidfd_open(2), Linux 5.3), for a process id may soon be another process's."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - no need for paths
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # it has gone
                process = os.pidfd_open(int(name))
                # The check that it has not ended comes last: then the namespaces that were read are this process's.
                if namespaces_of(int(name)) & own and not _has_ended(process, 0):
                    found.append(process)
                else:
                    os.close(process)
    return found


def _has_ended(process: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(timeout))


def enter(pid: str, report: str, *program: str) -> None:
    """Join the namespaces of a process and become a program, or report what failed."""
    os.set_inheritable(int(report), False)  # noqa: FBT003 - it takes no keyword
    what = "setns"
    try:
        for kind in _KINDS:  # setns(2) wants a process with one thread: Linux 3.8
            with Path(f"/proc/{pid}/ns/{kind}").open("rb") as namespace:
                _call("setns", namespace.fileno(), 0)
        what = program[0]
        become(program)
    except OSError as error:
        os.write(int(report), f"{error.errno} {what}".encode(errors="surrogateescape"))
        sys.exit(127)


def become(program: tuple[str, ...]) -> None:
    """Run the program in place of this process, in the environment that this process was started with."""
    # Python ignores these signals from its start, and the program would inherit that: signal(7).
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # Not os.environ: in the C locale Python has set LC_CTYPE in it (PEP 538).
    variables = Path("/proc/self/environ").read_bytes().split(b"\0")
    environment = dict(variable.split(b"=", 1) for variable in variables if variable.find(b"=") > 0)
    os.execvpe(program[0], program, environment)  # noqa: S606 - there is no shell


def echo(host: str, port: str) -> None:
    """Send back to every client what it sends, in threads of this process: a process of its own takes longer to start.

    When this returns, it listens. To join the namespaces or to make new ones would need a process with one thread.
    """
    import socket
    import threading

    server = socket.create_server((host, int(port)), backlog=128)

    def accept() -> None:
        while True:
            with contextlib.suppress(OSError):
                # A thread each: a client that does not read holds up no other.
                threading.Thread(target=_send_back, args=server.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _send_back(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"hold": hold, "enter": enter}
    programs[sys.argv[1]](*sys.argv[2:])

"""The kernel's settings for source ports: the ephemeral range, the reserved ports, the per-socket range.

Everything here is read once and remembered, so that a connect does not pay for it. It is read again on request, after a
connect that found no source port (the range may have been changed), and in a forked child, which may move to another
network namespace: on Linux these settings belong to the namespace.
"""

from __future__ import annotations

import _socket
import errno
import socket
import sys
from collections.abc import Callable

from .. import _fork
from ..ports import MAX_PORT, PortRange, PortSet

# To assume if the system does not tell: IANA's dynamic ports (RFC 6335), which macOS and Windows have; Linux's default.
IANA_DYNAMIC_PORTS = PortRange(49152, 65535)
_LINUX_PORTS = PortRange(32768, 60999)

# linux/in.h, Linux 6.3: the socket's own range of source ports, (last << 16 | first) in host order, both included.
IP_LOCAL_PORT_RANGE = 51
# linux/in.h, Linux 4.2: bind((address, 0)) fixes the address only; the port is chosen at connect, knowing the target.
IP_BIND_ADDRESS_NO_PORT = 24

# No descriptor or no memory is left: not an answer to the question that was asked.
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
# What a kernel says that does not know an option, and what the filter of a sandbox (seccomp(2)) says in its place.
_NO_OPTION = (errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS)
_SOME_RANGE = 1 << 16 | 1

_remembered: dict[str, PortSet] = {}
_kept: set[int] = set()  # IP_LOCAL_PORT_RANGE once a socket has given one back
_linear: list[int] = []  # what `linear_timeouts` has read
_listeners: list[Callable[[], None]] = []
# The IPPROTO_IP options that this kernel does not know: elsewhere than on Linux the numbers mean other things.
missing: set[int] = set() if sys.platform == "linux" else {IP_LOCAL_PORT_RANGE, IP_BIND_ADDRESS_NO_PORT}


def ephemeral_ports(*, refresh: bool = False) -> PortRange:
    """The range from which the kernel takes source ports for ``connect()``.

    Linux: ``net.ipv4.ip_local_port_range`` of this process's network namespace (32768-60999 unless changed; it serves
    IPv6 too). macOS and FreeBSD: ``net.inet.ip.portrange.first`` and ``.last``. Windows: ``netsh``'s dynamic ports.
    Where nothing answers: the default, 32768-60999 on Linux, else 49152-65535 (RFC 6335).

    :param refresh: ask the kernel again, and not return its earlier answer.

    >>> ephemeral_ports().first > 0
    True
    """
    return _remember("ephemeral", _read_ephemeral, refresh).ranges[0]


def reserved_ports(*, refresh: bool = False) -> PortSet:
    """The ports that the kernel never chooses by itself; a program may still bind to them.

    Linux: ``net.ipv4.ip_local_reserved_ports``. Windows: ``netsh``'s excluded port ranges. Elsewhere there is no such
    setting and the set is empty.

    :param refresh: ask the kernel again, and not return its earlier answer.

    >>> 0 in reserved_ports()
    False
    """
    return _remember("reserved", _read_reserved, refresh)


def source_ports(*, refresh: bool = False) -> PortSet:
    """Return the ports from which ``connect()`` may choose: the ephemeral ones less the reserved ones."""
    known = _remembered.get("source")
    if known is not None and not refresh:
        return known
    ports = PortSet(ephemeral_ports(refresh=refresh)) - reserved_ports(refresh=refresh)
    if ports != known and {"ephemeral", "reserved"} <= _remembered.keys():
        _remembered["source"] = ports
        _tell()
    return ports


def linear_timeouts() -> int:
    """Return how many SYNs follow another after a second, before the pauses double; 0 if the system does not say so."""
    try:
        _linear[:] = _linear or [int(_read_file("/proc/sys/net/ipv4/tcp_syn_linear_timeouts") or 0)]
    except OSError:  # no descriptor to ask with
        return 0
    return _linear[0]


def is_told() -> bool:
    """Return True if the kernel has told its source ports; without a descriptor to ask with, they are a guess."""
    return "source" in _remembered


@_fork.in_child
def forget() -> None:
    """Forget what was read and which options there are; the next question asks the kernel."""
    _remembered.clear()
    _kept.clear()
    if sys.platform == "linux":
        missing.clear()
    _tell()


def on_change(listener: Callable[[], None]) -> Callable[[], None]:
    """Call the listener whenever the source ports have changed, to drop what it has made of the old ones."""
    _listeners.append(listener)
    return listener


def _tell() -> None:
    for listener in _listeners:
        listener()


def has_port_range() -> bool:
    """Return True if this kernel has IP_LOCAL_PORT_RANGE; a socket is asked only once.

    Sandboxes accept options that they do not have (gVisor, or a filter of system calls), so it has to give the same
    value back.

    :raises OSError: there was no descriptor, or no memory, to ask with.
    """
    if IP_LOCAL_PORT_RANGE in missing:
        return False
    if IP_LOCAL_PORT_RANGE in _kept:
        return True
    probe = _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, _SOME_RANGE)
        if probe.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE) == _SOME_RANGE:
            _kept.add(IP_LOCAL_PORT_RANGE)
            return True
    except OSError as error:
        if error.errno not in _NO_OPTION:
            raise
    finally:
        probe.close()
    missing.add(IP_LOCAL_PORT_RANGE)
    return False


def set_option(sock: socket.socket, name: int, value: int) -> bool:
    """Set an IPPROTO_IP option that this kernel may lack; return False if it could not be set."""
    if name in missing:
        return False
    try:
        sock.setsockopt(0, name, value)
    except OSError as error:
        refused(name, error)
        return False
    return True


def refused(name: int, error: OSError) -> None:
    """Remember that the kernel lacks the option, if the error says so and a second socket agrees.

    The first one may be a mock, or of another tool's class.
    """
    if error.errno not in _NO_OPTION:
        return
    try:
        probe = _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return  # the next connect asks again
    try:
        probe.setsockopt(socket.IPPROTO_IP, name, 0)  # 0 removes the setting, so it changes nothing
    except OSError as again:
        if again.errno in _NO_OPTION:
            missing.add(name)
    finally:
        probe.close()


def _remember(name: str, read: Callable[[], PortSet], refresh: bool) -> PortSet:
    ports = None if refresh else _remembered.get(name)
    if ports is None:
        try:
            ports = _remembered[name] = read()
        except OSError:  # no descriptor to ask with: an earlier answer or a guess, and the next question asks again
            ports = _remembered.get(name)
    if ports is None:
        ports = PortSet(_usual_range()) if name == "ephemeral" else PortSet()
    return ports


def _read_ephemeral() -> PortSet:
    return PortSet(told_range() or _usual_range())


def _usual_range() -> PortRange:
    return _LINUX_PORTS if sys.platform == "linux" else IANA_DYNAMIC_PORTS


def told_range() -> PortRange | None:
    """Read the range of source ports from the system; None if it does not tell.

    :raises OSError: there was no descriptor, or no memory, to ask with.
    """
    if sys.platform == "linux":
        edges = [int(word) for word in _read_file("/proc/sys/net/ipv4/ip_local_port_range").split() if word.isdecimal()]
    else:
        with _fork.imports.lock:
            from . import other_systems

        edges = other_systems.ephemeral_edges()
    if len(edges) == 2 and 0 < edges[0] <= edges[1] <= MAX_PORT:
        return PortRange(edges[0], edges[1])
    return None


def _read_reserved() -> PortSet:
    if sys.platform == "linux":
        return PortSet.parse(_read_file("/proc/sys/net/ipv4/ip_local_reserved_ports"))
    with _fork.imports.lock:
        from . import other_systems

    return PortSet(PortRange(first, last) for first, last in other_systems.reserved_edges())


def _read_file(path: str) -> str:
    """Return the text of a file, empty if there is no such file (an old kernel, or no /proc in a sandbox).

    :raises OSError: there was no descriptor, or no memory, to look.
    """
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib would double the time of the import
            return file.read()
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return ""

"""Connect from the source that the user names, trying one address and port after the other until one is free."""

from __future__ import annotations

import errno
import os
import socket
import sys

from .._sockets import kernel, lifecycle, port_window
from .._sockets.endpoint import written
from ..errors import PortsExhaustedError
from ..ports import PortSet
from . import attempt, port_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..ports import PortRange
    from ..typing import AnyOption, Candidate
    from .settings import Settings
    from .source import Source

    # The address to bind to, and the options to set before; the ports that it offers to the kernel, if any.
    End = tuple[tuple[Any, ...] | None, list[AnyOption], PortRange | None]

# The local address and port are taken: bind() says so, or connect() if they are taken toward this destination only.
_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_REUSE_ADDRESS: AnyOption = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
# How often a search starts anew if the kernel's range changes in the middle of it, or all ranges are ignored.
_LOOKS = port_window.MAX_IGNORED + 1
# netinet/in.h and netinet6/in6.h of macOS: leave by the interface of that number.
_MACOS_BOUND_IF = {socket.AF_INET: (0, 25), socket.AF_INET6: (41, 125)}


def start(settings: Settings, source: Source, candidate: Candidate) -> tuple[socket.socket, int]:
    """Begin to connect from an address and port of the source, without a wait; as `attempt.start_from`.

    :raises PortsExhaustedError: none of them is free toward the target.
    :raises OSError: there is no address of that family (EADDRNOTAVAIL); or the kernel's own.
    """
    ipv6 = candidate[0] == socket.AF_INET6
    if source.pool is None:
        try:
            address = source.address(ipv6=ipv6)
        except LookupError as error:
            raise OSError(errno.EADDRNOTAVAIL, str(error)) from None
        return _from(settings, candidate, address, source.ports)
    full = ""  # why the last one was: as text, for an error would hold this frame
    for host, ports in source.pool.turns(ipv6=ipv6):
        try:
            return _from(settings, candidate, (host, 0), ports)
        except PortsExhaustedError as error:
            source.pool.exhausted(host)
            full = str(error.strerror)
    if not full:
        raise OSError(errno.EADDRNOTAVAIL, f"no source address is of the family of {written(candidate[4])}: {source}")
    raise PortsExhaustedError(errno.EADDRNOTAVAIL, f"{full}; and so for every other address of {source}")


def _from(
    settings: Settings, candidate: Candidate, address: tuple[Any, ...] | None, ports: PortSet | None
) -> tuple[socket.socket, int]:
    if ports is None:
        (place, options, _), *_ = _ends(settings, candidate, address, None)
        return attempt.start_from(candidate, place, (*settings.options, *options), settings.allow_self_connect)
    taken: OSError | None = None  # without a traceback, which would hold this frame
    for _ in range(_LOOKS):
        taken = None
        for place, options, offered in _ends(settings, candidate, address, ports):
            try:
                sock, state = attempt.start_from(
                    candidate,
                    place,
                    (*settings.options, *options),
                    settings.allow_self_connect,
                    explains=False,
                )
            except OSError as error:
                if error.errno not in (*_TAKEN, errno.EACCES):
                    raise
                if taken is None and not lifecycle.has_way(candidate[0], candidate[4], address):
                    raise
                taken = error.with_traceback(None)
                continue
            if offered is None or _port_of(sock) in ports:
                return sock, state
            # The kernel ignores a range with a bound outside of its own, so its own has changed: start anew.
            with sock:
                lifecycle.reset_on_close(sock)
                port_window.missed(sock, port_window.window_of(offered.first, offered.last))
            break
        else:
            break
    try:
        if taken is not None and taken.errno == errno.EACCES:
            raise taken
        raise PortsExhaustedError(errno.EADDRNOTAVAIL, _exhausted(candidate, address, ports))
    finally:
        del taken


def _port_of(sock: socket.socket) -> int:
    try:
        return int(sock.getsockname()[1])
    except BaseException:
        sock.close()
        raise


def _exhausted(candidate: Candidate, address: tuple[Any, ...] | None, ports: PortSet) -> str:
    usable = ports - PortSet([0, candidate[4][1]])
    start = f" from {address[0]}" if address else ""
    if not usable:
        return f"no source port is left{start} toward {written(candidate[4])}: {ports} is the target's own"
    if len(usable) == 1:
        return f"source port {usable}{start} toward {written(candidate[4])} is taken"
    return f"all {len(usable)} source ports of {ports}{start} toward {written(candidate[4])} are taken"


def _ends(
    settings: Settings, candidate: Candidate, address: tuple[Any, ...] | None, ports: PortSet | None
) -> Iterator[End]:
    source = settings.source
    assert source is not None  # noqa: S101 - tells the type checker
    options: list[AnyOption] = _device(source.device, candidate[0])
    if source.share:
        options += _sharing()
    elif ports is not None and sys.platform == "linux":
        # A bound port is then taken toward this destination only, and ports in TIME_WAIT are free.
        options.append(_REUSE_ADDRESS)
    if ports is None:
        yield address, options, None
        return
    # A shared source is bound: the kernel's own choice passes over a port that another socket shares.
    has_ranges = not source.share and kernel.has_port_range()
    kernels = kernel.source_ports() if has_ranges else PortSet()
    for offered in port_order.steps(ports, kernels, candidate[4][1], port_window.draw):
        yield _end(candidate[0], address, offered, options, in_range=has_ranges and offered.first in kernels)


def _end(
    family: int,
    address: tuple[Any, ...] | None,
    offered: PortRange,
    options: list[AnyOption],
    *,
    in_range: bool,
) -> End:
    if in_range:
        value = port_window.packed(offered.first, offered.last)
        return address, [*options, (0, kernel.IP_LOCAL_PORT_RANGE, value)], offered
    if address is None:
        address = ("::", 0) if family == socket.AF_INET6 else ("0.0.0.0", 0)  # noqa: S104 - any address of this host
    return (address[0], offered.first, *address[2:]), options, None


def _sharing() -> list[AnyOption]:
    """Return the flags with which several sockets may have one local address toward different destinations."""
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise OSError(errno.ENOPROTOOPT, f"share_source: {sys.platform} has no safe way to share a source port")
    reuse_port: AnyOption = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Two sockets may share if they have one flag in common (inet_bind_conflict), so with both flags ours may share with
    # those that have either. On BSD SO_REUSEADDR would add nothing, and with port 0 give a port that is in use.
    return [_REUSE_ADDRESS, reuse_port] if sys.platform == "linux" else [reuse_port]


def _device(name: str | None, family: int) -> list[AnyOption]:
    if name is None:
        return []
    if sys.platform == "linux":
        return [(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(name))]
    if sys.platform == "darwin":
        level, number = _MACOS_BOUND_IF[socket.AddressFamily(family)]
        return [(level, number, socket.if_nametoindex(name))]
    raise OSError(errno.ENOPROTOOPT, f"source_address: {sys.platform} cannot bind to an interface by name")

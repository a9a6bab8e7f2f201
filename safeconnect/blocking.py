"""The blocking driver: `create_connection`.

One candidate is one straight line: open, dress, bind, aim, connect, check.
"""

import errno
import os
import socket
from time import monotonic

from ._core import verdict
from ._net import aim, kernel, resolve, sockets
from .errors import PortsExhaustedError, SelfConnectError
from .options import check_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ._net.resolve import Candidate, SockAddr
    from ._net.sockets import SourceAddress
    from .options import Option

    Line = tuple[float | None, SourceAddress | None, tuple[Option, ...], bool]  # what each candidate's line needs

# The standard library's own mark for "use the default timeout": ftplib, http.client and others pass it on.
_DEFAULT_TIMEOUT: "Any" = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001

# How often a connect that met itself is tried again where the kernel chose the source port. Aimed connects never do;
# of the others one in 12,000 does, so 16 in a row mean that there is no other port to be had.
_MEETINGS = 16
_IP_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def create_connection(
    address: "tuple[Any, ...]",
    timeout: "float | None" = _DEFAULT_TIMEOUT,
    source_address: "SourceAddress | None" = None,
    *,
    all_errors: bool = False,
    allow_self_connect: bool = False,
    options: "Iterable[Option]" = (),
) -> socket.socket:
    """Connect to a TCP address and return the socket, which is never connected to itself.

    Takes the place of `socket.create_connection`: same arguments, same results, same errors.

    :param address: ``(host, port)``, or ``(host, port, flowinfo, scope_id)`` for IPv6. The host is a name or a literal
        address, the port a number or a service name. All addresses of a name are tried in the resolver's order.
    :param timeout: seconds that each address is given, and the timeout that the returned socket keeps. None waits as
        long as the kernel does (about two minutes on Linux), 0 makes the socket non-blocking, and left out it is
        `socket.getdefaulttimeout()`. The lookup of a name is not covered.
    :param source_address: the address to connect from; port 0 leaves the port to the kernel.
    :param all_errors: raise an `ExceptionGroup` with one error for each address instead of the most telling one.
    :param allow_self_connect: return a socket that is connected to itself, should that happen.
    :param options: ``(level, name, value)`` tuples as `socket.setsockopt` takes them, set before bind and connect.
    :raises ConnectionRefusedError: nobody listens there. `SelfConnectError`, a subclass, where the only connection to
        be had was to the socket itself.
    :raises TimeoutError: no answer in time.
    :raises PortsExhaustedError: every source port toward the address is taken.
    :raises socket.gaierror: the name could not be looked up.
    :raises OSError: anything else that the kernel says. Notes on the error tell what was tried, from where, what
        happened and after how long.
    :raises ValueError: the address has a wrong length, its port is not 0-65535, or the timeout is negative.
    :raises TypeError: an argument of a wrong type.

    On Linux 6.3 and later a self-connect cannot happen, for the source port is taken from a range that leaves the
    target's port out (``IP_LOCAL_PORT_RANGE``, ip(7)). Everywhere each connection is checked, and one that met itself
    is reset, so that the port is free at once, and tried again.

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     with create_connection(server.getsockname(), timeout=5) as sock:
    ...         sock.getpeername() == server.getsockname()
    True
    """
    if timeout is not _DEFAULT_TIMEOUT and not (isinstance(timeout, (int, float)) and timeout >= 0):
        _check_timeout(timeout)
    if source_address:
        _check_source_address(source_address)
    line = (timeout, source_address, check_options(options) if options else (), allow_self_connect)
    errors: list[OSError] = []
    story: list[str] = []
    try:
        for candidate in resolve.candidates(address):
            began = monotonic()
            try:
                return _connect(candidate, line) or _connect_again(candidate, line)
            except OSError as error:
                errors.append(error)
                story.append(verdict.note(candidate[4], source_address, error, monotonic() - began))
        raise verdict.conclude(errors, story, all_errors)
    finally:
        errors.clear()  # their tracebacks hold this frame, and the frame holds the list: a cycle


def _connect(candidate: "Candidate", line: "Line") -> socket.socket | None:
    """One candidate, one straight line; None where the connection met itself and has been reset."""
    family, kind, proto, _, sockaddr = candidate
    timeout, source_address, options, allow_self_connect = line
    aims = not (options and sockets.set_port_range(options)) and _kernel_chooses(family, source_address)
    sock = socket.socket(family, kind, proto)
    try:
        if timeout is not _DEFAULT_TIMEOUT:
            sock.settimeout(timeout)
        if options or source_address:
            sockets.prepare(sock, options, source_address)
        window = aim.aim(sock, sockaddr[1]) if aims else None
        found_port = True
        try:
            sock.connect(sockaddr)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or not aims:
                raise
            found_port = False
        if not found_port:
            _connect_from_elsewhere(sock, sockaddr, source_address, window is not None)
            window = None
        # Every connect pays for this system call, so the peer's name is asked for only where the ports are the same.
        port = sock.getsockname()[1]
        if window and port not in window:
            aim.missed()
        if port != sockaddr[1] or allow_self_connect or not sockets.is_self_connected(sock):
            return sock
    except BaseException as error:
        met_itself = sockets.is_refused_meeting(sock, sockaddr[1], error)
        sockets.discard(sock)
        if not met_itself:
            raise
        return None
    sockets.reset(sock)
    return None


def _connect_again(candidate: "Candidate", line: "Line") -> socket.socket:
    """Go on after a first connection that met itself, while the kernel may still choose another source port."""
    meetings = _MEETINGS if _kernel_chooses(candidate[0], line[1]) else 1
    for _ in range(meetings - 1):
        sock = _connect(candidate, line)
        if sock is not None:
            return sock
    times = f"{meetings} tries out of {meetings}" if meetings > 1 else "its source address is the target"
    target = verdict.endpoint(candidate[4])
    raise SelfConnectError(
        errno.ECONNREFUSED, f"nobody listens on {target}: the connection met its own socket ({times})"
    )


def _kernel_chooses(family: int, source_address: "SourceAddress | None") -> bool:
    """Whether it is left to the kernel to choose the source port."""
    return not (source_address and source_address[1]) and family in _IP_FAMILIES


def _connect_from_elsewhere(
    sock: socket.socket,
    sockaddr: "SockAddr",
    source_address: "SourceAddress | None",
    aimed: bool,
) -> None:
    """Go on after EADDRNOTAVAIL, with other source ports until there are no others."""
    for _ in aim.widen(sock, sockaddr[1]) if aimed else ():
        try:
            return sock.connect(sockaddr)
        except OSError as again:
            if again.errno != errno.EADDRNOTAVAIL:
                raise
    if sockets.has_way(sock.family, sockaddr, source_address):
        raise PortsExhaustedError(errno.EADDRNOTAVAIL, _exhausted(sockaddr))
    raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _exhausted(sockaddr: "SockAddr") -> str:
    ports = kernel.source_ports(refresh=True)
    count = len(ports) - (sockaddr[1] in ports)
    return (
        f"all {count} source ports toward {verdict.endpoint(sockaddr)} are taken ({ports}); reuse connections, connect "
        "from a further source address, or widen the range (net.ipv4.ip_local_port_range on Linux)"
    )


def _check_timeout(timeout: object) -> None:
    if timeout is None:
        return
    if not isinstance(timeout, (int, float)) and not hasattr(timeout, "__float__"):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:  # type: ignore[operator]  # so that not-a-number fails, too
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout!r}")


def _check_source_address(source_address: object) -> None:
    if not isinstance(source_address, (tuple, list)) or len(source_address) not in (2, 4):
        raise TypeError(f"source_address must be (host, port), not {source_address!r}")

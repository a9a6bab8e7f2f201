"""Hands on one attempt that nobody waits for: begin to connect, and see how it ended."""

import errno
import os
import socket
import sys
from operator import index

from .._core import verdict
from .._core.endpoint import written
from .._fork import imports
from ..errors import PortsExhaustedError
from ..ports import PortSet
from . import aim, kernel, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.endpoint import SockAddr
    from .._core.messages import Candidate
    from ..options import AnyOption
    from ..settings import Settings, SourceAddress

_IP_FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Who is told of so many source ports at most: a client with a range of its own may run out of it as a matter of course,
# and the processes of a busy host take tens of milliseconds to look at.
_FEW_PORTS = 16
_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR)


def kernel_chooses(family: int, source_address: "SourceAddress | None") -> bool:
    """Whether it is left to the kernel to choose the source port."""
    return not (source_address and source_address[1]) and family in _IP_FAMILIES


def at_once(plan: "Settings", candidate: "Candidate") -> "tuple[socket.socket | OSError, bool]":
    """Begin with a candidate before there is a dial: what became of it, and whether it is a connection to be kept."""
    try:
        if plan.source is None and not plan.is_limited:
            sock, is_connected = start_from(candidate, plan.bind_to, plan.options)
        else:
            sock, is_connected = start(plan, candidate)
    except OSError as error:
        return error.with_traceback(None), False  # a value from here on, and a value holds no frames
    try:
        # Every connect pays for this system call, so the peer's name is asked for only where the ports are the same.
        if is_connected and sock.getsockname()[1] == candidate[4][1]:
            is_connected = plan.allow_self_connect or not sockets.is_self_connected(sock)
    except BaseException:
        sockets.discard(sock)
        raise
    return sock, is_connected


def check_limits(plan: "Settings", candidate: "Candidate") -> None:
    """Refuse an address that ``family`` or ``allow`` of the settings leaves out.

    :raises OSError: it is refused: `socket.gaierror`, or `AddressNotAllowedError`.
    """
    with imports.lock:
        from . import admission  # few connects are limited

    admission.check(plan, candidate)


def start(plan: "Settings", candidate: "Candidate") -> tuple[socket.socket, bool]:
    """Open a non-blocking socket and begin to connect it; says whether it is connected already.

    :raises OSError: the kernel's own, also that of a connect that has failed already; the socket is closed then.
    """
    if plan.is_limited:
        check_limits(plan, candidate)
    if plan.source is not None:
        with imports.lock:
            from . import sources  # few connects say more of their source than an address

        return sources.start(plan, plan.source, candidate)
    return start_from(candidate, plan.bind_to, plan.options)


def start_from(
    candidate: "Candidate",
    source_address: "SourceAddress | None",
    options: "Sequence[AnyOption]",
    *,
    explains: bool = True,
) -> tuple[socket.socket, bool]:
    """`start`, from one address. Every asynchronous connect comes by here, so it calls nothing that it need not.

    :raises OSError: as `start`.
    """
    family, kind, proto, _, sockaddr = candidate
    for _ in range(verdict.MEETINGS):
        sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(0)
            aims = family in _IP_FAMILIES
            if options or source_address:
                aims = kernel_chooses(family, source_address)
                aims = sockets.prepare(sock, options, source_address) and aims
            window = aim.aim(sock, sockaddr) if aims else None
            code = sock.connect_ex(sockaddr)
            if code == errno.EADDRNOTAVAIL and aims:
                code = _code_from_elsewhere(sock, sockaddr, source_address, window is not None)
            if code in _UNDER_WAY and sys.platform == "linux":
                # On loopback it is done by now: asking again saves the wait, and 15 of 31 microseconds.
                code = sock.connect_ex(sockaddr)
            return sock, code == 0 or is_done(code)
        except BaseException as error:
            met_itself = sockets.is_refused_meeting(sock, sockaddr[1], error)
            if explains:
                explain(error, sock, source_address, sockaddr)
            sockets.discard(sock)
            if not met_itself:
                raise
    raise verdict.met_itself(sockaddr, verdict.MEETINGS)


def _code_from_elsewhere(
    sock: socket.socket, sockaddr: "SockAddr", source_address: "SourceAddress | None", aimed: bool
) -> int:
    """`connect_from_elsewhere`, for a socket that does not wait: what connect_ex() would have said.

    :raises OSError: as there.
    """
    try:
        connect_from_elsewhere(sock, sockaddr, source_address, aimed)
    except BlockingIOError:
        return errno.EINPROGRESS
    return 0


def is_done(code: int) -> bool:
    """What connect_ex() has said: there is a connection, or not yet.

    :raises OSError: there will be none.
    """
    if code in (0, errno.EISCONN):
        return True
    if code in _UNDER_WAY:
        return False
    raise OSError(code, os.strerror(code))


def explain(
    error: BaseException, sock: socket.socket, source_address: "SourceAddress | None", sockaddr: "SockAddr"
) -> None:
    """Add a note where the user's own source port is what stands in the way."""
    if source_address and source_address[1] and isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        with imports.lock:
            from . import holders  # only on the way to an error

        holders.tell_connection(error, sock, sockaddr)


def taken_ports(plan: "Settings", error: OSError, sockaddr: "SockAddr") -> PortSet | None:
    """The source ports of the user's own that a connect failed over because somebody has them; most often none.

    None also where they are many.
    """
    source = plan.source
    if error.errno not in _TAKEN:
        return None
    if error.errno == errno.EADDRINUSE:
        addresses = source.addresses if source is not None else (plan.bind_to or ("", 0),)
        return PortSet(index(address[1]) for address in addresses if address[1])
    if source is not None and source.ports is not None and isinstance(error, PortsExhaustedError):
        ports = source.ports - PortSet([sockaddr[1]])
        return ports if len(ports) <= _FEW_PORTS else None
    return None


def tell_taken(plan: "Settings", error: BaseException, ports: PortSet) -> None:
    """Add notes on who has these source ports. It looks at all sockets, so it is for the end of a connect, once."""
    with imports.lock:
        from . import holders  # only on the way to an error

    holders.tell_ports(error, ports)
    if plan.source is not None and plan.source.share and plan.source.ports is None:
        places = ", ".join(written(address) for address in plan.source.addresses if address[1] in ports)
        also = ", or set SO_REUSEADDR and not listen" if sys.platform == "linux" else ""
        who = "every other socket there has to set SO_REUSEPORT before bind(), and be of the same user"
        error.add_note(f"share_source: {places} is not shared: {who}{also}")


def names(sock: socket.socket, sockaddr: "SockAddr") -> "tuple[SockAddr, SockAddr]":
    """Both ends of a socket whose connect has ended.

    :raises OSError: what the connect ended with, if not with a connection.
    """
    raise_failure(sock)
    try:
        return sock.getsockname(), sock.getpeername()
    except OSError as error:
        if error.errno not in sockets.NO_PEER:
            raise
        return sock.getsockname(), sockaddr  # it was connected, and the peer has reset it since


def raise_failure(sock: socket.socket) -> None:
    """Raise what a connect has failed with meanwhile, if it has; the kernel tells it once."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def connect_from_elsewhere(
    sock: socket.socket, sockaddr: "SockAddr", source_address: "SourceAddress | None", aimed: bool
) -> None:
    """Go on after EADDRNOTAVAIL, with other source ports until there are no others.

    :raises PortsExhaustedError: there are no others.
    :raises OSError: this host has no address to connect from; or whatever the connect ended with.
    """
    for step, _ in enumerate(aim.widen(sock, sockaddr) if aimed else ()):
        # Most often the next, larger window has a port; if not, see that ports are what is lacking before going on.
        if step == 1 and not sockets.has_way(sock.family, sockaddr, source_address):
            break
        try:
            sock.connect(sockaddr)
        except OSError as again:
            if again.errno == errno.EADDRNOTAVAIL:
                continue
            if again.errno in _UNDER_WAY:
                aim.remember(sock.getsockname()[1], sockaddr)
            raise
        return aim.remember(sock.getsockname()[1], sockaddr)
    if sockets.has_way(sock.family, sockaddr, source_address):
        raise PortsExhaustedError(errno.EADDRNOTAVAIL, _exhausted(sockaddr))
    raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _exhausted(sockaddr: "SockAddr") -> str:
    ports = kernel.source_ports(refresh=True)
    count = len(ports) - (sockaddr[1] in ports)
    which = f"all {count} source ports toward {written(sockaddr)} are taken ({ports})"
    if not count:
        which = f"there is no source port toward {written(sockaddr)}: every port of {kernel.ephemeral_ports()} is "
        which += "reserved or the target's own"
    return (
        f"{which}; reuse connections, connect from a further source address, or widen the range "
        "(net.ipv4.ip_local_port_range on Linux)"
    )

"""One attempt to connect to one address: start it, and see how it has ended.

Blocking and non-blocking connects differ only in how they wait: ``connect()`` waits, ``connect_ex()`` does not.
A wait in ``connect_ex()`` would do as well, but pytest-socket and others replace ``connect()`` alone.
`start_from` runs for every connect, so it makes no call that it can do without.
"""

from __future__ import annotations

import errno
import socket
import sys
from operator import index

from .._fork import imports
from .._sockets import kernel, lifecycle, port_window
from .._sockets.endpoint import written
from .._sockets.lifecycle import DEFAULT_TIMEOUT
from ..errors import PortsExhaustedError
from ..ports import PortSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import SelfConnectError
    from ..typing import AnyOption, Candidate, SockAddr, SourceAddress
    from .settings import Settings

UNDER_WAY, CONNECTED, SELF_CONNECTED = range(3)
# A timeout, known by its identity: the connect goes on by itself, while with another 0 it fails if it would wait.
NO_WAIT = float("0")

# Notes name the holders of at most this many ports: a client may routinely use up a range of its own,
# and looking at the processes of a busy host takes tens of milliseconds.
_FEW_PORTS = 16
_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR)  # EWOULDBLOCK: Winsock


def try_first(settings: Settings, candidate: Candidate) -> tuple[socket.socket | OSError, bool]:
    """Try the first candidate without a state machine, and do not wait.

    :returns: its socket or its error; and True if the socket is connected, and not to itself. Otherwise a dial goes on
        with it, as its ``first``.
    """
    try:
        if settings.is_limited or settings.source is not None:
            sock, state = start(settings, candidate)
        else:  # the same as start(), without a call
            sock, state = start_from(candidate, settings.bind_to, settings.options, settings.allow_self_connect)
    except OSError as error:
        return error.with_traceback(None), False  # without a traceback, it holds no frames
    return sock, state == CONNECTED


def check_limits(settings: Settings, candidate: Candidate) -> None:
    """Refuse an address that the ``family`` or ``allow`` of the settings does not permit.

    :raises OSError: it is refused: `socket.gaierror`, or `AddressNotAllowedError`.
    """
    with imports.lock:
        from . import address_filter  # few connects are limited

    address_filter.check(settings, candidate)


def start(settings: Settings, candidate: Candidate) -> tuple[socket.socket, int]:
    """Begin to connect from where the settings say, without a wait, if they permit the candidate's address.

    :returns: as `start_from`.
    :raises OSError: as `start_from`; or the address is not permitted.
    """
    if settings.is_limited:
        check_limits(settings, candidate)
    if settings.source is not None:
        with imports.lock:
            from . import source_search  # most connects say no more of their source than an address

        return source_search.start(settings, settings.source, candidate)
    return start_from(candidate, settings.bind_to, settings.options, settings.allow_self_connect)


def start_from(  # noqa: C901, PLR0917 - a further call would take 2 % of a connect, keywords 1 %
    candidate: Candidate,
    source_address: SourceAddress | None,
    options: Sequence[AnyOption],
    allow_self_connect: bool,
    timeout: float | None = NO_WAIT,
    goes_on: bool = False,
    *,
    explains: bool = True,
) -> tuple[socket.socket, int]:
    """Open a socket, prepare it, connect it, check it. Every connect goes through here.

    The order matters. Options come first, because some of them decide what bind() and connect() may do. The window of
    source ports is chosen after bind(), and before connect(), which takes a port from it. The check comes last, and
    always: the kernel may lack windows or ignore one, and a source port that the user has given may be the target's.

    There is no instant in which the socket is open and nobody closes it: until it is returned, the ``except`` does.

    :param goes_on: let the connect go on when the timeout has run out, and return the socket.
    :returns: the socket, and UNDER_WAY, CONNECTED or, unless that is allowed, SELF_CONNECTED. Such a socket must go
        to a dial, which resets it, counts it and tries again.
    :raises SelfConnectError: the kernel has refused to connect the socket to itself (macOS).
    :raises OSError: the kernel's own; the socket is closed.
    """
    family, kind, proto, _, sockaddr = candidate
    sock = socket.socket(family, kind, proto)
    try:
        if timeout is not DEFAULT_TIMEOUT:
            sock.settimeout(timeout)
        if options or source_address or family not in lifecycle.IP_FAMILIES:
            window = lifecycle.prepare(sock, family, sockaddr, source_address, options)
        else:
            window = port_window.choose(sock, sockaddr)  # as prepare(), without the call
        code = 0
        try:
            if timeout is not NO_WAIT:
                sock.connect(sockaddr)
            else:
                code = sock.connect_ex(sockaddr)
        except OSError as error:
            code = _code_to_go_on(error, goes_on)  # outside, so that no later error has this one as its context
            if not code or (code == errno.EADDRNOTAVAIL and window is None):
                raise
        if code == errno.EADDRNOTAVAIL and window is not None:
            code = _fall_back(sock, sockaddr, source_address, timeout, has_window=bool(window), goes_on=goes_on)
            window = None
        if code and not _is_connected(sock, sockaddr, code):
            return sock, UNDER_WAY
        # Every connect pays for this system call. The peer's name is asked for only if the ports are equal.
        port = sock.getsockname()[1]
        if window and type(port) is int and not window[1] <= port <= window[2]:  # a mock's port is none
            port_window.missed(sock, window)
        return sock, _check(sock) if port == sockaddr[1] and not allow_self_connect else CONNECTED
    except BaseException as error:
        is_refused = lifecycle.is_refused_self_connect(sock, sockaddr[1], error)
        explain(error, sock, source_address if explains else None, sockaddr)
        lifecycle.discard(sock, error)
        if not is_refused:
            raise
    raise _refused_to_itself(sockaddr)


def _refused_to_itself(sockaddr: SockAddr) -> SelfConnectError:
    with imports.lock:
        from . import connect_error  # for macOS only

    return connect_error.self_connect_error(sockaddr, 1)


def _code_to_go_on(error: OSError, goes_on: bool) -> int:
    """Return the error number of a connect() that is not over: it found no port, or is under way and goes on; or 0."""
    if goes_on and type(error) is TimeoutError and error.errno is None:
        return errno.EINPROGRESS
    return errno.EADDRNOTAVAIL if error.errno == errno.EADDRNOTAVAIL else 0


def _check(sock: socket.socket) -> int:
    """Look at a connection between two equal ports. A self-connected socket is reset from now on, whoever closes it."""
    if not lifecycle.is_self_connected(sock):
        return CONNECTED
    lifecycle.reset_on_close(sock)
    return SELF_CONNECTED


def _is_connected(sock: socket.socket, sockaddr: SockAddr, code: int) -> bool:
    """Return True if the socket is connected, False if the connect is under way, by what connect_ex() has said.

    :raises OSError: the connect has failed.
    """
    if code in _UNDER_WAY and sys.platform == "linux":
        # On loopback it is done by now. Asking again saves the wait: 15 of 31 microseconds.
        code = sock.connect_ex(sockaddr)
    return code == 0 or is_done(code)  # most often without a call


def is_done(code: int) -> bool:
    """Return True if an error code of connect_ex() means connected, False if it means under way.

    :raises OSError: it means that the connect has failed.
    """
    if code in (0, errno.EISCONN):
        return True
    if code in _UNDER_WAY:
        return False
    raise lifecycle.error_of(code)


def explain(
    error: BaseException, sock: socket.socket, source_address: SourceAddress | None, sockaddr: SockAddr
) -> None:
    """Add a note on the connection that is in the way of one from the user's own source port."""
    if source_address and source_address[1] and isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        with imports.lock:
            from .._host import holders  # only on the way to an error

        holders.tell_connection(error, sock, sockaddr)


def taken_ports(settings: Settings, error: OSError, sockaddr: SockAddr) -> PortSet | None:
    """Return the user's own source ports over which a connect failed because they are taken.

    None most often; None, too, if they are many.
    """
    source = settings.source
    if error.errno not in _TAKEN:
        return None
    if error.errno == errno.EADDRINUSE:
        addresses = source.addresses if source is not None else (settings.bind_to or ("", 0),)
        return PortSet(index(address[1]) for address in addresses if address[1])
    if source is not None and source.ports is not None and isinstance(error, PortsExhaustedError):
        ports = source.ports - PortSet([sockaddr[1]])
        return ports if len(ports) <= _FEW_PORTS else None
    return None


def tell_taken(settings: Settings, error: BaseException, ports: PortSet) -> None:
    """Add notes on who has these source ports. It looks at all sockets of the host: call it once, at the end."""
    with imports.lock:
        from .._host import holders  # only on the way to an error

    holders.tell_ports(error, ports)
    source = settings.source
    if source is not None and source.share and source.ports is None:
        places = ", ".join(written(address) for address in source.addresses if address[1] in ports)
        also = ", or set SO_REUSEADDR and not listen" if sys.platform == "linux" else ""
        who = "every other socket there has to set SO_REUSEPORT before bind(), and be of the same user"
        error.add_note(f"share_source: {places} is not shared: {who}{also}")


def names(sock: socket.socket, sockaddr: SockAddr) -> tuple[SockAddr, SockAddr]:
    """Return the local and the peer name of a socket whose connect has ended.

    :raises OSError: the connect has failed.
    """
    raise_failure(sock)
    try:
        return sock.getsockname(), sock.getpeername()
    except OSError as error:
        if error.errno not in lifecycle.NO_PEER:
            raise
        return sock.getsockname(), sockaddr  # it was connected, and the peer has reset it since


def raise_failure(sock: socket.socket) -> None:
    """Raise the error with which a connect has failed meanwhile, if it has. The kernel tells it only once."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise lifecycle.error_of(code)


def _fall_back(
    sock: socket.socket,
    sockaddr: SockAddr,
    source_address: SourceAddress | None,
    timeout: float | None,
    *,
    has_window: bool,
    goes_on: bool,
) -> int:
    """Go on after EADDRNOTAVAIL, with other source ports until there are no others.

    :param timeout: and ``goes_on``, as for `start_from`.
    :returns: 0: it is connected. EINPROGRESS: the connect is under way.
    :raises PortsExhaustedError: there are no others.
    :raises OSError: this host has no address to connect from; or whatever the connect ended with.
    """
    for step, _ in enumerate(port_window.widen(sock, sockaddr) if has_window else ()):
        # Most often the next, larger window has a port. If not, make sure that ports are what is lacking.
        if step == 1 and not lifecycle.has_way(sock.family, sockaddr, source_address):
            break
        code = 0
        try:
            if timeout is not NO_WAIT:
                sock.connect(sockaddr)
            else:
                code = sock.connect_ex(sockaddr)
        except OSError as error:
            code = _code_to_go_on(error, goes_on)
            if not code:
                raise
        if code == 0 or code in _UNDER_WAY:
            port_window.remember(sock.getsockname()[1], sockaddr)
        if code != errno.EADDRNOTAVAIL:
            return code
    if lifecycle.has_way(sock.family, sockaddr, source_address):
        raise PortsExhaustedError(errno.EADDRNOTAVAIL, _exhausted(sockaddr))
    raise lifecycle.error_of(errno.EADDRNOTAVAIL)


def _exhausted(sockaddr: SockAddr) -> str:
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

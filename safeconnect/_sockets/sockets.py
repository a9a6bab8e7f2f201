"""Hands on one socket: open, dress, bind, check, reset. Nothing here waits.

`socket.socket` is looked up at each call, for other tools put their own class there (gevent, pytest-socket, mocks).
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from contextlib import suppress

from .._fork import imports
from . import kernel
from .endpoint import same_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..typing import AnyOption, HasLinger, HasNames, Option, SockAddr, SourceAddress


# The standard library's own mark for "use the default timeout": ftplib, http.client and others pass it on.
DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001

# struct linger holds two ints, on Windows two shorts: on, for 0 seconds.
LINGER_0 = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# getpeername() of a socket that is not connected; macOS says EINVAL once the connection has been reset.
NO_PEER = (errno.ENOTCONN, errno.EINVAL)


def prepare(sock: socket.socket, options: Sequence[AnyOption], source_address: SourceAddress | None) -> bool:
    """What comes before the aim: the options, then the source address. Says whether there may be an aim.

    There is none where the options set a range of source ports of the user's own, which is left as it is.

    :raises OSError: the kernel's own; where an option could not be set, with a note that names it.
    """
    resolved = _as_tuples(options, sock.family)
    _dress(sock, resolved)
    if source_address:
        _bind(sock, source_address)
    return not any(option[:2] == (0, kernel.IP_LOCAL_PORT_RANGE) for option in resolved)


def _as_tuples(options: Sequence[AnyOption], family: int) -> Sequence[Option]:
    for option in options:
        if not isinstance(option, tuple):
            with imports.lock:
                from .set_options import resolve_options  # most connects have no options, or plain ones

            return resolve_options(options, family)
    plain: Any = options
    return plain  # type: ignore[no-any-return]


def _dress(sock: socket.socket, options: Iterable[Option]) -> None:
    setsockopt: Any = sock.setsockopt  # its overloads know three and four arguments, not a tuple of either
    for option in options:
        try:
            setsockopt(*option)
        except (OSError, TypeError, OverflowError) as error:
            error.add_note(f"the socket option {option_name(option)} could not be set")
            raise


def _bind(sock: socket.socket, source_address: SourceAddress) -> None:
    """Bind to the source address; without a port in it, leave the port to connect(), which knows the target."""
    if not source_address[1]:
        kernel.set_option(sock, kernel.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind(_scoped(sock.family, source_address) if _may_have_zone(source_address) else source_address)


def _may_have_zone(source_address: SourceAddress) -> bool:
    return not isinstance(source_address[0], str) or "%" in source_address[0]


def _scoped(family: int, source_address: SourceAddress) -> SourceAddress:
    if family != socket.AF_INET6:
        return source_address
    with imports.lock:
        from .zones import scoped  # at each connect, for an interface may come and go as long as settings live

    found: Any = scoped(source_address)
    return found  # type: ignore[no-any-return]


def handed_over(sock: socket.socket, timeout: float | None) -> socket.socket:
    """The connected socket, with the timeout that its user wants."""
    try:
        sock.settimeout(socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout)
    except BaseException:  # OverflowError: the standard library takes up to 292 years
        sock.close()
        raise
    return sock


def is_self_connected(sock: HasNames) -> bool:
    """Whether the socket is connected to itself: its own address is its peer's.

    Addresses and ports are compared as they are seen from outside: IPv4-mapped IPv6 addresses as IPv4, scope ids only
    for link-local addresses, flow labels never. A socket that is not connected, or no longer, is not self-connected.

    :param sock: any connected socket; asyncio's and trio's will do.
    :raises OSError: the socket is closed (EBADF).

    >>> with socket.socket() as sock:
    ...     sock.bind(("127.0.0.1", 0))
    ...     sock.connect(sock.getsockname())
    ...     is_self_connected(sock)
    True
    """
    try:
        return same_endpoint(sock.getsockname(), sock.getpeername())
    except OSError as error:
        if error.errno in NO_PEER:
            return False
        raise


def is_refused_meeting(sock: socket.socket, target_port: int, error: BaseException) -> bool:
    """Whether connect() failed because the socket would have met itself: macOS says EINVAL then, for IPv4."""
    if sys.platform != "darwin" or not isinstance(error, OSError) or error.errno != errno.EINVAL:
        return False
    try:
        return bool(sock.getsockname()[1] == target_port)
    except OSError:
        return False


def reset(sock: HasLinger) -> None:
    """Close the connection with a RST instead of a FIN and drop what is unsent; nothing stays behind in TIME_WAIT.

    This is the one safe end for a socket connected to itself: closed in the ordinary way it would keep its port in
    TIME_WAIT, and a server could not bind to that port for a minute. Elsewhere it is the rude end: what the peer has
    not read yet may be lost to it, too. `close_gracefully` is the polite one.

    :param sock: any TCP socket; trio's will do. It is closed in any case.
    :raises OSError: it is closed already (EBADF).

    Sets SO_LINGER to 0 seconds (socket(7)).

    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     sock = socket.create_connection(server.getsockname())
    ...     reset(sock)
    ...     with server.accept()[0] as peer:
    ...         peer.recv(1)
    Traceback (most recent call last):
    ConnectionResetError: [Errno 104] Connection reset by peer
    """
    lingers = True
    try:
        linger_not(sock)
        lingers = False
    finally:
        if lingers:  # interrupted, or an error that the second try has as well
            with suppress(OSError):
                linger_not(sock)
        sock.close()


def linger_not(sock: HasLinger) -> None:
    """Let the close that follows be a reset.

    :raises OSError: the socket is closed already (EBADF).
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # macOS: the connection is over, so there is nothing to reset
            raise


def discard(sock: socket.socket) -> None:
    """Close a socket whose connect failed or was broken off, with a reset where it has met itself meanwhile."""
    try:
        if is_self_connected(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError:
        return  # a class of another tool has closed it already; what counts is the error of the connect
    finally:
        sock.close()


def has_way(family: int, sockaddr: SockAddr, source_address: SourceAddress | None) -> bool:
    """Whether this host has an address to connect from at all.

    EADDRNOTAVAIL has two causes: no source port is left, or no address to use (IPv6 is off, say). UDP tells them apart:
    its connect() chooses route and source address in the same way, sends nothing, and has ports of its own.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if source_address:
                place: Any = (source_address[0], 0, *source_address[2:])
                probe.bind(_scoped(family, place))
            probe.connect(sockaddr)
    except OSError as error:
        # Anything else (no descriptor left, no UDP port left) is no answer to the question.
        return error.errno != errno.EADDRNOTAVAIL
    return True


# Which constants of the socket module name the options of a level, and which of them are something else.
_OPTION_PREFIXES = {"SOL_SOCKET": "SO_", "IPPROTO_TCP": "TCP_", "IPPROTO_IP": "IP_", "IPPROTO_IPV6": "IPV6_"}
_NO_OPTIONS = ("SO_J1939_", "SO_VM_SOCKETS_", "IP_DEFAULT_", "IP_MAX_")


def option_name(option: Option) -> str:
    """The option as the manual pages write it: ``(IPPROTO_TCP, TCP_NODELAY, 1)``."""
    levels = (level for level in _OPTION_PREFIXES if getattr(socket, level, None) == option[0])
    level = next(levels, repr(option[0]))
    prefix = _OPTION_PREFIXES.get(level, "?")
    candidates = (name for name in dir(socket) if name.startswith(prefix) and not name.startswith(_NO_OPTIONS))
    names = (name for name in candidates if getattr(socket, name) == option[1])
    return f"({', '.join([level, next(names, repr(option[1])), *map(repr, option[2:])])})"

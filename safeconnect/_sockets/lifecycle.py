"""One socket from its first option to its end: prepare it, check it, hand it over, reset it. Nothing here waits.

`socket.socket` is looked up at each call, because other tools replace it (gevent, pytest-socket, mocks).
"""

from __future__ import annotations

import errno
import os
import socket
import sys

from .._fork import imports
from .._lazy import typing as t
from . import kernel, port_window
from .endpoint import same_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import AnyOption, HasLinger, Option, SockAddr, SourceAddress


# The standard library's own mark for "use the default timeout": ftplib, http.client and others pass it on.
DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001

# struct linger holds two ints, on Windows two shorts: on, for 0 seconds. (The module struct takes long to import.)
_SIZE = 2 if sys.platform == "win32" else 4
LINGER_0 = (1).to_bytes(_SIZE, sys.byteorder) + bytes(_SIZE)

IP_FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))  # compared at every connect: enumerations take longer

# getpeername() of a socket that is not connected; macOS says EINVAL once the connection has been reset.
NO_PEER = (errno.ENOTCONN, errno.EINVAL)


def prepare(
    sock: socket.socket,
    family: int,
    sockaddr: SockAddr,
    source_address: SourceAddress | None,
    options: Sequence[AnyOption],
) -> port_window.Window | port_window.NoWindow | None:
    """Set the options, bind, choose the window of source ports: what comes before every connect, in this order.

    :returns: the window, or ANY_PORT where the kernel chooses without one. None where the choice is not the kernel's:
        the source address has a port, or the options set a range of the user's own, which is left as it is.
    :raises OSError: the kernel's own; where an option could not be set, with a note that names it.
    """
    if options or source_address:
        resolved = set_options(sock, options)
        is_fixed = source_address is not None and _bind(sock, family, source_address)
        if source_address and source_address[1]:
            return None
        if any(option[:2] == (0, kernel.IP_LOCAL_PORT_RANGE) for option in resolved):
            return None
        if is_fixed:
            return port_window.ANY_PORT
    return port_window.choose(sock, sockaddr) if family in IP_FAMILIES else None


def set_options(sock: socket.socket, options: Sequence[AnyOption]) -> Sequence[Option]:
    """Set the options in their order, and return them as `socket.socket.setsockopt` takes them.

    :raises OSError: the kernel's own, with a note that names the option.
    """
    resolved = _as_tuples(options, sock.family)
    setsockopt: Any = sock.setsockopt  # its overloads know three and four arguments, not a tuple of either
    for option in resolved:
        try:
            setsockopt(*option)
        except (OSError, TypeError, OverflowError) as error:
            with imports.lock:
                from .option_numbers import option_name  # only on the way to an error

            error.add_note(f"the socket option {option_name(option)} could not be set")
            raise
    return resolved


def _as_tuples(options: Sequence[AnyOption], family: int) -> Sequence[Option]:
    for option in options:
        if not isinstance(option, tuple):
            with imports.lock:
                from .option_numbers import resolve_options  # most connects have no options, or plain ones

            return resolve_options(options, family)
    plain: Any = options
    return plain  # type: ignore[no-any-return]


def _bind(sock: socket.socket, family: int, source_address: SourceAddress) -> bool:
    """Bind to the source address; without a port in it, leave the port to connect(), which knows the target.

    :returns: True if the port is fixed from here on: it was given, or the kernel cannot leave it to connect().
    """
    is_open = not source_address[1] and kernel.set_option(sock, kernel.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind(scoped(family, source_address))
    return not is_open


def error_of(code: int) -> OSError:
    """Return the error for a number of connect_ex() or SO_ERROR. By Winsock's, Python finds errno: 13 for 10013."""
    text: str = getattr(socket, "errorTab", {}).get(code) or os.strerror(code)
    return OSError(code, text, None, code) if sys.platform == "win32" else OSError(code, text)


def scoped(family: int, sockaddr: SockAddr) -> SockAddr:
    """Return the address with the zone of its text as its scope id, or the address itself if it has no zone.

    Asked at each connect, for an interface may come and go as long as settings live.

    :raises OSError: ENODEV: this host has no interface of that name.
    """
    host = sockaddr[0]
    if family != socket.AF_INET6 or (isinstance(host, str) and "%" not in host):
        return sockaddr
    with imports.lock:
        from . import zones  # few addresses have a zone, and getaddrinfo() puts it into the scope id itself

    return zones.scoped(sockaddr)


def handed_over(sock: socket.socket, timeout: float | None) -> socket.socket:
    """Return the connected socket with the timeout that its user wants."""
    try:
        sock.settimeout(socket.getdefaulttimeout() if timeout is DEFAULT_TIMEOUT else timeout)
    except BaseException:  # OverflowError: the standard library takes up to 292 years
        sock.close()
        raise
    return sock


def is_self_connected(sock: t.HasNames) -> bool:
    """Return True if the socket is connected to itself: its own address is its peer's.

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


def is_refused_self_connect(sock: socket.socket, target_port: int, error: BaseException) -> bool:
    """Return True if connect() failed as the socket would be self-connected: EINVAL in macOS's tcp_connect(), IPv4."""
    if sys.platform != "darwin" or not isinstance(error, OSError) or error.errno != errno.EINVAL:
        return False
    try:
        return bool(sock.getsockname()[1] == target_port)
    except OSError:
        return False


def reset(sock: t.HasLinger) -> None:
    """Close the connection with a RST instead of a FIN and drop what is unsent; nothing stays behind in TIME_WAIT.

    This is the only safe end for a self-connected socket: closed in the ordinary way it would keep its port in
    TIME_WAIT, and a server could not bind to that port for a minute. For other sockets it is abrupt: what the peer has
    not read yet may be lost. `close_gracefully` ends a connection in order.

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
        reset_on_close(sock)
        lingers = False
    finally:
        if lingers:  # interrupted, or an error, which is raised again
            try:  # noqa: SIM105 - contextlib takes half a millisecond to import
                reset_on_close(sock)
            except OSError:
                pass  # the first error is the one to raise
        sock.close()


def reset_on_close(sock: HasLinger) -> None:
    """Make the next close() send a RST.

    :raises OSError: the socket is closed already (EBADF).
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # macOS: the connection is over, so there is nothing to reset
            raise


def discard(sock: socket.socket, error: BaseException | None = None) -> None:
    """Close a socket whose connect failed or was broken off, with a reset if it is self-connected by now.

    :param error: what it failed with; a socket that was refused is not connected to anything.
    """
    try:
        if type(error) is not ConnectionRefusedError and is_self_connected(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError:
        return  # another tool has closed it already; the error of the connect is the one to raise
    finally:
        sock.close()


def has_way(family: int, sockaddr: SockAddr, source_address: SourceAddress | None) -> bool:
    """Return True if this host has an address to connect from at all.

    EADDRNOTAVAIL has two causes: no source port is left, or no address to use (IPv6 is off, say). UDP tells them apart:
    its connect() chooses route and source address in the same way, sends nothing, and has ports of its own.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if source_address:
                probe.bind(scoped(family, (source_address[0], 0, *source_address[2:])))
            probe.connect(sockaddr)
    except OSError as error:
        # Anything else (no descriptor left, no UDP port left) does not answer the question.
        return error.errno != errno.EADDRNOTAVAIL
    return True

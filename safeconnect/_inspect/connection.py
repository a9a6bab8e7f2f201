"""Questions about one connection: what the kernel says of it, and what the other side has done. Nothing here waits."""

from __future__ import annotations

import errno
import select
import socket
import sys

from .._fork import imports
from .._lazy import typing as t
from .._sockets.lifecycle import error_of
from . import tcp_info as _parse
from .tcp_info import RETRIES, RTO_MAX, DetectionTime, TcpInfo, predict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import HasFileno, HasNumbers, HasOptions

# TCP_INFO of linux/tcp.h, TCP_CONNECTION_INFO of macOS's netinet/tcp.h. Elsewhere the numbers mean other things, or, as
# FreeBSD's TCP_INFO, fill in another struct.
_OPTIONS = {"linux": 11, "darwin": 0x106}

# More than is read of either struct; an older kernel returns less.
_SIZE = 256

# linux/tcp.h, Linux 6.15: the longest pause between retransmissions. Python's socket module does not name it.
_TCP_RTO_MAX_MS = 44
_UNKNOWN_OPTION = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)

_RETRIES_PATH = "/proc/sys/net/ipv4/tcp_retries2"

# poll(2): Linux 2.6.17 and FreeBSD 13 tell of a FIN even while there is data before it; POLLHUP and POLLERR, of a
# reset, are told without being asked for.
_RDHUP = getattr(select, "POLLRDHUP", 0)
_READABLE = 1  # POLLIN, the lowest bit everywhere; urgent data and ends have higher ones


def tcp_info(sock: t.HasOptions) -> TcpInfo:
    """Ask the kernel about a connection: round-trip time, retransmissions, bytes, and its state.

    :param sock: a TCP socket in any state and mode; asyncio's and trio's will do.
    :returns: a `TcpInfo`, times in seconds; None for what this kernel does not tell.
    :raises OSError: this platform does not tell (EOPNOTSUPP), as on Windows and the BSDs. Or the kernel's
        own: the socket is closed on this side (EBADF), or not TCP (EOPNOTSUPP).

    Reads TCP_INFO (tcp(7), linux/tcp.h, Linux 2.4; `TcpInfo` says what came later); on macOS TCP_CONNECTION_INFO
    (netinet/tcp.h), which tells less, and times in milliseconds.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     tcp_info(sock).rtt < 1.0
    True
    """
    raw = _ask(sock, _SIZE)
    return _parse.macos(raw) if sys.platform == "darwin" else _parse.linux(raw)


def tcp_state(sock: t.HasOptions) -> str:
    """Return the state of a TCP socket by its name in RFC 9293, with underscores: ``"ESTABLISHED"``, ``"CLOSE_WAIT"``.

    ``"CLOSED"`` before a connect as well as after a reset, and on Linux in TIME_WAIT. ESTABLISHED means that the
    peer has sent no sign of an end, not that it is still there: see `KeepAlive` and `detection_time`.

    :param sock: a TCP socket in any state and mode; asyncio's and trio's will do.
    :returns: one of CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING,
        LAST_ACK, TIME_WAIT.
    :raises OSError: as for `tcp_info`.

    Reads the first byte of TCP_INFO (tcp(7), Linux 2.4), on macOS of TCP_CONNECTION_INFO.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     tcp_state(server), tcp_state(sock)
    ('LISTEN', 'ESTABLISHED')
    """
    raw = _ask(sock, 1)
    return _parse.macos_state(raw) if sys.platform == "darwin" else _parse.linux_state(raw)


def _ask(sock: HasOptions, size: int) -> bytes:
    """Return the first bytes of this platform's struct."""
    option = _OPTIONS.get(sys.platform)
    if option is None:
        raise OSError(errno.EOPNOTSUPP, f"the state of a TCP connection cannot be asked for on {sys.platform}")
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, option, size)
    except OSError as error:
        if sys.platform == "darwin" and error.errno == errno.ECONNRESET:
            return b"\0"  # CLOSED: macOS keeps nothing of a connection that is over (tcp_usrreq.c, tcp_ctloutput)
        raise


def detection_time(sock: t.HasNumbers) -> DetectionTime:
    """Say after how long this connection notices that its peer has vanished, by what is set on the socket.

    Vanished means that nothing comes any more, neither data nor a FIN nor a RST: power cut, cable, a firewall that
    forgot. Nothing is sent to find out. Nothing set, `math.inf` while idle: it is never noticed. `KeepAlive` and
    `UserTimeout` change that.

    The kernel's timers are never early, and late by up to an eighth. ``in_flight`` counts from the first
    retransmission, which follows the data by one or two retransmission timeouts: 0.4 s on a fast network (`TcpInfo` has
    ``rto``). Without a user timeout it is a least time: Linux gives up at the first retransmission after it, and where
    ``net.ipv4.tcp_retries2`` allows few of them that may take twice as long. A machine whose own cable is pulled may
    notice half a second sooner, or a second later: what it could not send itself it tries again soon, and it does not
    count.

    :param sock: a TCP socket, connected or not; asyncio's and trio's will do.
    :returns: ``idle`` and ``in_flight`` in seconds. ``in_flight`` is None on macOS and Windows, which have no
        TCP_USER_TIMEOUT and do not say how long they retransmit (minutes).
    :raises OSError: the socket is closed (EBADF) or not TCP (EOPNOTSUPP); ENOPROTOOPT: the platform has no keepalive
        times.

    Reads SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT, TCP_RTO_MAX_MS (tcp(7), Linux 6.15)
    and ``net.ipv4.tcp_retries2`` of this process's network namespace.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     detection_time(sock).idle
    inf
    """
    with imports.lock:
        from .._sockets.option_numbers import resolve_options
        from ..options import KeepAlive  # few have a reason to ask

    # Read what KeepAlive sets, in this platform's numbers; the user timeout comes last, where there is one.
    options = resolve_options([KeepAlive(1, 1, 1, user_timeout=1)], socket.AF_INET)
    switched_on, *values = (sock.getsockopt(level, number) for level, number, *_ in options)
    idle, interval, count, *user_timeouts = values
    return predict(
        (idle, interval, count) if switched_on else None,
        user_timeouts[0] if user_timeouts else None,
        _retries(),
        _rto_max(sock),
    )


def _rto_max(sock: HasNumbers) -> int:
    """Return the most milliseconds between two retransmissions."""
    if sys.platform != "linux":
        return RTO_MAX  # elsewhere the number means other things
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)
    except OSError as error:
        if error.errno not in _UNKNOWN_OPTION:
            raise
        return RTO_MAX


def _retries() -> int:
    """Return how many retransmissions there are; the default if there is no /proc."""
    try:
        with open(_RETRIES_PATH, encoding="ascii") as file:  # noqa: PTH123 - as in _sockets.kernel
            return int(file.read())
    except (OSError, ValueError):
        return RETRIES


def peer_closed(sock: t.HasFileno) -> bool:
    """Return True if the other side has closed the connection, in order or with a reset. Reads nothing, never waits.

    Pools ask this before they use a connection again. False means that no such sign has arrived: a peer that vanished
    sends none (see `KeepAlive`). Data that has arrived before the end can still be read; `unread_bytes` tells of it.
    Elsewhere than on Linux and FreeBSD the end of a connection shows only when all data before it has been read.

    :param sock: any TCP socket, in any mode; asyncio's and trio's will do. One that is not connected counts as closed.
    :raises OSError: the socket is closed on this side (EBADF).

    Uses POLLRDHUP (poll(2), Linux 2.6.17) where there is, else MSG_PEEK.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     peer = server.accept()[0]
    ...     before = peer_closed(sock)
    ...     peer.close()
    ...     before, peer_closed(sock)
    (False, True)
    """
    number = _open(sock)
    events = _events(number)
    # Readable alone may be the end as well: without POLLRDHUP, and under gevent and eventlet, there is no other sign.
    return events > _READABLE or (events > 0 and not _peek(sock))


def is_quiet(sock: HasFileno) -> bool:
    """Return True if nothing has come from the other side: neither data, nor an end."""
    return not _events(_open(sock))


def unread_bytes(sock: t.HasFileno) -> int:
    """Count the bytes that have arrived and are unread, for TLS still encrypted. Reads nothing, and does not wait.

    On Windows at most 65536 are counted.

    :param sock: as for `peer_closed`.
    :returns: the number; 0 also if the connection has ended and all has been read.
    :raises OSError: the socket is closed on this side (EBADF), or listens (EINVAL).

    Uses FIONREAD (ioctl; SIOCINQ in tcp(7)).

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     with server.accept()[0] as peer:
    ...         _ = peer.send(b"hello"), select.select([sock], [], [])
    ...         unread_bytes(sock)
    5
    """
    number = _open(sock)
    if sys.platform == "win32":
        return len(_peek(sock, 2**16)) if _events(number) else 0
    with imports.lock:
        import fcntl  # neither of them exists on Windows
        import termios

    return int.from_bytes(fcntl.ioctl(number, termios.FIONREAD, bytes(4)), sys.byteorder)


def has_unacknowledged(sock: Any) -> bool:
    """Return True while the peer's system has not acknowledged all that was sent, FIN included; Linux only.

    :raises OSError: it never will: the connection has been reset, or given up.
    """
    if sys.platform != "linux":
        return False
    with imports.lock:
        import fcntl
        import termios

    if not any(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))):  # SIOCOUTQ, tcp(7)
        return False
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code or tcp_state(sock) == "CLOSED":  # the kernel may have told the error to another caller
        raise error_of(code or errno.ECONNRESET)
    return True


def _open(sock: HasFileno) -> int:
    number = sock.fileno()
    if number < 0:
        raise error_of(errno.EBADF)
    return number


def _events(number: int) -> int:
    """Return the events of the socket as poll(2) does: 0, _READABLE, or more than that for an end."""
    # Winsock: data, a FIN and a reset each make a socket readable (select(), Windows Sockets 2).
    if sys.platform == "win32" or not hasattr(select, "poll"):  # eventlet takes it away
        return _READABLE * bool(select.select([number], [], [], 0)[0])
    watched = select.poll()
    watched.register(number, _RDHUP | select.POLLIN)
    found = watched.poll(0)
    return found[0][1] if found else 0


def _peek(sock: HasFileno, size: int = 1) -> bytes:
    """Return unread data, b"" at the end of the connection. Call it only if there is one of them."""
    if isinstance(sock, socket.socket):
        return _peeked(sock, size)
    borrowed = socket.socket(fileno=sock.fileno())
    try:
        return _peeked(borrowed, size)
    finally:
        borrowed.detach()


def _peeked(sock: socket.socket, size: int) -> bytes:
    try:
        # The plain class's: TLS sockets refuse MSG_PEEK.
        return socket.socket.recv(sock, size, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0))
    except BlockingIOError:
        return b"?"  # nothing after all: urgent data, for example
    except OSError:
        return b""  # reset

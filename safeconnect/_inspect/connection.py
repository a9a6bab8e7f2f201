"""The kernel's view of one connection, and after how long it notices that the peer has vanished."""

from __future__ import annotations

import errno
import socket
import sys

from .._lazy import typing as t
from .._sockets.set_options import resolve_options
from ..options import KeepAlive
from . import tcp_info as _parse
from .detection_time import RETRIES, RTO_MAX, DetectionTime, predict
from .tcp_info import TcpInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import HasNumbers, HasOptions

# TCP_INFO of linux/tcp.h, TCP_CONNECTION_INFO of macOS's netinet/tcp.h. Elsewhere the numbers mean other things, or, as
# FreeBSD's TCP_INFO, fill in another struct.
_OPTIONS = {"linux": 11, "darwin": 0x106}

# More than is read of either struct; an older kernel returns less.
_SIZE = 256

# linux/tcp.h, Linux 6.15: the longest pause between retransmissions. Python's socket module does not name it.
_TCP_RTO_MAX_MS = 44
_UNKNOWN_OPTION = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)

_RETRIES_PATH = "/proc/sys/net/ipv4/tcp_retries2"


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

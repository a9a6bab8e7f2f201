"""How soon a peer that has vanished is noticed, by what is set on a socket."""

import errno
import socket
import sys

from .._sockets.set_options import resolve_options
from ..keepalive import KeepAlive
from .detection_time import RETRIES, RTO_MAX, predict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .detection_time import DetectionTime

    class HasOptions(Protocol):
        """A socket of any library."""

        def getsockopt(self, level: int, optname: int, /) -> int: ...


# linux/tcp.h, Linux 6.15: the longest pause between retransmissions. Python's socket module does not name it.
_TCP_RTO_MAX_MS = 44
_UNKNOWN_OPTION = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)

_RETRIES_PATH = "/proc/sys/net/ipv4/tcp_retries2"


def detection_time(sock: "HasOptions") -> "DetectionTime":
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


def _rto_max(sock: "HasOptions") -> int:
    """Milliseconds between two retransmissions at most."""
    if sys.platform != "linux":
        return RTO_MAX  # elsewhere the number means other things
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)
    except OSError as error:
        if error.errno not in _UNKNOWN_OPTION:
            raise
        return RTO_MAX


def _retries() -> int:
    """How many retransmissions there are, the default where there is no /proc."""
    try:
        with open(_RETRIES_PATH, encoding="ascii") as file:  # noqa: PTH123 - as in _net.kernel
            return int(file.read())
    except (OSError, ValueError):
        return RETRIES

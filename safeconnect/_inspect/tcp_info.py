"""What the kernel knows of a connection: its state, its round-trip time, what is under way."""

import errno
import socket
import sys

from . import tcp_info_values as _parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .tcp_info_values import TcpInfo

    class HasOptions(Protocol):
        """A socket of any library."""

        def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


# TCP_INFO of linux/tcp.h, TCP_CONNECTION_INFO of macOS's netinet/tcp.h. Elsewhere the numbers mean other things, or, as
# FreeBSD's TCP_INFO, fill in another struct.
_OPTIONS = {"linux": 11, "darwin": 0x106}

# More than what is read of either struct; a kernel with less to say says less.
_SIZE = 256


def tcp_info(sock: "HasOptions") -> "TcpInfo":
    """Ask the kernel what it knows of a connection: round-trip time, retransmissions, bytes, and its state.

    :param sock: a TCP socket in any state and mode; asyncio's and trio's will do.
    :returns: a `TcpInfo`, times in seconds. What this kernel does not tell is None.
    :raises OSError: there is no such thing on this platform (EOPNOTSUPP), as on Windows and the BSDs. Or the kernel's
        own: the socket is closed on this side (EBADF), or not TCP (EOPNOTSUPP).

    Reads TCP_INFO (tcp(7), linux/tcp.h, Linux 2.4; `TcpInfo` says what came later); on macOS TCP_CONNECTION_INFO
    (netinet/tcp.h), which tells less, and times in milliseconds.

    >>> with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
    ...     tcp_info(sock).rtt < 1.0
    True
    """
    raw = _ask(sock, _SIZE)
    return _parse.macos(raw) if sys.platform == "darwin" else _parse.linux(raw)


def tcp_state(sock: "HasOptions") -> str:
    """The state of a TCP socket alone, by its name in RFC 9293 with underscores: ``"ESTABLISHED"``, ``"CLOSE_WAIT"``.

    ``"CLOSED"`` before a connect as well as after a reset, and on Linux in TIME_WAIT. ESTABLISHED means that nothing to
    the contrary has come from the peer, not that it is still there: see `KeepAlive` and `detection_time`.

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


def _ask(sock: "HasOptions", size: int) -> bytes:
    """The first bytes of this platform's struct."""
    option = _OPTIONS.get(sys.platform)
    if option is None:
        raise OSError(errno.EOPNOTSUPP, f"the state of a TCP connection cannot be asked for on {sys.platform}")
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, option, size)
    except OSError as error:
        if sys.platform == "darwin" and error.errno == errno.ECONNRESET:
            return b"\0"  # CLOSED: macOS keeps nothing of a connection that is over (tcp_usrreq.c, tcp_ctloutput)
        raise

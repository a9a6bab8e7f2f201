"""`self_connecting`: an address where the next connect of this process meets itself, every time."""

from __future__ import annotations

import errno
import socket

from .._local.binding import reserve_port
from .._sockets import kernel, port_window
from .._sockets.sockets import is_self_connected
from . import _connects
from ._server import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SelfConnecting(Fault):
    """An address where nobody listens and every connect meets itself. ``meetings`` counts them."""

    def __init__(self, address: tuple[Any, ...], family: int) -> None:
        super().__init__(address, family)
        self.meetings = 0
        self._is_over = False
        _connects.add(self)

    def close(self) -> None:
        """Let connects go their own ways again."""
        if not self._is_over:
            self._is_over = True
            _connects.remove(self)

    def before(self, sock: socket.socket, address: Any) -> None:
        """Aim a connect to this address at itself."""
        if self._is_meant(address) and not sock.getsockname()[1]:  # else it is bound, or this is its second call
            self._aim_at_itself(sock)

    def after(self, sock: socket.socket, address: Any) -> None:
        """Count the meetings."""
        if self._is_meant(address) and sock.fileno() >= 0 and is_self_connected(sock):
            self.meetings += 1

    def _is_meant(self, address: Any) -> bool:
        return isinstance(address, tuple) and address[:2] == self.address[:2]

    def _aim_at_itself(self, sock: socket.socket) -> None:
        if self.port in kernel.source_ports() and kernel.set_option(
            sock, kernel.IP_LOCAL_PORT_RANGE, port_window.packed(self.port, self.port)
        ):
            return
        try:
            sock.bind(self.address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # another connection meets itself there at this moment
                raise


def self_connecting(*, host: str = "127.0.0.1", port: int = 0) -> SelfConnecting:
    """An address where nobody listens, and where the next connect of this process meets itself, for certain.

    In life that happens once in about 14,000 tries (see ``docs/self-connect.md``). Here every `socket.socket` of this
    process that connects to the address is given its port as source port: by the range of source ports where the
    kernel has one for each socket (Linux 6.3), else by ``bind``. So asyncio, trio and all that is built on
    `socket.socket` meets itself; uvloop's transports and other processes do not: for these see `exposed_host`.

    :param host: an address of this host's.
    :param port: 0, the default: any free one.
    :raises OSError: the port is taken, or there is no such address here.

    >>> from safeconnect import reset
    >>> with self_connecting() as fault:
    ...     sock = socket.create_connection(fault.address)
    ...     sock.getsockname() == sock.getpeername()
    ...     reset(sock)
    True
    """
    # A port that is held cannot be a source port, so it is given back at once.
    with reserve_port(host, port) as reserved:
        address, family = reserved.address, reserved.socket.family
    return SelfConnecting(address, family)

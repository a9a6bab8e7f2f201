"""trio with sockets that cannot connect to themselves: a factory for all sockets of a run.

This works at the level of options, for libraries that call `trio.open_tcp_stream` or `trio.socket` themselves. If you
make the connections yourself, use `safeconnect.trio`, which has the whole safe connect.
"""

from __future__ import annotations

import socket

from .._sockets.lifecycle import IP_FAMILIES
from . import _common, socket_options

with _common.needed(__name__, "trio", "0.25"):
    import trio


class SocketFactory(trio.abc.SocketFactory):
    """A factory of trio's sockets that gives TCP sockets the options that prevent self-connects to one target port.

    It does not affect sockets that are bound to a port, such as those of servers, or sockets of other kinds. It
    detects, retries and races nothing.

    :param port: the target's port, 1 to 65535. Sockets may connect to other ports as well, but self-connects are
        prevented to this one only. `safeconnect.integrations.socket_options` says what that costs.
    :raises TypeError: the port is not an int.
    :raises ValueError: the port is not 1-65535.

    >>> async def main():
    ...     trio.socket.set_custom_socket_factory(SocketFactory(40000))
    ...     with trio.socket.socket() as sock:
    ...         return sock.family.name
    >>> trio.run(main)
    'AF_INET'
    """

    def __init__(self, port: int) -> None:
        socket_options(port)  # to reject a wrong port here, not at the first connect
        self.port = port

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - trio's name
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Make a socket; called by trio.

        :raises OSError: the socket could not be opened, or an option not set; then it is closed.
        """
        sock = socket.socket(family, type, proto)
        try:
            if family in IP_FAMILIES and sock.type == socket.SOCK_STREAM:
                for option in socket_options(self.port):
                    sock.setsockopt(*option)
            return trio.socket.from_stdlib_socket(sock)
        except BaseException:
            sock.close()
            raise

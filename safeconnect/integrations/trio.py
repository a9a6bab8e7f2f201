"""trio with sockets that cannot connect to themselves: a factory for all sockets of a run.

This is the level of options, for libraries that call `trio.open_tcp_stream` or `trio.socket` themselves. Where you make
the connections yourself, `safeconnect.trio` gives the whole safe connect.
"""

from __future__ import annotations

import socket

from . import _joint, socket_options

try:
    import trio
except ImportError as error:
    raise _joint.missing(__name__, "trio", "0.25") from error

# Those that connect by TCP and get their source port from the kernel.
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class SocketFactory(trio.abc.SocketFactory):
    """Makes trio's sockets, those for TCP with the options that prevent self-connects toward one target port.

    Sockets that are bound to a port of their own, as those of servers, are not affected, nor are those of other kinds.
    Nothing is detected, retried or raced.

    :param port: the target's port, 1 to 65535. Sockets may connect to other ports as well, but only toward this one is
        the self-connect prevented: as `safeconnect.integrations.socket_options`, which tells what the price is.
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
        socket_options(port)  # a wrong port is told here, not at the first connect
        self.port = port

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - trio's name
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Make a socket; called by trio.

        :raises OSError: the socket could not be opened or dressed; it is closed then.
        """
        sock = socket.socket(family, type, proto)
        try:
            if family in _FAMILIES and sock.type == socket.SOCK_STREAM:
                for option in socket_options(self.port):
                    sock.setsockopt(*option)
            return trio.socket.from_stdlib_socket(sock)
        except BaseException:
            sock.close()
            raise

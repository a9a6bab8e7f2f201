"""Try whether this kernel really keeps self-connects from happening: a sandbox may take the option and ignore it."""

from __future__ import annotations

import socket

from ..ports import PortSet
from . import kernel, lifecycle, port_window

_SECONDS = 1.0


def prevents_self_connects(port: int | None = None) -> bool:
    """Return True if connects to the port, or to any, get a source port from a window that the target is not in.

    It connects once, on loopback. Where there is no loopback, what a socket says of the option has to do.

    :raises OSError: there was no descriptor, or no memory, to ask with.
    """
    if not kernel.has_port_range():
        return False
    if port is not None and not kernel.source_ports(refresh=True) - PortSet([port]):
        return False  # the target is all that there is to connect from
    try:
        return _keeps_to_its_window()
    except OSError as error:
        if error.errno in kernel.SCARCE:
            raise
        return True


def _keeps_to_its_window() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.settimeout(_SECONDS)
        window = port_window.choose(sock, listener.getsockname())
        sock.connect(listener.getsockname())
        lifecycle.reset_on_close(sock)
        if window and not window[1] <= sock.getsockname()[1] <= window[2]:
            port_window.missed(sock, window)
            return False
    return bool(window)

"""Shared by the drivers of `wait_for_port`: the begin, the end of each try, and the looks between two tries."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

from .._fork import imports
from .._sockets import lifecycle, port_window, resolve
from .._sockets.spare_ports import spare_ports
from .policy import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Self

    from .._connect.settings import Settings
    from .._host.sock_diag import ListenerLookup
    from ..typing import HasLinger

    class Probe(HasLinger, Protocol):
        """A socket of any library."""

        def fileno(self) -> int: ...


def begin(now: float, address: tuple[Any, ...], timeout: float | None, **options: Any) -> Waiting:
    """Begin to wait, with the options of `wait_for_port` and ``tell`` of `Waiting`."""
    return Waiting(address, timeout, draw=port_window.chance, spare_ports=spare_ports, now=now, **options)


def prepare(sock: Probe) -> None:
    """Make every close of the connection a reset, also where a check closes it, or wraps it in a socket of its own."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lifecycle.LINGER_0)


def end(sock: Probe) -> None:
    """Reset the connection, unless a check has closed the socket."""
    if sock.fileno() >= 0:
        with suppress(OSError):  # macOS, where the peer has reset it already; it is closed all the same
            lifecycle.reset(sock)


class Watch:
    """The looks of one wait: a context manager. It has the socket that they need, and none before the first look."""

    __slots__ = ("_address", "_listeners", "_settings")

    def __init__(self, address: tuple[Any, ...], settings: Settings) -> None:
        self._address = address
        self._settings = settings
        self._listeners: ListenerLookup | None = None

    def look(self) -> bool | None:
        """Return True if a socket of this host listens at the target; None if that cannot be seen.

        It can on Linux, if the target is an address of this host or localhost.
        """
        try:
            if self._listeners is None:
                self._begin()
            return self._listeners.is_up() if self._listeners else None
        except OSError:
            return None

    def _begin(self) -> None:
        settings = self._settings
        if sys.platform != "linux" or settings.resolver is not None:
            return
        with imports.lock:
            from .._host.sock_diag import ListenerLookup

        candidates = resolve.without_network(self._address, settings.family)
        self._listeners = ListenerLookup(each[4] for each in candidates)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._listeners is not None:
            self._listeners.close()

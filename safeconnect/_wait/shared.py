"""Shared by the drivers of `wait_for_port`: the begin, the end of each try, and the whole wait on an event loop."""

from __future__ import annotations

import inspect
import socket
import sys
from contextlib import suppress

from .._connect.settings import Settings
from .._fork import imports
from .._sockets import lifecycle, port_window, resolve
from .._sockets.spare_ports import spare_ports
from .policy import Greeting, Waiting, probe_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    from .._host.sock_diag import ListenerLookup
    from .._loops import Loop
    from ..typing import HasLinger

    Connect = Callable[[Settings, tuple[Any, ...], float | None], Awaitable[Any]]

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
    """The looks of one wait, and the socket that they need. It has none before the first look."""

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

    def close(self) -> None:
        """Close the socket."""
        if self._listeners is not None:
            self._listeners.close()


async def wait_on(
    loop: Loop, address: tuple[Any, ...], timeout: float | None, connector: Settings | None, **options: Any
) -> None:
    """Wait on an event loop, with the options of `wait_for_port`."""
    waiting = begin(loop.now(), address, timeout, **options)
    await wait(loop, waiting, probe_settings(Settings() if connector is None else connector, gone=options["gone"]))


async def wait(loop: Loop, waiting: Waiting, settings: Settings, connect: Connect | None = None) -> None:
    """Try and pause until a try succeeds.

    :param connect: how to connect; by default the loop's way.
    :raises TimeoutError: none did in time.
    """
    connect = connect or loop.connect
    watch = Watch(waiting.address, settings)
    try:
        while not await _try(loop, waiting, waiting.next_settings(settings), connect):
            await _pause(loop, waiting, watch)
    finally:
        watch.close()


async def _pause(loop: Loop, waiting: Waiting, watch: Watch) -> None:
    """Wait until the next try is to begin."""
    now = loop.now()
    ends = now + waiting.pause(now)
    while (seconds := waiting.until_look(loop.now(), ends)) > 0:
        await loop.sleep(seconds)
        if waiting.looks and waiting.looked(watch.look()):
            return


async def _try(loop: Loop, waiting: Waiting, settings: Settings, connect: Connect) -> bool:
    """Try once; return True when the port is as it should be."""
    timeout = waiting.begin(loop.now())
    try:
        sock = await connect(settings, waiting.address, timeout)
    except (OSError, ExceptionGroup) as error:
        return waiting.failed(error, loop.now())
    try:
        if waiting.check is None:
            return waiting.connected(loop.now())
        prepare(sock)
        deadline = loop.now() + waiting.left(loop.now())
        found, text = await loop.within(deadline, _check(loop, sock, waiting.check))
        return waiting.checked(found, text, loop.now())
    except loop.failures as error:
        return waiting.check_failed(loop.as_os_error(error), loop.now())
    finally:
        end(sock)


async def _check(loop: Loop, sock: Any, check: Any) -> tuple[object, str]:
    """Return the result of the check, and what it says where that is false."""
    if not isinstance(check, bytes):
        found = check(sock)
        return (await found if inspect.isawaitable(found) else found), "the check said no"
    greeting = Greeting(check)
    while greeting.missing:
        greeting.received(await loop.recv(sock, greeting.missing))
    return greeting.is_right, greeting.text

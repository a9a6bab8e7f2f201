"""Connect on asyncio: a first attempt at once, then a race whose sockets the event loop watches."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from contextlib import suppress
from itertools import count

from .._lazy import typing as t
from .._sockets import kernel
from .at_once import begin
from .keywords import chosen
from .shared import Race, won

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import Candidate
    from .settings import Settings
    from .shared import Outcome

# Read now what the first connect needs from files: an event loop should not wait for files. Elsewhere it needs nothing.
if sys.platform == "linux":
    kernel.source_ports()

# A connect on loopback takes about 20 us, a turn through the event loop about 8: another task waits 0.2 ms as a rule.
_TURNS = 8
# How often a loop that cannot watch sockets looks at them: at most 10 ms late.
POLL_SECONDS = 0.01

_starts = count(1)  # its next() is one step, also for threads


async def create_connection(
    address: t.Address,
    timeout: float | None = None,
    **settings: t.Unpack[t.AsyncKeywords],
) -> socket.socket:
    """Connect to a TCP address and return the socket: connected, non-blocking, and never connected to itself.

    :param address: as for `safeconnect.create_connection`: ``(host, port)``, or the four parts of an IPv6 address.
    :param timeout: seconds for the whole call: names, addresses, pauses, retries. None, the default: no limit but the
        kernel's (about two minutes for each address on Linux).
    :param settings: those of a `safeconnect.Connector`, by keyword (``source_address``, ``retry``, ``options``, ...);
        or ``connector``, one that has them all. A ``resolver`` is called in a thread.
    :raises ConnectionRefusedError: nobody listens there. `safeconnect.SelfConnectError`, a subclass, where the only
        connection to be had was to the socket itself.
    :raises TimeoutError: no answer in time.
    :raises safeconnect.PortsExhaustedError: every source port toward the address is taken.
    :raises socket.gaierror: the name could not be looked up; or it has no address of the ``family``.
    :raises safeconnect.AddressNotAllowedError: ``allow`` does not permit the address.
    :raises OSError: anything else that the kernel says. Notes on the error tell what was tried.
    :raises ValueError: the address has a wrong length, its port is not 0-65535, or a time is negative.
    :raises TypeError: an argument of a wrong type.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         with await create_connection(server.getsockname(), timeout=5) as sock:
    ...             return sock.getpeername() == server.getsockname()
    >>> asyncio.run(main())
    True
    """
    checked, timeout = chosen(timeout, settings)
    return await connect(checked, address, timeout)


async def connect(
    settings: Settings,
    address: tuple[Any, ...],
    timeout: float | None,
    candidates: Sequence[Candidate] = (),
) -> socket.socket:
    """Connect by checked settings; the socket is non-blocking. Other tasks run every now and then.

    :param candidates: the addresses of the host, if they have been looked up already.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    if next(_starts) % _TURNS == 0:
        await asyncio.sleep(0)  # here a cancellation has nothing to clean up
    made = begin(AsyncioRace, loop.time, settings, address, timeout, candidates=candidates, began=began)
    return await made.result(loop) if isinstance(made, AsyncioRace) else made


class AsyncioRace(Race):
    """A dial whose sockets the event loop watches, by callbacks: it has no tasks that could be cancelled."""

    _loop: asyncio.AbstractEventLoop
    _woken: asyncio.Future[None] | None = None

    async def result(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Run the race; return its socket, or raise its error."""
        try:
            return won(await self.run(loop))
        finally:
            self.close()

    async def run(self, loop: asyncio.AbstractEventLoop) -> Outcome:
        self._loop = loop
        self._watched: dict[int, asyncio.TimerHandle | None] = {}
        while (outcome := self.step()) is None:
            await self._wait()
        return outcome

    def watch(self, number: int, sock: socket.socket) -> None:
        try:
            self._loop.add_writer(sock, self._writable, number, sock)
        except NotImplementedError:
            # Windows' ProactorEventLoop watches no sockets (asyncio, Platform Support). Its own connect is ConnectEx(),
            # which wants the socket bound first and has the errors of Win32; select() needs neither.
            self._look(number, sock)
        else:
            self._watched[number] = None

    def unwatch(self, number: int, sock: socket.socket) -> None:
        if number not in self._watched:
            return
        timer = self._watched[number]
        if timer is None:
            self._loop.remove_writer(sock)
        else:
            timer.cancel()
        del self._watched[number]  # last: if this is interrupted before, `close` does it again

    def notify(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    def _writable(self, number: int, sock: socket.socket) -> None:
        self.unwatch(number, sock)
        self.finish(number)
        self._wake()

    def _look(self, number: int, sock: socket.socket) -> None:
        # Winsock reports a failed connect in the third set only (select(), Windows Sockets 2).
        _, writable, failed = select.select((), (sock,), (sock,), 0)
        if writable or failed:
            self._writable(number, sock)
        else:
            self._watched[number] = self._loop.call_later(POLL_SECONDS, self._look, number, sock)

    async def _wait(self) -> None:
        self._woken = woken = self._loop.create_future()
        seconds = self.seconds_left()
        timer = None if seconds is None else self._loop.call_later(seconds, self._wake)
        try:
            await woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

"""Connect on trio: a first attempt at once, then a race with a task for each socket."""

from __future__ import annotations

import math
import socket
from contextlib import suppress

import trio

from .._lazy import typing as t
from .at_once import begin
from .keywords import chosen
from .shared import Race, won

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .settings import Settings
    from .shared import Outcome


async def create_connection(
    address: t.Address,
    timeout: float | None = None,
    **settings: t.Unpack[t.AsyncKeywords],
) -> trio.socket.SocketType:
    """Connect to a TCP address and return trio's socket, which is never connected to itself.

    :param address: as for `safeconnect.create_connection`: ``(host, port)``, or the four parts of an IPv6 address.
    :param timeout: seconds for the whole call: names, addresses, pauses, retries. None, the default: no limit but the
        kernel's (about two minutes for each address on Linux). trio's cancel scopes work as well.
    :param settings: those of a `safeconnect.Connector`, by keyword (``source_address``, ``retry``, ``options``, ...);
        or ``connector``, one that has them all. A ``resolver`` is called in a thread; one set by
        `trio.socket.set_custom_hostname_resolver` is not asked.
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
    >>> trio.run(main)
    True
    """
    checked, timeout = chosen(timeout, settings)
    return trio.socket.from_stdlib_socket(await connect(checked, address, timeout))


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    local_address: str | None = None,
    timeout: float | None = None,
    **settings: t.Unpack[t.AsyncKeywords],
) -> trio.SocketStream:
    """Connect and return a stream; takes the place of `trio.open_tcp_stream`, with its arguments.

    :param host: a name or a literal address.
    :param port: its number.
    :param local_address: the address to connect from; not together with a ``connector``, which has one of its own.
    :param timeout: as for `create_connection`.
    :param settings: as for `create_connection`; ``happy_eyeballs_delay`` (0.25 s) is trio's, too.
    :raises OSError: as `create_connection`: the most telling error itself, not ``OSError`` around a group of them. With
        ``all_errors`` an `ExceptionGroup`.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         stream = await open_tcp_stream(*server.getsockname(), timeout=5)
    ...         await stream.aclose()
    >>> trio.run(main)
    """
    if host is None:
        raise ValueError("host cannot be None")
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if local_address is not None:
        settings["source_address"] = (local_address, 0)
    checked, timeout = chosen(timeout, settings, "open_tcp_stream", ("local_address",))
    return trio.SocketStream(trio.socket.from_stdlib_socket(await connect(checked, (host, port), timeout)))


async def connect(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> socket.socket:
    """Connect by checked settings; the socket is the standard library's, non-blocking."""
    await trio.lowlevel.checkpoint()
    made = begin(_TrioRace, trio.current_time, settings, address, timeout)
    return await made.result() if isinstance(made, _TrioRace) else made


class _TrioRace(Race):
    """A dial with one task for each socket that it waits for."""

    async def result(self) -> socket.socket:
        """Run the race; return its socket, or raise its error."""
        try:
            return won(await self.run())
        finally:
            self.close()

    async def run(self) -> Outcome:
        self._token = trio.lowlevel.current_trio_token()
        self._woken = trio.Event()
        self._scopes: dict[int, trio.CancelScope] = {}
        outcome: Outcome | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                # The outcome leaves the nursery as a value: raised inside, it would come out as an ExceptionGroup.
                try:
                    while (outcome := self.step()) is None:
                        await self._wait()
                except BaseException as error:  # noqa: BLE001 - `won` raises it
                    outcome = error
                self._nursery.cancel_scope.cancel()
            assert outcome is not None  # noqa: S101 - tells the type checker
            return outcome
        finally:
            del outcome  # an error that was raised in here holds this frame: a cycle

    def watch(self, number: int, sock: socket.socket) -> None:
        self._scopes[number] = scope = trio.CancelScope()
        self._nursery.start_soon(self._await_writable, number, sock, scope)

    def unwatch(self, number: int, sock: socket.socket) -> None:
        scope = self._scopes.get(number)
        if scope is not None:
            scope.cancel()
            trio.lowlevel.notify_closing(sock)  # the task lets go now, before another socket gets the number
            del self._scopes[number]  # last: if this is interrupted before, `close` does it again

    def notify(self) -> None:
        with suppress(trio.RunFinishedError):  # nobody waits
            self._token.run_sync_soon(self._wake, idempotent=True)

    async def _await_writable(self, number: int, sock: socket.socket, scope: trio.CancelScope) -> None:
        with scope, suppress(trio.ClosedResourceError):
            if scope.cancel_called:
                return  # the socket was closed before this task ran
            await trio.lowlevel.wait_writable(sock)
            if scope.cancel_called:
                return  # it was abandoned after it became writable and before this task ran
            self._scopes.pop(number, None)
            self.finish(number)
            self._wake()

    async def _wait(self) -> None:
        self._woken = woken = trio.Event()
        seconds = self.seconds_left()
        with trio.move_on_after(math.inf if seconds is None else seconds):
            await woken.wait()

    def _wake(self) -> None:
        self._woken.set()

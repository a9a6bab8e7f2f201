"""`wait_for_port` on asyncio."""

from __future__ import annotations

import asyncio
import inspect
import socket

from .._connect.asyncio import connect
from .._connect.settings import Settings
from .._sockets import kernel, port_window
from .blocking import end, prepare
from .policy import Greeting, Waiting, probing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Check


_PLAIN = Settings()


async def wait_for_port(
    address: tuple[Any, ...],
    timeout: float | None,
    *,
    interval: float = 0.1,
    attempt_timeout: float = 1.0,
    check: Check[socket.socket] | None = None,
    gone: bool = False,
    connector: Settings | None = None,
) -> None:
    """Wait until somebody listens on a TCP port, or until nobody does: `safeconnect.wait_for_port`, on asyncio.

    :param address: and the others but ``check``: as there.
    :param timeout: seconds for all of it. None: no limit. 0: exactly one try.
    :param interval: the longest pause between two tries, in seconds.
    :param attempt_timeout: seconds for one try: lookup, connect and check.
    :param check: bytes that the server must send first; or a callable, which may be async. It gets the connected,
        non-blocking socket, and has what is left of the try. It returns whether it is the right server; an `OSError` in
        it is a failed try, anything else is raised.
    :param gone: wait until connects are refused.
    :param connector: how to connect, a `safeconnect.Connector`.
    :raises TimeoutError: it was not so in time; a note says what was seen.
    :raises socket.gaierror: the name does not exist, at once.
    :raises PermissionError: this program may not connect there, or ``allow`` does not permit it; at once.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an argument out of range; ``check`` together with ``gone``.

    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         address = server.getsockname()
    ...         await wait_for_port(address, timeout=5)
    ...     await wait_for_port(address, timeout=5, gone=True)
    >>> asyncio.run(main())
    """
    waiting = Waiting(
        address,
        timeout,
        interval=interval,
        attempt_timeout=attempt_timeout,
        check=check,
        gone=gone,
        draw=port_window.chance,
        spare_ports=kernel.spare_ports,
        now=asyncio.get_running_loop().time(),
    )
    await go_on(waiting, address, check, probing(_PLAIN if connector is None else connector, gone=gone))


async def go_on(waiting: Waiting, address: tuple[Any, ...], check: Check[socket.socket] | None, plan: Settings) -> None:
    """Let a wait that has begun go on to its end."""
    loop = asyncio.get_running_loop()
    while not await _try(waiting.aimed(plan), address, check, waiting):
        await asyncio.sleep(waiting.pause(loop.time()))


async def _try(plan: Settings, address: tuple[Any, ...], check: Check[socket.socket] | None, waiting: Waiting) -> bool:
    """One try: whether it is as is waited for."""
    loop = asyncio.get_running_loop()
    seconds = waiting.begin(loop.time())
    try:
        sock = await connect(plan, address, seconds)
    except (OSError, ExceptionGroup) as error:
        return waiting.failed(error, loop.time())
    try:
        return waiting.connected(loop.time()) if check is None else await _is_right(sock, check, waiting)
    except OSError as error:
        return waiting.check_failed(error, loop.time())
    finally:
        end(sock)


async def _is_right(sock: socket.socket, check: Check[socket.socket], waiting: Waiting) -> bool:
    loop = asyncio.get_running_loop()
    prepare(sock)
    async with asyncio.timeout(waiting.left(loop.time())):
        if not isinstance(check, bytes):
            found = check(sock)
            if inspect.isawaitable(found):
                found = await found
            return waiting.checked(found, "the check said no", loop.time())
        greeting = Greeting(check)
        while greeting.missing:
            greeting.received(await loop.sock_recv(sock, greeting.missing))
    return waiting.checked(greeting.is_right, greeting.told, loop.time())

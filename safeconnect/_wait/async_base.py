"""Shared by the drivers of `wait_for_port` on event loops: the whole wait, over a module of `_loops`."""

from __future__ import annotations

import inspect

from .._connect.settings import Settings
from .policy import Greeting, Waiting, probe_settings
from .shared import Watch, begin, end, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .._loops import Loop

    Connect = Callable[[Settings, tuple[Any, ...], float | None], Awaitable[Any]]


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
    with Watch(waiting.address, settings) as watch:
        while not await _try(loop, waiting, waiting.next_settings(settings), connect):
            await _pause(loop, waiting, watch)


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

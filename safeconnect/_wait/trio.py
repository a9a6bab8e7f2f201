"""`wait_for_port` on trio."""

from __future__ import annotations

import inspect

import trio

from .._connect.settings import Settings
from .._connect.trio import connect
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
    check: Check[trio.socket.SocketType] | None = None,
    gone: bool = False,
    connector: Settings | None = None,
) -> None:
    """Wait until somebody listens on a TCP port, or until nobody does: `safeconnect.wait_for_port`, on trio.

    :param address: and the others but ``check``: as there.
    :param timeout: seconds for all of it. None: no limit but the cancel scopes. 0: exactly one try.
    :param interval: the longest pause between two tries, in seconds.
    :param attempt_timeout: seconds for one try: lookup, connect and check.
    :param check: bytes that the server must send first; or a callable, which may be async. It gets the connected
        socket, trio's, and has what is left of the try. It returns whether it is the right server; an `OSError` in it,
        a `trio.BrokenResourceError` and a `trio.TooSlowError` are failed tries, anything else is raised.
    :param gone: wait until connects are refused.
    :param connector: how to connect, a `safeconnect.Connector`.
    :raises TimeoutError: it was not so in time; a note says what was seen.
    :raises socket.gaierror: the name does not exist, at once.
    :raises PermissionError: this program may not connect there, or ``allow`` does not permit it; at once.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an argument out of range; ``check`` together with ``gone``.

    >>> import socket
    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         address = server.getsockname()
    ...         await wait_for_port(address, timeout=5)
    ...     await wait_for_port(address, timeout=5, gone=True)
    >>> trio.run(main)
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
        now=trio.current_time(),
    )
    plan = probing(_PLAIN if connector is None else connector, gone=gone)
    while not await _try(waiting.aimed(plan), address, check, waiting):
        await trio.sleep(waiting.pause(trio.current_time()))


async def _try(
    plan: Settings, address: tuple[Any, ...], check: Check[trio.socket.SocketType] | None, waiting: Waiting
) -> bool:
    """One try: whether it is as is waited for."""
    seconds = waiting.begin(trio.current_time())
    try:
        sock = trio.socket.from_stdlib_socket(await connect(plan, address, seconds))
    except (OSError, ExceptionGroup) as error:
        return waiting.failed(error, trio.current_time())
    try:
        return waiting.connected(trio.current_time()) if check is None else await _is_right(sock, check, waiting)
    except OSError as error:
        return waiting.check_failed(error, trio.current_time())
    except trio.TooSlowError:
        return waiting.check_failed(TimeoutError("timed out"), trio.current_time())
    except trio.BrokenResourceError as error:  # what a stream makes of an OSError
        return waiting.check_failed(_cause(error), trio.current_time())
    finally:
        end(sock)


async def _is_right(sock: trio.socket.SocketType, check: Check[trio.socket.SocketType], waiting: Waiting) -> bool:
    prepare(sock)
    # Not fail_after(): contextlib, which it is made with, keeps such an error in a cycle (Python 3.13).
    with trio.move_on_after(waiting.left(trio.current_time())):
        if not isinstance(check, bytes):
            found = check(sock)
            if inspect.isawaitable(found):
                found = await found
            return waiting.checked(found, "the check said no", trio.current_time())
        greeting = Greeting(check)
        while greeting.missing:
            greeting.received(await sock.recv(greeting.missing))
        return waiting.checked(greeting.is_right, greeting.told, trio.current_time())
    raise TimeoutError("timed out")


def _cause(error: trio.BrokenResourceError) -> OSError:
    return error.__cause__ if isinstance(error.__cause__, OSError) else ConnectionResetError(str(error))

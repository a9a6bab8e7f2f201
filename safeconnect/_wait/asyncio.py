"""`wait_for_port` on asyncio."""

from __future__ import annotations

import socket

from .._connect.settings import Settings
from .._lazy import typing as t
from .._loops import asyncio as loop
from .async_base import wait_on


async def wait_for_port(
    address: t.Address,
    timeout: float | None,
    *,
    interval: float = 0.1,
    attempt_timeout: float = 1.0,
    check: t.Check[socket.socket] | None = None,
    gone: bool = False,
    connector: Settings | None = None,
) -> None:
    """Wait until somebody listens on a TCP port, or until nobody does: `safeconnect.wait_for_port`, on asyncio.

    :param address: as there.
    :param timeout: seconds for all of it. None: no limit. 0: exactly one try.
    :param interval: the longest pause between two tries, in seconds.
    :param attempt_timeout: seconds for one try: lookup, connect and check.
    :param check: bytes that the server must send first; or a callable, which may be async. It gets the connected,
        non-blocking socket, and has what is left of the try. It returns True for the right server; an `OSError` in
        it is a failed try, anything else is raised.
    :param gone: wait until connects are refused.
    :param connector: how to connect, a `safeconnect.Connector`.
    :raises TimeoutError: it did not happen in time; a note says what was seen.
    :raises socket.gaierror: the name does not exist, at once.
    :raises PermissionError: this program may not connect there, or ``allow`` does not permit it; at once.
    :raises TypeError: an argument of a wrong type.
    :raises ValueError: an argument out of range; ``check`` together with ``gone``.

    >>> import asyncio, socket
    >>> async def main():
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         address = server.getsockname()
    ...         await wait_for_port(address, timeout=5)
    ...     await wait_for_port(address, timeout=5, gone=True)
    >>> asyncio.run(main())
    """
    await wait_on(
        loop, address, timeout, connector, interval=interval, attempt_timeout=attempt_timeout, check=check, gone=gone
    )

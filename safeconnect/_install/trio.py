"""The function that `install` puts in the place of `trio.open_tcp_stream`."""

from __future__ import annotations

import trio

from .._connect.trio import connect
from .settings import for_call


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = 0.25,
    local_address: str | None = None,
) -> trio.SocketStream:
    """`trio.open_tcp_stream`. If all addresses fail, the error is the most telling one, not one around a group."""
    if host is None:
        raise ValueError("host cannot be None")
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    source = None if local_address is None else (local_address, 0)
    settings, timeout = for_call(source, happy_eyeballs_delay=happy_eyeballs_delay)
    return trio.SocketStream(trio.socket.from_stdlib_socket(await connect(settings, (host, port), timeout)))

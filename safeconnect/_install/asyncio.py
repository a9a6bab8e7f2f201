"""The functions that `install` puts in the place of functions that connect on asyncio."""

from __future__ import annotations

import asyncio
import socket
from asyncio.base_events import BaseEventLoop

from .._connect.asyncio import connect
from .._connect.streams import check_tls, for_transport
from .._sockets import answers
from . import blocking, clients
from .settings import for_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..typing import Candidate


async def create_connection(
    self: BaseEventLoop,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    host: Any = None,
    port: Any = None,
    *,
    ssl: Any = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: Any = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
) -> tuple[Any, Any]:
    """``asyncio.BaseEventLoop.create_connection``, and so `asyncio.open_connection` and all that stands on it.

    Only the connect is ours. The transport is made by asyncio's own function, which is also called for what it refuses,
    and for what is no connect by TCP to a host.
    """
    own = clients.ASYNCIO.original
    made: dict[str, Any] = {"ssl": ssl, "server_hostname": server_hostname}
    made |= {"ssl_handshake_timeout": ssl_handshake_timeout, "ssl_shutdown_timeout": ssl_shutdown_timeout}
    is_tls = bool(ssl)
    refused = not is_tls and any(value is not None for name, value in made.items() if name != "ssl")
    if sock is not None or not host or port is None or refused or proto not in (0, socket.IPPROTO_TCP):
        rest = {"family": family, "proto": proto, "flags": flags, "sock": sock, "local_addr": local_addr}
        rest |= {"happy_eyeballs_delay": happy_eyeballs_delay, "interleave": interleave}
        if all_errors:  # since Python 3.12
            rest["all_errors"] = all_errors
        return await own(self, protocol_factory, host, port, **made, **rest)  # type: ignore[no-any-return]
    if is_tls:
        made["server_hostname"] = host if server_hostname is None else server_hostname
        check_tls(ssl, made["server_hostname"])
    changes: dict[str, Any] = {} if happy_eyeballs_delay is None else {"happy_eyeballs_delay": happy_eyeballs_delay}
    if family:
        changes["family"] = family
    if all_errors:
        changes["all_errors"] = True
    sock = await _connected(self, (host, port), flags, local_addr, changes)
    try:
        protocol = protocol_factory()
    except BaseException:
        sock.close()
        raise
    return await own(self, lambda: protocol, sock=sock, **made)  # type: ignore[no-any-return]


async def _connected(
    loop: BaseEventLoop, address: tuple[Any, Any], flags: int, local_addr: Any, changes: dict[str, Any]
) -> socket.socket:
    """Connect; a loop that looks names up in a way of its own does so here, too."""
    settings, timeout = for_call(local_addr, **changes)
    candidates: Sequence[Candidate] = ()
    if settings.resolver is None and (flags or getattr(loop.getaddrinfo, "__func__", None) is not _GETADDRINFO):
        found = await loop.getaddrinfo(*address, family=settings.family, type=socket.SOCK_STREAM, flags=flags)
        candidates = answers.usable(found)
        if not candidates:
            raise OSError("getaddrinfo() returned empty list")
    return await for_transport(settings, address, timeout, candidates)


_GETADDRINFO = BaseEventLoop.getaddrinfo


async def start_connection(
    addr_infos: Sequence[Any],
    *,
    local_addr_infos: Sequence[Any] | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    socket_factory: Any = None,
) -> socket.socket:
    """``aiohappyeyeballs.start_connection``, and so aiohttp. With a ``socket_factory`` it is their own."""
    candidates = answers.usable(addr_infos)
    if socket_factory is not None or not candidates:
        own: Any = clients.AIOHAPPYEYEBALLS.original
        more = {"happy_eyeballs_delay": happy_eyeballs_delay, "interleave": interleave, "loop": loop}
        if socket_factory is not None:  # since aiohappyeyeballs 2.5
            more["socket_factory"] = socket_factory
        return await own(addr_infos, local_addr_infos=local_addr_infos, **more)  # type: ignore[no-any-return]
    local = local_addr_infos[0] if local_addr_infos else None
    if local is not None:
        candidates = [each for each in candidates if each[0] == local[0]]
    if not candidates:
        raise OSError(f"no address is of the family of the local address {local[4] if local else ''}")
    # The names have been looked up. A retry tries the same addresses again.
    settings, timeout = for_call(
        local[4] if local else None,
        happy_eyeballs_delay=happy_eyeballs_delay,
        resolution_delay=None,
        resolver=lambda *_: candidates,
    )
    return await connect(settings, candidates[0][4][:2], timeout, candidates)


async def pymongo_create_connection(address: tuple[str, int], options: Any) -> socket.socket:
    """``pymongo.pool_shared._async_create_connection``."""
    host, port = address
    if host.endswith(".sock"):  # a path
        own: Any = clients.PYMONGO_ASYNCIO.original
        return await own(address, options)  # type: ignore[no-any-return]
    timeout = blocking.pymongo_timeout(options)
    family = blocking.pymongo_family(host)
    settings, of_connector = for_call(options=blocking.PYMONGO_OPTIONS, **({"family": family} if family else {}))
    sock = await connect(settings, (host, port), of_connector if timeout is None else timeout)
    return blocking.pymongo_prepared(sock, timeout)

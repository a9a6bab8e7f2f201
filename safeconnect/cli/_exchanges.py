"""The I/O of ``safeconnect wait`` beside the connects of the library: exchanges over a socket, and Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from contextlib import suppress
from functools import cache
from urllib.parse import unquote

from .._loops import asyncio as loop
from .._wait.policy import NotReadyError
from . import _protocols as protocols
from ._targets import OK_STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ._protocols import Exchange
    from ._targets import WaitTarget

    Check = bytes | Callable[[socket.socket], Awaitable[bool]]

_AF_UNIX = getattr(socket, "AF_UNIX", socket.AF_UNSPEC)  # a target unix: is refused where there is none
_CHUNK = 16_384  # bytes
_DRAIN_SECONDS = 0.1
_NOBODY = "safeconnect"  # for PostgreSQL, whose log then says who has asked


def check_for(target: WaitTarget, arguments: argparse.Namespace) -> Callable[[socket.socket], Awaitable[bool]]:
    """Return the check that carries out the exchange with the target."""

    async def check(sock: socket.socket) -> bool:
        exchange = _exchange(target, arguments)
        if target.is_tls:
            name = target.host.partition("%")[0].rstrip(".")
            exchange = protocols.over_tls(exchange, _context(is_insecure=arguments.insecure), name)
        drains = target.scheme.startswith("http")
        try:
            await _carry_out(sock, exchange)
        except NotReadyError:
            if drains:
                await _drain(sock)
            raise
        if drains:
            await _drain(sock)
        return True

    return check


def _exchange(target: WaitTarget, arguments: argparse.Namespace) -> Exchange:
    if target.scheme in ("http", "https"):
        request = protocols.http_request(target.host_header, target.path, target.credentials)
        return protocols.http(request, arguments.status or OK_STATUSES)
    if target.scheme in ("postgresql", "postgres"):
        user = target.credentials[0] if target.credentials else ""
        return protocols.postgresql(user or _NOBODY, unquote(target.path[1:]) or user or _NOBODY)
    if target.scheme in ("mysql", "mariadb"):
        return protocols.mysql()
    if target.scheme in ("redis", "rediss"):
        return protocols.redis()
    return protocols.send_and_expect(arguments.send, arguments.expect)


async def _carry_out(sock: socket.socket, exchange: Exchange) -> None:
    """Send and receive what the exchange wants to, to its end.

    :raises NotReadyError: it says that the server is not ready.
    """
    with suppress(StopIteration):
        sending = next(exchange)
        while True:
            if sending:
                await loop.sendall(sock, sending)
            sending = exchange.send(await loop.recv(sock, _CHUNK))


async def _drain(sock: socket.socket) -> None:
    """Read the rest of a response for a moment: a server that is reset as it writes may fill its log with errors."""
    left = protocols.LIMIT
    with suppress(OSError):  # also the end of the moment
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and (data := await loop.recv(sock, left)):
                left -= len(data)


@cache
def _context(*, is_insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect_unix(_settings: object, address: tuple[Any, ...], _timeout: float | None) -> socket.socket:
    """Connect to a Unix socket, at once or not at all: unix(7). If there is no such file, nobody listens.

    :param address: the path, and a number without a meaning.
    :raises ConnectionError: also if it is not permitted: servers set owner and mode only after they have bound.
    :raises OSError: also if the queue of the server is full (EAGAIN).
    """
    sock = socket.socket(_AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.connect(address[0])
    except BaseException as error:
        sock.close()
        if isinstance(error, FileNotFoundError):
            raise ConnectionRefusedError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        if isinstance(error, PermissionError):
            raise ConnectionError(error.errno, error.strerror) from None
        raise
    return sock

"""close_gracefully of each driver as a plain function, and over TLS."""

import asyncio
import socket

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import close_gracefully

from ..drivers import uvloop


def blocking(sock, timeout=5.0, **settings):
    return close_gracefully(sock, timeout, **settings)


def on_asyncio(sock, timeout=5.0, *, loop_factory=None, **settings):
    async def main():
        return await safeconnect.asyncio.close_gracefully(sock, timeout, **settings)

    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(main())


def on_uvloop(sock, timeout=5.0, **settings):
    return on_asyncio(sock, timeout, loop_factory=uvloop.new_event_loop, **settings)


def on_streams(sock, timeout=5.0, **settings):
    async def main():
        streams = await asyncio.open_connection(sock=sock)
        try:
            return await safeconnect.asyncio.close_gracefully(streams, timeout, **settings)
        finally:
            streams[1].close()  # where the arguments were wrong
            await asyncio.sleep(0)

    with asyncio.Runner(debug=True) as runner:
        return runner.run(main())


def on_trio(sock, timeout=5.0, **settings):
    async def main():
        return await safeconnect.trio.close_gracefully(trio.socket.from_stdlib_socket(sock), timeout, **settings)

    return trio.run(main)


def on_a_trio_stream(sock, timeout=5.0, **settings):
    async def main():
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        return await safeconnect.trio.close_gracefully(stream, timeout, **settings)

    return trio.run(main)


WAYS = [
    blocking,
    on_asyncio,
    pytest.param(on_uvloop, marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows")),
    on_streams,
    on_trio,
    on_a_trio_stream,
]
each_way = pytest.mark.parametrize("close", WAYS)


def close_blocking_tls(address, context, before):
    raw = socket.create_connection(address)
    with context.wrap_socket(raw, server_hostname="localhost") as sock:
        sock.sendall(before)
        return close_gracefully(sock)


def close_asyncio_tls(address, context, before):
    async def main():
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
        writer.write(before)
        return await safeconnect.asyncio.close_gracefully((reader, writer))

    return asyncio.run(main(), debug=True)


def close_trio_tls(address, context, before):
    async def main():
        stream = await trio.open_ssl_over_tcp_stream(*address, ssl_context=context)
        await stream.send_all(before)
        return await safeconnect.trio.close_gracefully(stream)

    context.check_hostname = False
    return trio.run(main)


each_tls = pytest.mark.parametrize("close", [close_blocking_tls, close_asyncio_tls, close_trio_tls])

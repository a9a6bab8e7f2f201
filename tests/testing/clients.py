"""Clients as they are used in production, to be tried at a fault: each sends one request, or two on a kept connection.

A client is a function of ``(address, timeout, between, data)``. With ``between`` it makes a second request after
calling it, on the same connection if it keeps one; an error of the first request counts only if there is no second.
It returns what came back.
"""

import asyncio
import contextlib
import socket

import httpx
import redis
import requests
import trio
from redis.backoff import NoBackoff
from redis.retry import Retry

import safeconnect

END = b"\r\n\r\n"


def http_request(number, data=b""):
    """Return the bytes of a request."""
    return b"POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d%s%s" % (number, len(data), END, data)


def is_complete(received):
    """Return True for a whole reply, and for a request that was sent back."""
    return received.endswith(END) and (b"hello" in received or received.startswith(b"POST"))


def receive_all(receive):
    received = b""
    while not is_complete(received) and (more := receive(65536)):
        received += more
    return received


async def receive_all_async(receive):
    received = b""
    while not is_complete(received) and (more := await receive(65536)):
        received += more
    return received


def once_or_twice(ask, between):
    if between is None:
        return ask(1)
    with contextlib.suppress(Exception):
        ask(1)
    between()
    return ask(2)


async def once_or_twice_async(ask, between):
    if between is None:
        return await ask(1)
    with contextlib.suppress(Exception):
        await ask(1)
    between()
    return await ask(2)


def by_socket(address, timeout, between=None, data=b"", connect=socket.create_connection):
    with connect(address, timeout) as sock:

        def ask(number):
            sock.sendall(http_request(number, data))
            return receive_all(sock.recv)

        return once_or_twice(ask, between)


def by_requests(address, timeout, between=None, data=b"", *, adapter=None, scheme="http"):
    with requests.Session() as session:
        session.trust_env = False
        if adapter:
            session.mount("http://", adapter)

        def ask(number):
            return session.post(f"{scheme}://{address[0]}:{address[1]}/{number}", data, timeout=timeout).content

        return once_or_twice(ask, between)


def by_httpx(address, timeout, between=None, data=b"", *, transport=None, scheme="http"):
    with httpx.Client(trust_env=False, timeout=timeout, transport=transport) as client:

        def ask(number):
            return client.post(f"{scheme}://{address[0]}:{address[1]}/{number}", content=data).content

        return once_or_twice(ask, between)


def by_redis(address, timeout, between=None, data=b"", retries=0, **settings):
    client = redis.Redis(
        *address[:2],
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), retries),
        protocol=2,  # with these it sends nothing but the command
        driver_info=None,
        **settings,
    )
    with client:
        return once_or_twice(lambda number: client.execute_command("ASK", str(number), data), between)


def by_asyncio(address, timeout, between=None, data=b"", **settings):
    async def main():
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(*address[:2], **settings)
        try:

            async def ask(number):
                async with asyncio.timeout(timeout):
                    writer.write(http_request(number, data))
                    await writer.drain()
                    return await receive_all_async(reader.read)

            return await once_or_twice_async(ask, between)
        finally:
            writer.transport.abort()

    return asyncio.run(main())


def by_trio(address, timeout, between=None, data=b""):
    async def main():
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(*address[:2])

        async def ask(number):
            with trio.fail_after(timeout):
                await stream.send_all(http_request(number, data))
                return await receive_all_async(stream.receive_some)

        try:
            return await once_or_twice_async(ask, between)
        finally:
            await trio.aclose_forcefully(stream)

    return trio.run(main)


def by_safeconnect(address, timeout, between=None, data=b""):
    if between is None:
        return by_socket(address, timeout, data=data, connect=safeconnect.create_connection)
    with safeconnect.PersistentConnection(address) as connection:

        def ask(number):
            with connection.exchange(timeout=timeout) as exchange:
                exchange.sendall(http_request(number))
                return receive_all(exchange.recv)

        return once_or_twice(ask, between)


CLIENTS = {
    "socket": by_socket,
    "requests": by_requests,
    "httpx": by_httpx,
    "redis-py": by_redis,
    "asyncio": by_asyncio,
    "trio": by_trio,
    "safeconnect": by_safeconnect,
}


def reply_to(request):
    """Return a reply as the client expects it that sent the request; it has the request's number in it."""
    if request.startswith(b"*"):
        return b"+hello %s\r\n" % request.split(b"\r\n")[4]
    body = b"hello %s%s" % (request.split(b" ")[1].removeprefix(b"/"), END)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d%s%s" % (len(body), END, body)


def requests_of(peer):
    """Yield the requests of a connection, until it ends."""
    received = b""
    while more := peer.recv():
        received += more
        if received.endswith(END):
            yield received
            received = b""


def answer(peer):
    """Handle a connection as any of these clients expects it."""
    for request in requests_of(peer):
        peer.sendall(reply_to(request))

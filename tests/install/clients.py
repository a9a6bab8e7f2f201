"""How clients connect, when nobody has told them of us: each function opens one connection to a port of 127.0.0.1.

Whoever is there accepts and closes at once, so the client then fails in its own protocol; the connect is what counts.
Nothing is imported before it is needed, for the functions run in child interpreters.
"""

import asyncio

HOST = "127.0.0.1"


def http_client(port):
    import http.client

    http.client.HTTPConnection(HOST, port, timeout=5).request("GET", "/")


def urllib_request(port):
    import urllib.request

    urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=5)


def smtplib(port):
    import smtplib

    smtplib.SMTP(HOST, port, timeout=5)


def urllib3(port):
    import urllib3

    urllib3.PoolManager(retries=False, timeout=5).request("GET", f"http://{HOST}:{port}/")


def requests(port):
    import requests

    requests.get(f"http://{HOST}:{port}/", timeout=5)


def httpx(port):
    import httpx

    httpx.get(f"http://{HOST}:{port}/", timeout=5)


def httpx_asyncio(port):
    import httpx

    async def main():
        async with httpx.AsyncClient(timeout=5) as client:
            await client.get(f"http://{HOST}:{port}/")

    asyncio.run(main())


def httpx_trio(port):
    import httpx
    import trio

    async def main():
        async with httpx.AsyncClient(timeout=5) as client:
            await client.get(f"http://{HOST}:{port}/")

    trio.run(main)


def redis(port):
    import redis

    redis.Redis(HOST, port, socket_connect_timeout=5, socket_timeout=5, retry=None).ping()


def redis_asyncio(port):
    import redis.asyncio

    async def main():
        async with redis.asyncio.Redis(host=HOST, port=port, socket_timeout=5, retry=None) as client:
            await client.ping()

    asyncio.run(main())


def pymysql(port):
    import pymysql

    pymysql.connect(host=HOST, port=port, connect_timeout=5)


def open_connection(port):
    async def main():
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())


def aiohttp(port):
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/") as answer:
            await answer.read()

    asyncio.run(main())


def websockets(port):
    import websockets.asyncio.client

    async def main():
        await websockets.asyncio.client.connect(f"ws://{HOST}:{port}/", open_timeout=5)

    asyncio.run(main())


def websockets_sync(port):
    import websockets.sync.client

    websockets.sync.client.connect(f"ws://{HOST}:{port}/", open_timeout=5)


def anyio_asyncio(port):
    import anyio

    async def main():
        await (await anyio.connect_tcp(HOST, port)).aclose()

    anyio.run(main)


def anyio_trio(port):
    import anyio

    async def main():
        await (await anyio.connect_tcp(HOST, port)).aclose()

    anyio.run(main, backend="trio")


def open_tcp_stream(port):
    import trio

    async def main():
        await (await trio.open_tcp_stream(HOST, port)).aclose()

    trio.run(main)


CLIENTS = {
    each.__name__: each
    for each in (
        http_client, urllib_request, smtplib, urllib3, requests, httpx, httpx_asyncio, httpx_trio, redis,
        redis_asyncio, pymysql, open_connection, aiohttp, websockets, websockets_sync, anyio_asyncio, anyio_trio,
        open_tcp_stream,
    )
}  # fmt: skip
# What a client needs: the package that is imported.
PACKAGES = {
    "http_client": "http.client", "urllib_request": "urllib.request", "httpx_asyncio": "httpx", "httpx_trio": "httpx",
    "redis_asyncio": "redis.asyncio", "open_connection": "asyncio", "websockets_sync": "websockets.sync.client",
    "anyio_asyncio": "anyio", "anyio_trio": "anyio", "open_tcp_stream": "trio",
}  # fmt: skip


def packages():
    """The packages of all clients that are installed here."""
    from importlib.util import find_spec

    names = [PACKAGES.get(name, name) for name in CLIENTS]
    return [name for name in names if find_spec(name.partition(".")[0])]


def connected_by_us(name, port, traced):
    """Let a client connect; how many attempts of ours went to that port, of those that the trace was told."""
    traced.clear()
    try:
        CLIENTS[name](port)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the server is none of theirs
        told = error
    else:
        told = None
    starts = sum(type(each).__name__ == "Start" and each.candidate[4][1] == port for each in traced)
    return starts, repr(told)

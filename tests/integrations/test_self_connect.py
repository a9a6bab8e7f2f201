"""Where a plain connect would meet itself, clients with safe connects are refused, and the port stays free.

The clients run in a network of their own, one after the other in one process; each test looks at what one made of it.
"""

import asyncio
import functools
import json
import socket

import pytest

import safeconnect
from safeconnect.integrations import socket_factory, socket_options

from .. import namespace, support
from . import kit, web_clients

PORT = 40000
URL = f"http://127.0.0.1:{PORT}/"


def plain_socket():
    return socket.create_connection(("127.0.0.1", PORT), timeout=5)


# Clients with safe connects. Nothing is imported before it is needed: a client may be missing.


def pymysql():
    from safeconnect.integrations.pymysql import connect

    connect(host="127.0.0.1", port=PORT, user="root")


def redis():
    from .test_redis import client_of

    with client_of(PORT) as client:
        client.ping()


def mail(name):
    from .test_mail import make

    make(name, "127.0.0.1", PORT, timeout=5)


def recipe(name, module):
    from .test_recipes import recipe

    __import__(module)
    recipe(name)("127.0.0.1", PORT)


def aiohttp(**arguments):
    import aiohttp

    from safeconnect.integrations.aiohttp import TCPConnector

    async def request():
        async with aiohttp.ClientSession(connector=TCPConnector()) as session:
            await session.get("http://127.0.0.1:80/" if arguments else URL, **arguments)

    asyncio.run(request())


def redis_asyncio():
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from safeconnect.integrations.redis_asyncio import Connection

    async def request():
        pool = redis.asyncio.ConnectionPool.from_url(
            f"redis://127.0.0.1:{PORT}", connection_class=Connection, retry=Retry(NoBackoff(), 0)
        )
        async with redis.asyncio.Redis.from_pool(pool) as client:
            await client.ping()

    asyncio.run(request())


def httpcore_async(loop):
    import httpcore

    from safeconnect.integrations.httpcore_async import AsyncBackend

    async def request():
        async with httpcore.AsyncConnectionPool(network_backend=AsyncBackend()) as pool:
            await pool.request("GET", URL)

    run_on(loop, request)


def httpx_async(loop):
    import httpx

    from safeconnect.integrations.httpx_async import AsyncHTTPTransport

    async def request():
        async with httpx.AsyncClient(transport=AsyncHTTPTransport()) as client:
            await client.get(URL)

    run_on(loop, request)


def run_on(loop, request):
    if loop == "trio":
        import trio

        trio.run(request)
    else:
        asyncio.run(request())


def websockets_asyncio():
    import websockets.asyncio.client

    import safeconnect.asyncio

    async def request():
        sock = await safeconnect.asyncio.create_connection(("127.0.0.1", PORT), timeout=5)
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{PORT}/", sock=sock):
            pass

    asyncio.run(request())


# What each client is called with, and how its error begins: class and text. The errors of the standard library's
# clients are those of the connect.
SAFE = {
    **{
        fetch.__name__: (functools.partial(fetch, URL, 5), f"{web_clients.error_names(fetch)[0].rpartition('.')[2]}: ")
        for fetch in web_clients.ALL
    },
    "http_client": (functools.partial(web_clients.http_client, URL, 5), "SelfConnectError: "),
    "xmlrpc_client": (functools.partial(web_clients.xmlrpc_client, URL, 5), "SelfConnectError: "),
    **{name: (functools.partial(mail, name), "SelfConnectError: ") for name in ("SMTP", "LMTP", "IMAP4", "POP3")},
    "pymysql": (pymysql, "OperationalError: (2003"),
    "redis": (redis, "ConnectionError: Error 111"),
    "paramiko": (functools.partial(recipe, "open_ssh", "paramiko"), "SelfConnectError: "),
    "websockets": (functools.partial(recipe, "open_websocket", "websockets.sync.client"), "SelfConnectError: "),
    "aiohttp": (aiohttp, "ClientConnectorError: "),
    "aiohttp's proxies": (functools.partial(aiohttp, proxy=URL), "ClientProxyConnectionError: "),
    "redis.asyncio": (redis_asyncio, "ConnectionError: "),
    "httpcore on asyncio": (functools.partial(httpcore_async, "asyncio"), "ConnectError: "),
    "httpcore on trio": (functools.partial(httpcore_async, "trio"), "ConnectError: "),
    "httpx on asyncio": (functools.partial(httpx_async, "asyncio"), "ConnectError: "),
    "httpx on trio": (functools.partial(httpx_async, "trio"), "ConnectError: "),
    "websockets on asyncio": (websockets_asyncio, "SelfConnectError: "),
}


# Clients that connect by themselves, with our options or socket factory.


def urllib3_with_options():
    import urllib3

    with urllib3.PoolManager(socket_options=socket_options(PORT), retries=False) as manager:
        manager.request("GET", URL, timeout=5)


def requests_with_options():
    import requests.adapters

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *arguments, **keywords):
            super().init_poolmanager(*arguments, socket_options=socket_options(PORT), **keywords)

    with requests.Session() as session:
        session.mount(URL, Adapter())
        session.get(URL, timeout=5)


def aiohttp_with_the_factory():
    import aiohttp

    if "socket_factory" not in aiohttp.TCPConnector.__init__.__kwdefaults__:
        raise ModuleNotFoundError("aiohttp has no socket_factory before 3.12")

    async def request():
        connector = aiohttp.TCPConnector(socket_factory=socket_factory)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.get(URL)

    asyncio.run(request())


def aiohappyeyeballs_with_the_factory():
    import aiohappyeyeballs

    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", PORT))
    asyncio.run(aiohappyeyeballs.start_connection([info], socket_factory=socket_factory))


def trio_with_the_factory():
    import trio

    from safeconnect.integrations.trio import SocketFactory

    async def request():
        trio.socket.set_custom_socket_factory(SocketFactory(PORT))
        await trio.open_tcp_stream("127.0.0.1", PORT)

    trio.run(request)


WITH_OPTIONS = {
    "urllib3": urllib3_with_options,
    "requests": requests_with_options,
    "aiohttp": aiohttp_with_the_factory,
    "aiohappyeyeballs": aiohappyeyeballs_with_the_factory,
    "trio": trio_with_the_factory,
}


# In the network of their own.


def tell(clients, times):
    """Print what each client came to, so many times in a row; the port is free after each of them."""
    with plain_socket() as plain:
        assert safeconnect.is_self_connected(plain)
        support.reset(plain)
    print(json.dumps({name: [outcome(client) for _ in range(times)] for name, client in clients.items()}))


def outcome(client):
    """The error as text, and the classes of it and of what led to it."""
    try:
        client()
    except ModuleNotFoundError as error:
        return str(error), []
    except Exception as error:  # noqa: BLE001 - each client has its own
        errors = [each for link in kit.chain(error) for each in (link, *getattr(link, "exceptions", ()))]
        found = f"{type(error).__name__}: {error}", [kind.__name__ for each in errors for kind in type(each).__mro__]
    else:
        return "it connected", []
    assert support.tcp_sockets(PORT) == [], "something of it is left"
    support.serve_plainly(PORT)
    return found


@functools.cache
def outcomes(table, times, ports):
    printed = namespace.run(
        f"""
        from tests.integrations import test_self_connect as test

        clients = {{name: each[0] if isinstance(each, tuple) else each for name, each in test.{table}.items()}}
        test.tell(clients, {times})
        """,
        ports=ports,
    )
    return json.loads(printed)


def seen(*arguments, client):
    found = outcomes(*arguments)[client]
    if found[0][1] == [] and found[0][0] != "it connected":
        pytest.skip(found[0][0])
    return found


@pytest.mark.parametrize("client", SAFE)
def test_a_client_with_safe_connects_is_refused(client):
    found = seen("SAFE", 3, f"{PORT} {PORT}", client=client)
    assert len(found) == 3
    for text, classes in found:
        assert text.startswith(SAFE[client][1])
        assert "SelfConnectError" in classes


@support.needs_port_range
@pytest.mark.parametrize("client", WITH_OPTIONS)
def test_a_client_with_the_options_takes_the_other_port(client):
    # The kernel prefers ports as even, or as odd, as the first of its range: 40000 is its first choice.
    found = seen("WITH_OPTIONS", 10, f"{PORT} {PORT + 1}", client=client)
    assert len(found) == 10
    for _, classes in found:
        assert "ConnectionRefusedError" in classes
        assert "SelfConnectError" not in classes

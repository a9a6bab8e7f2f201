"""Where a plain connect would meet itself, clients with safe connects are refused."""

import pytest

from .. import namespace
from ..support import needs_port_range

PLAIN = """
import asyncio, contextlib, socket
import safeconnect
from tests import support
from tests.integrations import kit

with socket.create_connection(("127.0.0.1", 40000)) as plain:
    assert safeconnect.is_self_connected(plain)
    safeconnect._sockets.lifecycle.reset(plain)
"""

WHOLE = {
    "aiohttp": """
import aiohttp
from safeconnect.integrations.aiohttp import TCPConnector

async def request():
    async with aiohttp.ClientSession(connector=TCPConnector()) as session:
        await session.get("http://127.0.0.1:40000/")
""",
    "aiohttp's proxies": """
import aiohttp
from safeconnect.integrations.aiohttp import TCPConnector

async def request():
    async with aiohttp.ClientSession(connector=TCPConnector()) as session:
        await session.get("http://127.0.0.1:80/", proxy="http://127.0.0.1:40000")
""",
    "redis": """
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from safeconnect.integrations.redis_asyncio import Connection

async def request():
    pool = redis.asyncio.ConnectionPool.from_url(
        "redis://127.0.0.1:40000", connection_class=Connection, retry=Retry(NoBackoff(), 0)
    )
    async with redis.asyncio.Redis.from_pool(pool) as client:
        await client.ping()
""",
    "httpcore": """
import httpcore
from safeconnect.integrations.httpcore_async import AsyncBackend

async def request():
    async with httpcore.AsyncConnectionPool(network_backend=AsyncBackend()) as pool:
        await pool.request("GET", "http://127.0.0.1:40000/")
""",
    "httpx": """
import httpx
from safeconnect.integrations.httpx_async import AsyncHTTPTransport

async def request():
    async with httpx.AsyncClient(transport=AsyncHTTPTransport()) as client:
        await client.get("http://127.0.0.1:40000/")
""",
    "websockets": """
import safeconnect.asyncio
import websockets.asyncio.client

async def request():
    sock = await safeconnect.asyncio.create_connection(("127.0.0.1", 40000), timeout=5)
    async with websockets.asyncio.client.connect("ws://127.0.0.1:40000/", sock=sock):
        pass
""",
}
ERRORS = {
    "aiohttp": "ClientConnectorError",
    "aiohttp's proxies": "ClientProxyConnectionError",
    "redis": "ConnectionError",
    "httpcore": "ConnectError",
    "httpx": "ConnectError",
    "websockets": "SelfConnectError",
}
RUN = {"asyncio": "asyncio.run(request())", "trio": "__import__('trio').run(request)"}

REQUESTS = """
for _ in range(3):
    try:
        {run}
    except Exception as error:
        print(type(error).__name__, safeconnect.SelfConnectError in map(type, kit.chain(error)))
    else:
        print("connected")
    assert support.tcp_sockets(40000) == []
    support.serve_plainly(40000)
"""


@pytest.mark.parametrize(
    ("client", "run"), [*((client, "asyncio") for client in WHOLE), ("httpcore", "trio"), ("httpx", "trio")]
)
def test_a_client_is_refused_and_leaves_the_port_free(client, run):
    pytest.importorskip(client.partition("'")[0], reason=f"{client} is not installed")
    printed = namespace.run(PLAIN + WHOLE[client] + REQUESTS.format(run=RUN[run]), ports="40000 40000")
    assert printed == f"{ERRORS[client]} True\n" * 3


OPTIONS = {
    "aiohttp": """
import aiohttp
from safeconnect.integrations import socket_factory

async def request():
    connector = aiohttp.TCPConnector(socket_factory=socket_factory)
    async with aiohttp.ClientSession(connector=connector) as session:
        await session.get("http://127.0.0.1:40000/")

run = lambda: asyncio.run(request())
expected = aiohttp.ClientConnectorError
""",
    "trio": """
import trio
from safeconnect.integrations.trio import SocketFactory

async def request():
    trio.socket.set_custom_socket_factory(SocketFactory(40000))
    await trio.open_tcp_stream("127.0.0.1", 40000)

run = lambda: trio.run(request)
expected = OSError
""",
}


@needs_port_range
@pytest.mark.parametrize("client", OPTIONS)
def test_options_keep_the_ports_apart(client):
    if client == "aiohttp":
        aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
        if "socket_factory" not in aiohttp.TCPConnector.__init__.__kwdefaults__:
            pytest.skip("aiohttp has no socket_factory before 3.12")
    code = """
    for _ in range(20):
        with contextlib.suppress(expected):
            run()
            raise SystemExit("it connected")
        assert support.tcp_sockets(40000) == []
    support.serve_plainly(40000)
    """
    # The kernel prefers ports as even, or as odd, as the first of its range: 40000 is its first choice.
    namespace.run(PLAIN + OPTIONS[client] + namespace.textwrap.dedent(code), ports="40000 40001")

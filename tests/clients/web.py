"""Clients of HTTP, and of services that speak it."""

import asyncio
import functools

from .client import Client, recipe
from .listener import HOST


def urllib3(at):
    import urllib3

    urllib3.PoolManager(retries=False, timeout=5).request("GET", at.url)


def urllib3_manager(at, connector):
    from safeconnect.integrations.urllib3 import PoolManager

    PoolManager(retries=False, timeout=5, connector=connector).request("GET", at.url)


def urllib3_options(at, integrations):
    import urllib3

    urllib3.PoolManager(retries=False, socket_options=integrations.socket_options(at.port)).request("GET", at.url)


def requests(at):
    import requests

    requests.get(at.url, timeout=5)


def requests_adapter(at, connector):
    import requests

    from safeconnect.integrations.requests import HTTPAdapter

    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(connector=connector))
        session.get(at.url, timeout=5)


def httpx(at):
    import httpx

    httpx.get(at.url, timeout=5)


def httpx_transport(at, connector):
    import httpx

    from safeconnect.integrations.httpx import HTTPTransport

    with httpx.Client(transport=HTTPTransport(connector=connector)) as client:
        client.get(at.url)


async def _httpx_async(at, **settings):
    import httpx

    async with httpx.AsyncClient(timeout=5, **settings) as client:
        await client.get(at.url)


def httpx_asyncio(at):
    asyncio.run(_httpx_async(at))


def httpx_async_transport(at, connector):
    from safeconnect.integrations.httpx_async import AsyncHTTPTransport

    asyncio.run(_httpx_async(at, transport=AsyncHTTPTransport(connector=connector)))


def httpx_trio(at):
    import trio

    trio.run(_httpx_async, at)


def httpx_trio_transport(at, connector):
    import trio

    from safeconnect.integrations.httpx_async import AsyncHTTPTransport

    trio.run(functools.partial(_httpx_async, at, transport=AsyncHTTPTransport(connector=connector)))


def httpcore(at):
    import httpcore

    httpcore.ConnectionPool().request("GET", at.url)


def httpcore_backend(at, connector):
    import httpcore

    from safeconnect.integrations.httpcore import SyncBackend

    httpcore.ConnectionPool(network_backend=SyncBackend(connector)).request("GET", at.url)


def httpcore_asyncio(at):
    import httpcore

    asyncio.run(httpcore.AsyncConnectionPool().request("GET", at.url))


def httpcore_async_backend(at, connector):
    import httpcore

    from safeconnect.integrations.httpcore_async import AsyncBackend

    asyncio.run(httpcore.AsyncConnectionPool(network_backend=AsyncBackend(connector)).request("GET", at.url))


async def _aiohttp(at, **settings):
    import aiohttp

    async with aiohttp.ClientSession(**settings) as session, session.get(at.url) as answer:
        await answer.read()


def aiohttp(at):
    asyncio.run(_aiohttp(at))


def aiohttp_connector(at, connector):
    async def main():
        from safeconnect.integrations.aiohttp import TCPConnector

        await _aiohttp(at, connector=TCPConnector(connector=connector))

    asyncio.run(main())


def aiohttp_options(at, integrations):
    async def main():
        import aiohttp

        await _aiohttp(at, connector=aiohttp.TCPConnector(socket_factory=integrations.socket_factory))

    asyncio.run(main())


def tornado(at):
    from tornado.httpclient import AsyncHTTPClient

    async def main():
        await AsyncHTTPClient().fetch(at.url, request_timeout=5)

    asyncio.run(main())


def pycurl(at):
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, at.url)
    handle.perform()


def pycurl_socket(at, connector):
    recipe("safe_curl", create_connection=connector.connect)(at.url).perform()


def boto3(at):
    import boto3
    from botocore.config import Config

    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "eu-west-1"}
    settings = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=5)
    boto3.client("s3", endpoint_url=at.url, config=settings, **keys).list_buckets()


def elasticsearch(at):
    from elasticsearch import Elasticsearch

    Elasticsearch(at.url, max_retries=0).info()


def opensearch(at):
    from opensearchpy import OpenSearch

    OpenSearch(at.url, max_retries=0).info()


def kubernetes(at):
    from kubernetes import client

    settings = client.Configuration(host=f"http://{at.address}")
    settings.retries = False
    client.CoreV1Api(client.ApiClient(settings)).list_node(_request_timeout=5)


def influxdb(at):
    from influxdb_client import InfluxDBClient

    InfluxDBClient(at.url, token="token", org="org", retries=False, timeout=5000).version()


def minio(at):
    from minio import Minio

    client = Minio(endpoint=at.address, access_key="key", secret_key="secret", secure=False)
    at.until_connected(client.list_buckets)


def minio_manager(at, connector):
    from minio import Minio

    from safeconnect.integrations.urllib3 import PoolManager

    pool = PoolManager(retries=False, timeout=5, connector=connector)
    client = Minio(endpoint=at.address, access_key="key", secret_key="secret", secure=False, http_client=pool)
    client.list_buckets()


def docker(at):
    import docker

    docker.DockerClient(f"tcp://{at.address}", version="1.43", timeout=5).ping()


def hvac(at):
    import hvac

    hvac.Client(f"http://{at.address}", timeout=5).sys.read_health_status()


def hvac_adapter(at, connector):
    import hvac
    import requests

    from safeconnect.integrations.requests import HTTPAdapter

    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(connector=connector))
        hvac.Client(f"http://{at.address}", timeout=5, session=session).sys.read_health_status()


def websocket_client(at):
    import websocket

    websocket.create_connection(f"ws://{at.address}/", timeout=5)


def websocket_client_socket(at, connector):
    import websocket

    websocket.create_connection(f"ws://{at.address}/", timeout=5, socket=connector.connect((HOST, at.port), 5))


def websocket_client_options(at, integrations):
    import websocket

    websocket.create_connection(f"ws://{at.address}/", timeout=5, sockopt=integrations.socket_options(at.port))


def websockets_sync(at):
    from websockets.sync.client import connect

    connect(f"ws://{at.address}/", open_timeout=5, proxy=None)


def websockets_sync_socket(at, connector):
    from websockets.sync.client import connect

    connect(f"ws://{at.address}/", open_timeout=5, sock=connector.connect((HOST, at.port), 5))


def websockets_asyncio(at):
    from websockets.asyncio.client import connect

    async def main():
        await connect(f"ws://{at.address}/", open_timeout=5, proxy=None)

    at.until_connected(asyncio.run, main())


def websockets_asyncio_socket(at, connector):
    from websockets.asyncio.client import connect

    from safeconnect.asyncio import create_connection

    async def main():
        sock = await create_connection((HOST, at.port), timeout=5, trace=connector.trace)
        await connect(f"ws://{at.address}/", open_timeout=5, sock=sock)

    asyncio.run(main())


ADAPTER = "[`HTTPAdapter`](#requests)"
ASYNC = "clients-async.md"

CLIENTS = (
    Client(
        "urllib3", "urllib3", urllib3, urllib3_manager, options=urllib3_options, instead="[`PoolManager`](#urllib3)"
    ),
    Client("requests", "requests", requests, requests_adapter, instead=ADAPTER),
    Client("httpx", "httpx", httpx, httpx_transport, instead="[`HTTPTransport`](#httpx)"),
    Client(
        "httpx, asyncio",
        "httpx",
        httpx_asyncio,
        httpx_async_transport,
        instead=f"[`AsyncHTTPTransport`]({ASYNC}#httpx)",
    ),
    Client(
        "httpx, trio",
        "httpx",
        httpx_trio,
        httpx_trio_transport,
        needs=("trio",),
        instead=f"[`AsyncHTTPTransport`]({ASYNC}#httpx)",
    ),
    Client("httpcore", "httpcore", httpcore, httpcore_backend, instead="[`SyncBackend`](#httpcore)"),
    Client(
        "httpcore, asyncio",
        "httpcore",
        httpcore_asyncio,
        httpcore_async_backend,
        instead=f"[`AsyncBackend`]({ASYNC}#httpcore)",
    ),
    Client(
        "aiohttp",
        "aiohttp",
        aiohttp,
        aiohttp_connector,
        options=aiohttp_options,
        instead=f"[`TCPConnector`]({ASYNC}#aiohttp)",
    ),
    Client("tornado", "tornado", tornado, instead="use httpx or aiohttp"),
    Client("pycurl", "pycurl", pycurl, socket=pycurl_socket, instead="[`OPENSOCKETFUNCTION`](#pycurl)"),
    Client("boto3, botocore", "boto3", boto3),
    Client("elasticsearch", "elasticsearch", elasticsearch),
    Client("opensearch-py", "opensearch-py", opensearch),
    Client("kubernetes", "kubernetes", kubernetes),
    Client("influxdb-client", "influxdb-client", influxdb),
    Client("minio", "minio", minio, minio_manager, instead="[`PoolManager`](#urllib3) as `http_client=`"),
    Client("docker", "docker", docker),
    Client("hvac (Vault)", "hvac", hvac, hvac_adapter, instead=f"{ADAPTER} on `session=`"),
    Client(
        "websocket-client",
        "websocket-client",
        websocket_client,
        socket=websocket_client_socket,
        options=websocket_client_options,
        instead="[`socket=`](#clients-that-take-a-socket)",
    ),
    Client(
        "websockets", "websockets", websockets_sync, socket=websockets_sync_socket, instead="[`sock=`](#websockets)"
    ),
    Client(
        "websockets, asyncio",
        "websockets",
        websockets_asyncio,
        socket=websockets_asyncio_socket,
        instead=f"[`sock=`]({ASYNC}#websockets)",
    ),
)

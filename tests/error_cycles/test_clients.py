"""The clients: where a client's error is made of ours, that puts it in no cycle.

Not here are those whose own errors are in one, without this library as well: the pools of urllib3, requests, httpx,
aiohttp, and the timeouts of redis-py.
"""

import contextlib
import socket
from importlib import import_module

import pytest

from safeconnect import Connector, integrations

from ..integrations.web_clients import http_client, httpcore, urllib_request, xmlrpc_client
from ..support import black_hole, held_port, linux_only
from .failing import AGAIN, two_refused
from .kit import ON_ASYNCIO, drops, on_asyncio, on_trio

pytestmark = linux_only


def integration(name, needs):
    pytest.importorskip(needs)
    return import_module(f"safeconnect.integrations.{name}")


@contextlib.contextmanager
def refused():
    with held_port() as held:
        yield held.getsockname(), None


@contextlib.contextmanager
def refused_name():
    with held_port() as held:
        yield ("name.test", held.getsockname()[1]), Connector(resolver=two_refused(held), retry=AGAIN)


@contextlib.contextmanager
def silent():
    with black_hole() as hole:
        yield hole, Connector(timeout=0.05)


every_way = pytest.mark.parametrize("way", [refused, refused_name, silent])
SECONDS = 0.05


@every_way
@pytest.mark.parametrize("client", [http_client, urllib_request, xmlrpc_client, httpcore])
def test_web_clients(client, way):
    if client is httpcore:
        pytest.importorskip("httpcore")
    with way() as ((host, port), connector):
        timeout = SECONDS if way is silent else 5
        drops(lambda: client(f"http://{host}:{port}/", timeout, connector))


@every_way
def test_urllib3(way):
    module = integration("urllib3", "urllib3")
    with way() as ((host, port), connector):
        drops(lambda: module.HTTPConnection(host, port, timeout=SECONDS, connector=connector).connect())


@every_way
@pytest.mark.parametrize("name", ["SMTP", "LMTP", "IMAP4", "POP3"])
def test_mail(name, way):
    mail = integration("mail", "smtplib")
    with way() as ((host, port), connector):
        drops(lambda: getattr(mail, name)(host, port, connector=connector))


@every_way
def test_pymysql(way):
    module = integration("pymysql", "pymysql")
    with way() as ((host, port), connector):
        drops(lambda: module.connect(host=host, port=port, user="me", connector=connector, connect_timeout=1))


@pytest.mark.parametrize("way", [refused, refused_name])
def test_redis(way):
    module = integration("redis", "redis")
    with way() as ((host, port), connector):
        drops(lambda: module.Connection(host=host, port=port, connector=connector, retry=None).connect())


@pytest.mark.parametrize("way", [refused, refused_name])
@pytest.mark.parametrize("run", ON_ASYNCIO)
def test_redis_asyncio(run, way):
    module = integration("redis_asyncio", "redis")

    async def call():
        await module.Connection(host=host, port=port, connector=connector).connect()

    with way() as ((host, port), connector):
        run(call)


@every_way
@pytest.mark.parametrize("run", [on_asyncio, on_trio])
def test_httpcore_async(run, way):
    module = integration("httpcore_async", "httpcore")

    async def call():
        await module.AsyncBackend(connector).connect_tcp(host, port, timeout=SECONDS)

    with way() as ((host, port), connector):
        run(call)


def test_arguments():
    drops(lambda: integrations.socket_options("80"), TypeError)
    drops(lambda: integrations.socket_options(0), ValueError)
    drops(lambda: integrations.socket_factory(5), TypeError)
    drops(
        lambda: integrations.socket_factory((socket.AF_INET, socket.SOCK_STREAM, 999, "", ("127.0.0.1", 80))), OSError
    )

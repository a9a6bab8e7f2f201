"""aiohttp with safe connects."""

import asyncio
import errno
import importlib
import socket
import ssl
import sys
import time

import pytest

import safeconnect
from safeconnect import Backoff, ConnectMemory, Connector, Retry
from safeconnect.events import Resolve

from .. import support
from . import kit
from .kit import Trace, dead_addresses, on_every_loop, run, url_of

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
from safeconnect.integrations.aiohttp import TCPConnector  # noqa: E402 - it needs aiohttp

AGAIN = Retry(attempts=2, backoff=Backoff(initial=0.01))


class Names(aiohttp.abc.AbstractResolver):
    """Every name has these addresses; a name that has none is unknown."""

    def __init__(self, *sockaddrs):
        self.sockaddrs = sockaddrs
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked += 1
        if not self.sockaddrs:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            {"hostname": host, "host": each[0], "port": each[1], "family": family, "proto": 0, "flags": 0}
            for each in self.sockaddrs
        ]

    async def close(self):
        pass


async def fetch(url, *, timeout=None, proxy=None, tls=True, **arguments):
    """Get a page with a connector of these arguments; gives its text."""
    timeout = aiohttp.ClientTimeout(**{"total": None, "sock_connect": 5} | (timeout or {}))
    session = aiohttp.ClientSession(connector=TCPConnector(**arguments), timeout=timeout)
    async with session, session.get(url, proxy=proxy, ssl=tls) as response:
        return await response.text()


def failing(url, expected, loop="asyncio", **arguments):
    """The error of a request, which must be of that class and no subclass of it."""
    return support.ran_into(expected, run, lambda: fetch(url, **arguments), loop)


def test_an_address_that_is_not_allowed():
    """Whatever aiohttp's resolver says: literals, names, and the cache of them."""
    connector = Connector(allow=safeconnect.is_global_address)
    with support.listening() as private:
        port = private.getsockname()[1]
        for host in ("127.0.0.1", "rebinding.test"):
            names = Names(("127.0.0.1", port))
            url = f"http://{host}:{port}/"
            error = failing(url, aiohttp.ClientConnectorError, connector=connector, resolver=names)
            assert type(error.os_error) is safeconnect.AddressNotAllowedError
        private.settimeout(0)
        with pytest.raises(BlockingIOError):
            private.accept()


# What works


@on_every_loop
def test_an_exchange(loop):
    with kit.web_server() as port:
        assert run(lambda: fetch(f"http://127.0.0.1:{port}/a"), loop) == "GET /a"
        assert run(lambda: fetch(f"http://localhost:{port}/b"), loop) == "GET /b"


@on_every_loop
def test_an_exchange_over_tls(loop):
    server, client = kit.certificates()
    with kit.web_server(server) as port:
        assert run(lambda: fetch(f"https://localhost:{port}/a", tls=client), loop) == "GET /a"


@pytest.mark.filterwarnings("ignore:The ssl_shutdown_timeout parameter is deprecated")
def test_the_time_for_closing_tls_is_handed_on(monkeypatch):
    if "ssl_shutdown_timeout" not in aiohttp.TCPConnector.__init__.__kwdefaults__:
        pytest.skip("this aiohttp has no ssl_shutdown_timeout")
    seen = []
    create_connection = asyncio.SelectorEventLoop.create_connection

    async def spy(*arguments, **keywords):
        seen.append(keywords.get("ssl_shutdown_timeout"))
        return await create_connection(*arguments, **keywords)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "create_connection", spy)
    server, client = kit.certificates()
    with kit.web_server(server) as port:
        assert run(lambda: fetch(f"https://localhost:{port}/a", tls=client, ssl_shutdown_timeout=0.5)) == "GET /a"
    with kit.web_server() as port:
        assert run(lambda: fetch(f"http://localhost:{port}/a", ssl_shutdown_timeout=0.5)) == "GET /a"
    assert seen == [0.5, None]


# aiohttp 3.10 takes every https through a proxy on uvloop for TLS in TLS.
@pytest.mark.filterwarnings("ignore:An HTTPS request is being sent through an HTTPS proxy")
@on_every_loop
def test_a_proxy(loop):
    server, client = kit.certificates()
    with kit.web_server() as proxy_port, kit.web_server(server) as port:
        proxy = f"http://127.0.0.1:{proxy_port}"
        assert run(lambda: fetch("http://db.test/a", proxy=proxy), loop) == "GET http://db.test/a"
        assert run(lambda: fetch(f"https://localhost:{port}/b", proxy=proxy, tls=client), loop) == "GET /b"


@on_every_loop
def test_a_dead_first_address_costs_the_attempt_delay(loop, hole):
    with kit.web_server() as port:
        began = time.monotonic()
        names = Names(hole, ("127.0.0.1", port))
        assert run(lambda: fetch("http://db.test/a", resolver=names), loop) == "GET /a"
        assert 0.25 <= time.monotonic() - began < support.SOON


def test_the_attempt_delay_is_aiohttps_or_the_connectors(hole):
    with kit.web_server() as port:

        def seconds(**arguments):
            began = time.monotonic()
            run(lambda: fetch("http://db.test/a", resolver=Names(hole, ("127.0.0.1", port)), **arguments))
            return time.monotonic() - began

        assert 0.4 <= seconds(happy_eyeballs_delay=0.4) < support.SOON
        assert 0.4 <= seconds(connector=Connector(happy_eyeballs_delay=0.4)) < support.SOON
        assert 0.4 <= seconds(happy_eyeballs_delay=0.4, connector=Connector(happy_eyeballs_delay=9)) < support.SOON


def test_without_a_delay_the_addresses_share_the_time(hole):
    with kit.web_server() as port:
        began = time.monotonic()
        names = Names(hole, ("127.0.0.1", port))
        work = fetch("http://db.test/a", resolver=names, happy_eyeballs_delay=None, timeout={"sock_connect": 1.6})
        assert asyncio.run(work) == "GET /a"
        assert 0.8 <= time.monotonic() - began < support.SOON


def test_after_a_wrong_certificate_the_other_addresses_have_their_turn():
    trustme = pytest.importorskip("trustme", reason="TLS tests need trustme")
    server, client = kit.certificates()
    wrong = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(wrong)
    with kit.web_server(wrong) as first, kit.web_server(server) as second:
        names = Names(("127.0.0.1", first), ("127.0.0.1", second))
        assert run(lambda: fetch("https://localhost/a", resolver=names, tls=client)) == "GET /a"
        error = failing(f"https://localhost:{first}/a", aiohttp.ClientConnectorCertificateError, tls=client)
        assert isinstance(error.certificate_error, ssl.SSLCertVerificationError)


def test_it_connects_from_the_local_address():
    async def main(**arguments):
        peers = []
        server = await asyncio.start_server(lambda _, writer: answer(writer, peers), "127.0.0.1", 0)
        async with server:
            await fetch(url_of(server.sockets[0].getsockname()), **arguments)
        return peers[0][0]

    async def answer(writer, peers):
        peers.append(writer.get_extra_info("peername"))
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    assert run(lambda: main(local_addr=("127.0.0.2", 0))) == "127.0.0.2"
    assert run(lambda: main(connector=Connector(source_address=("127.0.0.3", 0)))) == "127.0.0.3"
    both = {"local_addr": ("127.0.0.2", 0), "connector": Connector(source_address=("127.0.0.3", 0))}
    assert run(lambda: main(**both)) == "127.0.0.2"


def test_addresses_of_another_family_than_the_local_address_are_left_out():
    with kit.web_server() as port:
        trace = Trace()
        arguments = {"local_addr": ("127.0.0.2", 0), "connector": Connector(trace=trace)}
        names = Names(("::1", port), ("127.0.0.1", port))
        assert run(lambda: fetch("http://db.test/a", resolver=names, **arguments)) == "GET /a"
        assert trace.targets == [("127.0.0.1", port)]
        error = failing(f"http://[::1]:{port}/a", aiohttp.ClientConnectorError, **arguments)
        assert "no address of '::1' is of the family of local_addr ('127.0.0.2', 0)" in str(error.os_error)


def test_options_are_set():
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)]

    async def main(port):
        session = aiohttp.ClientSession(connector=TCPConnector(connector=Connector(options=options)))
        async with session, session.get(f"http://127.0.0.1:{port}/a") as response:
            sock = response.connection.transport.get_extra_info("socket")
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    async def server(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")  # so that the connection stays
        await writer.drain()
        writer.close()

    async def both():
        async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
            return await main(listening.sockets[0].getsockname()[1])

    assert run(both) == 2 * 65536  # Linux counts its own part in (socket(7))


def test_a_retry_tries_the_addresses_of_aiohttps_resolver_again():
    with support.held_port() as held:
        trace, names = Trace(held), Names(held.getsockname())
        again = Connector(retry=AGAIN, trace=trace)

        async def main():
            async with aiohttp.ClientSession(connector=TCPConnector(connector=again, resolver=names)) as session:
                with pytest.raises(aiohttp.ServerTimeoutError):  # the server listens, and says nothing
                    await session.get("http://db.test/", timeout=aiohttp.ClientTimeout(sock_read=0.05))

        run(main)
        assert trace.targets == [held.getsockname()] * 2
        assert names.asked == 1


def test_a_memory_keeps_dead_addresses_out_of_the_way(hole):
    with kit.web_server() as port:
        trace = Trace()
        remembering = Connector(memory=ConnectMemory(), trace=trace)
        for _ in range(2):
            names = Names(hole, ("127.0.0.1", port))
            assert run(lambda: fetch("http://db.test/a", resolver=names, connector=remembering)) == "GET /a"  # noqa: B023
        assert trace.targets == [hole, ("127.0.0.1", port), ("127.0.0.1", port)]


def test_names_are_aiohttps_business():
    with kit.web_server() as port:
        trace = Trace()
        own = Connector(trace=trace, resolution_delay=0.05, resolver=support.resolver(("127.0.0.1", 1)))
        names = Names(("127.0.0.1", port))
        assert run(lambda: fetch("http://db.test/a", resolver=names, connector=own)) == "GET /a"
        assert [message.lookup for message in trace.messages if isinstance(message, Resolve)] == ["both"]
        assert trace.targets == [("127.0.0.1", port)]


# What fails


@on_every_loop
def test_a_refused_connect(loop):
    with support.held_port() as held:
        _, port = held.getsockname()
        error = failing(f"http://127.0.0.1:{port}/", aiohttp.ClientConnectorError, loop)
        assert (error.errno, error.host, error.port) == (errno.ECONNREFUSED, "127.0.0.1", port)
        assert type(error.os_error) is ConnectionRefusedError
        assert error.__notes__[0].startswith(f"127.0.0.1:{port}: failed after ")


def test_every_address_is_tried_once():
    with support.held_port() as one, support.held_port() as two:
        trace = Trace()
        names = Names(one.getsockname(), two.getsockname())
        failing("http://db.test/", aiohttp.ClientConnectorError, resolver=names, connector=Connector(trace=trace))
        assert trace.targets == [one.getsockname(), two.getsockname()]


def test_an_unknown_name():
    expected = getattr(aiohttp, "ClientConnectorDNSError", aiohttp.ClientConnectorError)  # the first 3.10 have none
    error = failing("http://db.test/", expected, resolver=Names())
    assert isinstance(error.os_error, socket.gaierror)


def test_a_refusing_proxy():
    with support.held_port() as held:
        proxy = url_of(held.getsockname())
        for scheme in ("http", "https"):
            error = failing(f"{scheme}://db.test/", aiohttp.ClientProxyConnectionError, proxy=proxy)
            assert error.errno == errno.ECONNREFUSED


@on_every_loop
@pytest.mark.parametrize(
    "arguments",
    [{"timeout": {"sock_connect": 0.4}}, {"timeout": {"sock_connect": None}, "connector": Connector(timeout=0.4)}],
    ids=["aiohttp's timeout", "the connector's timeout"],
)
def test_one_deadline_for_all_addresses(loop, arguments):
    with dead_addresses() as holes:
        arguments = arguments | {"resolver": Names(*holes), "happy_eyeballs_delay": 0.01}
        began = time.monotonic()
        error = failing("http://db.test/", aiohttp.ConnectionTimeoutError, loop, **arguments)
        assert 0.4 <= time.monotonic() - began < 2.3  # six of them would be 2.4
        assert isinstance(error, aiohttp.ServerTimeoutError)
        assert len(error.__cause__.__notes__) == 6


def test_the_deadline_covers_the_tls_handshake():
    with support.listening() as silent:  # the kernel accepts, and nobody answers
        began = time.monotonic()
        url = url_of(silent.getsockname(), "https")
        failing(url, aiohttp.ConnectionTimeoutError, timeout={"sock_connect": 0.3})
        assert 0.3 <= time.monotonic() - began < support.SOON


@on_every_loop
@pytest.mark.parametrize("proxied", [False, True], ids=["a server", "a proxy"])
def test_a_connection_that_is_closed_during_the_tls_handshake(loop, proxied):
    expected = aiohttp.ClientProxyConnectionError if proxied else aiohttp.ClientConnectorError

    async def main():
        async def hang_up(_, writer):
            writer.transport.abort()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            url = url_of(server.sockets[0].getsockname(), "https")
            with pytest.raises(expected) as caught:
                await (fetch("http://db.test/", proxy=url) if proxied else fetch(url))
            assert type(caught.value) is expected
            assert isinstance(caught.value.os_error, ConnectionResetError)

    run(main, loop)


def test_other_timeouts_pass_through(hole):
    url = url_of(hole)
    began = time.monotonic()
    failing(url, TimeoutError, timeout={"total": 0.2, "sock_connect": None})
    failing(url, aiohttp.ConnectionTimeoutError, timeout={"connect": 0.2, "sock_connect": None})
    assert 0.4 <= time.monotonic() - began < support.SOON
    with support.listening() as silent:
        error = failing(url_of(silent.getsockname()), aiohttp.SocketTimeoutError, timeout={"sock_read": 0.1})
        assert "reading" in str(error)


@on_every_loop
def test_a_cancelled_request_leaves_nothing_behind(loop, hole):
    trace = Trace()

    async def main():
        await trace.cancel_with_the_first_attempt(
            fetch(url_of(hole), timeout={"sock_connect": None}, connector=Connector(trace=trace))
        )

    run(main, loop)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"socket_factory": lambda info: socket.socket(*info[:3])}, ValueError),
        ({"interleave": 2}, ValueError),
        ({"interleave": 0}, ValueError),
        ({"connector": object()}, TypeError),
        ({"nonsense": 1}, TypeError),
    ],
)
def test_wrong_arguments(arguments, expected):
    async def main():
        with pytest.raises(expected):
            TCPConnector(**arguments)

    run(main)


def test_arguments_that_say_nothing_else_are_taken():
    async def main():
        await TCPConnector(socket_factory=None, interleave=1).close()
        await TCPConnector(interleave=None, connector=safeconnect.Connector(all_errors=True)).close()

    if "socket_factory" not in aiohttp.TCPConnector.__init__.__kwdefaults__:
        pytest.skip("aiohttp has no socket_factory before 3.12")
    run(main)


def test_it_is_not_used_where_aiohttp_has_another_seam(monkeypatch):
    monkeypatch.delattr(aiohttp.TCPConnector, "_wrap_create_connection")
    monkeypatch.delitem(sys.modules, "safeconnect.integrations.aiohttp")
    with pytest.raises(ImportError, match=r"fits aiohttp 3\.10 to 3\.14, not"):
        importlib.import_module("safeconnect.integrations.aiohttp")

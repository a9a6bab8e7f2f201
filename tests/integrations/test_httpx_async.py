"""httpcore's and httpx's asynchronous halves with safe connects, on asyncio, uvloop and trio."""

import socket
import time

import pytest

from safeconnect import Backoff, ConnectMemory, Connector, Retry

from .. import support
from . import kit
from .kit import Trace, dead_addresses, leading_to, url_of
from .kit import run as run_on_a_loop

anyio = pytest.importorskip("anyio", reason="anyio is not installed")
trio = pytest.importorskip("trio", reason="trio is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
httpcore = pytest.importorskip("httpcore", reason="httpcore is not installed")
from safeconnect.integrations.httpcore_async import AsyncBackend  # noqa: E402 - they need httpcore and httpx
from safeconnect.integrations.httpx_async import AsyncHTTPTransport  # noqa: E402

on_every_loop = pytest.mark.parametrize("loop", [*kit.LOOPS, "trio"])


def run(main, loop="asyncio"):
    return trio.run(main) if loop == "trio" else run_on_a_loop(main, loop)


async def fetch(url, timeout=5, **arguments):
    async with httpx.AsyncClient(transport=AsyncHTTPTransport(**arguments), timeout=timeout) as client:
        return (await client.get(url)).text


def failing(url, expected, loop="asyncio", **arguments):
    return support.ran_into(expected, run, lambda: fetch(url, **arguments), loop)


@on_every_loop
def test_an_exchange(loop):
    with kit.web_server() as port:
        assert run(lambda: fetch(f"http://localhost:{port}/a"), loop) == "GET /a"


@on_every_loop
def test_an_exchange_over_tls(loop):
    server, client = kit.certificates()
    with kit.web_server(server) as port:
        assert run(lambda: fetch(f"https://localhost:{port}/a", verify=client), loop) == "GET /a"
        failing(f"https://localhost:{port}/a", httpx.ConnectError, loop)  # an unknown authority


@on_every_loop
def test_a_proxy(loop):
    server, client = kit.certificates()
    with kit.web_server() as proxy, kit.web_server(server) as port:
        trace = Trace()
        through = {"proxy": f"http://127.0.0.1:{proxy}", "verify": client, "connector": Connector(trace=trace)}
        assert run(lambda: fetch("http://db.test/a", **through), loop) == "GET http://db.test/a"
        assert run(lambda: fetch(f"https://localhost:{port}/b", **through), loop) == "GET /b"
        assert trace.targets == [("127.0.0.1", proxy)] * 2


@on_every_loop
def test_httpcores_own_pool(loop):
    async def main():
        async with httpcore.AsyncConnectionPool(network_backend=AsyncBackend()) as pool:
            return (await pool.request("GET", f"http://localhost:{port}/a")).content

    with kit.web_server() as port:
        assert run(main, loop) == b"GET /a"


@on_every_loop
def test_a_dead_first_address_costs_the_attempt_delay(loop, hole):
    with kit.web_server() as port:
        began = time.monotonic()
        names = leading_to(hole, ("127.0.0.1", port))
        assert run(lambda: fetch("http://db.test/a", connector=names), loop) == "GET /a"
        assert 0.25 <= time.monotonic() - began < support.SOON


def test_a_memory_keeps_dead_addresses_out_of_the_way(hole):
    with kit.web_server() as port:
        trace, good = Trace(), ("127.0.0.1", port)
        names = leading_to(hole, good, memory=ConnectMemory(), trace=trace)
        for _ in range(2):
            assert run(lambda: fetch("http://db.test/a", connector=names)) == "GET /a"
        assert trace.targets == [hole, good, good]


@on_every_loop
def test_a_retry(loop):
    with support.held_port() as held:
        trace = Trace(held)
        again = Connector(retry=Retry(attempts=2, backoff=Backoff(initial=0.01)), trace=trace)
        timeout = httpx.Timeout(5, read=0.05)
        # The server listens from the first failure on, and says nothing.
        failing(url_of(held.getsockname()), httpx.ReadTimeout, loop, timeout=timeout, connector=again)
        assert trace.targets == [held.getsockname()] * 2


@on_every_loop
def test_the_clients_options_and_local_address(loop):
    async def main(port):
        pool = httpcore.AsyncConnectionPool(
            network_backend=AsyncBackend(Connector(source_address=("127.0.0.3", 0))),
            local_address="127.0.0.2",
            socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)],
        )
        async with pool, pool.stream("GET", f"http://127.0.0.1:{port}/a") as response:
            stream = response.extensions["network_stream"]
            sock = stream.get_extra_info("socket")
            assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536  # socket(7)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with kit.web_server() as port:
        run(lambda: main(port), loop)


@on_every_loop
def test_a_refused_connect(loop):
    with support.held_port() as held:
        _, port = held.getsockname()
        error = failing(f"http://127.0.0.1:{port}/", httpx.ConnectError, loop)
        assert str(error) == "[Errno 111] Connection refused"
        assert error.__notes__[0].startswith(f"127.0.0.1:{port}: failed after ")
        assert any(type(each) is ConnectionRefusedError for each in kit.chain(error))


def test_an_unknown_name():
    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = failing("http://db.test:7/", httpx.ConnectError, connector=Connector(resolver=unknown))
    assert error.__notes__ == ["while looking up host 'db.test', port 7"]


@on_every_loop
@pytest.mark.parametrize(
    ("timeout", "own"), [(0.4, 9), (None, 0.4)], ids=["the client's timeout", "the connector's timeout"]
)
def test_one_deadline_for_all_addresses(loop, timeout, own):
    with dead_addresses() as holes:
        began = time.monotonic()
        names = leading_to(*holes, timeout=own, happy_eyeballs_delay=0.01)
        error = failing("http://db.test/", httpx.ConnectTimeout, loop, timeout=timeout, connector=names)
        assert 0.4 <= time.monotonic() - began < 2.3  # six of them would be 2.4
        assert len(error.__notes__) == 6


@on_every_loop
def test_a_cancelled_request_leaves_nothing_behind(loop, hole):
    async def main():
        began = time.monotonic()
        with anyio.move_on_after(0.2) as scope:
            await fetch(url_of(hole), timeout=None)
        assert scope.cancelled_caught
        assert time.monotonic() - began < support.SOON

    run(main, loop)


def test_a_wrong_connector():
    with pytest.raises(TypeError, match="connector must be a Connector, not object"):
        AsyncHTTPTransport(connector=object())


def test_a_transport_without_the_seam(monkeypatch):
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "__init__", lambda self: setattr(self, "_pool", object()))
    with pytest.raises(RuntimeError, match="keeps its network backend elsewhere"):
        AsyncHTTPTransport()


def test_errors_that_are_not_of_the_connect():
    with support.listening() as silent:
        error = failing(url_of(silent.getsockname()), httpx.ReadTimeout, timeout=0.05)
        assert not hasattr(error, "__notes__")
        failing("unknown://db.test/", httpx.UnsupportedProtocol)


def test_an_error_without_a_cause_stays_as_it_is(monkeypatch):
    async def fail(*_):
        raise httpx.ReadError("made by a test")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", fail)
    assert not hasattr(failing("http://db.test/", httpx.ReadError), "__notes__")

"""asyncio's own connects under `install`: the connect is ours, all else is asyncio's."""

import asyncio
import gc
import socket
import ssl

import pytest

from safeconnect import Connector, SelfConnectError, install, testing, uninstall

from .. import support


@pytest.fixture(autouse=True)
def traced():
    events = []
    install(clients=["asyncio"], connector=Connector(trace=events.append))
    yield events
    uninstall()


@pytest.fixture
def server():
    with testing.serve() as made:
        yield made


async def exchange(*args, **kwargs):
    reader, writer = await asyncio.open_connection(*args, **kwargs)
    writer.write(b"hello")
    try:
        return await reader.readexactly(5), writer.get_extra_info("sockname")
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_connect_to_itself_is_an_error():
    port = support.closed_port(1)
    with testing.self_connecting(port=port), pytest.raises(SelfConnectError):
        asyncio.run(exchange("127.0.0.1", port))


def test_over_tls(traced):
    trustme = pytest.importorskip("trustme", reason="TLS tests need trustme")
    ca = trustme.CA()
    there, here = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(there)
    ca.configure_trust(here)

    async def echo(reader, writer):
        writer.write(await reader.readexactly(5))
        writer.close()

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=there) as made:
            port = made.sockets[0].getsockname()[1]
            data, _ = await exchange("127.0.0.1", port, ssl=here, ssl_handshake_timeout=30)
            assert data == b"hello"
            with pytest.raises(ssl.SSLCertVerificationError):
                await exchange("127.0.0.1", port, ssl=here, server_hostname="other.test")

    asyncio.run(main())
    assert traced


def test_from_a_local_address_and_by_a_family(server):
    data, (host, *_) = asyncio.run(
        exchange(*server.address, local_addr=("127.0.0.2", 0), family=socket.AF_INET, happy_eyeballs_delay=0.1)
    )
    assert (data, host) == (b"hello", "127.0.0.2")


def test_a_connected_socket_is_taken_as_it_is(server, traced):
    sock = socket.create_connection(server.address, 5)
    traced.clear()
    assert asyncio.run(exchange(sock=sock))[0] == b"hello"
    assert not traced


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"host": "127.0.0.1", "port": 1, "server_hostname": "x"},
        {"host": "127.0.0.1", "port": 1, "ssl_handshake_timeout": 1},
    ],
)
def test_what_asyncio_refuses_it_refuses_still(arguments, traced):
    with pytest.raises(ValueError, match=r"."):
        asyncio.run(exchange(**arguments))
    assert not traced


def test_all_errors():
    async def main():
        loop = asyncio.get_running_loop()
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", support.closed_port(1), all_errors=True)

    if "all_errors" in asyncio.BaseEventLoop.create_connection.__code__.co_varnames:
        with pytest.raises(ExceptionGroup):
            asyncio.run(main())


def test_a_factory_that_fails_leaves_no_socket(server):
    def fail():
        raise KeyError

    async def main():
        with pytest.raises(KeyError):
            await asyncio.get_running_loop().create_connection(fail, *server.address)

    asyncio.run(main())
    gc.collect()  # a socket that was left would warn, which is an error here


class OwnNames(asyncio.SelectorEventLoop):
    """A loop that looks names up in a way of its own."""

    asked = ()

    async def getaddrinfo(self, host, port, **hints):
        self.asked = (host, port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", self.answer)] if host == "a.test" else []


def test_a_loop_with_names_of_its_own_is_asked(server, traced):
    with asyncio.Runner(loop_factory=OwnNames) as runner:
        loop = runner.get_loop()
        loop.answer = server.address
        assert runner.run(exchange("a.test", 7))[0] == b"hello"
        assert loop.asked == ("a.test", 7)
        with pytest.raises(OSError, match="empty list"):
            runner.run(exchange("b.test", 7))
    assert traced

"""What the drivers give besides sockets: streams, transports, TLS, and turns for other tasks."""

import asyncio
import math
import socket
import ssl
import threading

import anyio
import pytest
import trio
import trustme
from anyio.streams.tls import TLSStream

import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Connector

from ..drivers import uvloop
from ..support import SOON, closed_port, linux_only, needs_ipv6, resolver, timed

loop_factories = pytest.mark.parametrize(
    "loop_factory",
    [
        None,
        pytest.param(
            uvloop and uvloop.new_event_loop,
            marks=pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows"),
        ),
    ],
    ids=["asyncio", "uvloop"],
)


def run(main, loop_factory=None):
    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(main())


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls_echo(authority, server):
    """The address of a server that speaks TLS as localhost and sends back what it gets, once."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    def serve():
        try:
            with context.wrap_socket(server.accept()[0], server_side=True) as peer:
                peer.sendall(peer.recv(100))
                peer.unwrap().close()  # says goodbye, for anyio insists on it
        except OSError:
            return  # the client did not like us

    thread = threading.Thread(target=serve)
    thread.start()
    yield ("localhost", server.getsockname()[1])
    thread.join()


@loop_factories
class TestAsyncioStreams:
    def test_exchange(self, loop_factory, server):
        async def main():
            reader, writer = await safeconnect.asyncio.open_connection(server.getsockname(), 5, limit=17)
            peer, _ = server.accept()
            with peer:
                writer.write(b"ping")
                assert peer.recv(100) == b"ping"
                peer.sendall(b"pong")
                assert await reader.readexactly(4) == b"pong"
                assert reader._limit == 17
                writer.close()
                await writer.wait_closed()

        run(main, loop_factory)

    def test_tls(self, loop_factory, tls_echo, trusted):
        async def main():
            reader, writer = await safeconnect.asyncio.open_connection(tls_echo, 5, ssl=trusted)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            writer.close()
            await writer.wait_closed()

        run(main, loop_factory)

    @pytest.mark.parametrize("host", ["localhost", b"localhost"])
    def test_certificate_of_another_host(self, loop_factory, tls_echo, trusted, host):
        async def main():
            with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
                await safeconnect.asyncio.open_connection(
                    (host, tls_echo[1]), 5, ssl=trusted, server_hostname="example.org"
                )

        run(main, loop_factory)

    @pytest.mark.parametrize(
        ("settings", "kind"),
        [
            ({"ssl": "yes"}, TypeError),
            ({"ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, ssl.SSLError),
            ({"ssl": True, "server_hostname": ".x"}, ValueError),
        ],
    )
    def test_what_is_wrong_with_tls_leaves_nothing(self, loop_factory, server, settings, kind):
        async def main():
            with pytest.raises(kind):
                await safeconnect.asyncio.open_connection(server.getsockname(), 5, **settings)

        run(main, loop_factory)

    def test_refused(self, loop_factory):
        async def main():
            with pytest.raises(ConnectionRefusedError) as caught:
                await safeconnect.asyncio.open_connection(("127.0.0.1", closed_port(1)), 5)
            assert caught.value.__notes__

        run(main, loop_factory)


def test_closed_right_after_it_is_open(server):
    async def main():
        _, writer = await safeconnect.asyncio.open_connection(server.getsockname(), 5)
        writer.write(b"bye")
        writer.close()
        await writer.wait_closed()
        with server.accept()[0] as peer:
            peer.settimeout(5)
            assert peer.recv(100) == b"bye"
            assert peer.recv(100) == b""

    run(main)


class TestAsyncioTransports:
    def test_a_factory_that_fails_leaves_nothing(self, server):
        async def main():
            with pytest.raises(ZeroDivisionError):
                await safeconnect.asyncio.connect_transport(lambda: 1 / 0, server.getsockname(), 5)

        run(main)

    @pytest.mark.parametrize(
        ("address", "settings", "words"),
        [
            (("127.0.0.1", 1), {"server_hostname": "x"}, "only meaningful with ssl"),
            ((None, 1), {"ssl": True}, "server_hostname must be given"),
        ],
    )
    def test_wrong_arguments(self, address, settings, words):
        async def main():
            with pytest.raises(ValueError, match=words):
                await safeconnect.asyncio.connect_transport(asyncio.Protocol, address, **settings)

        run(main)


class TestConnectors:
    def test_the_timeout_is_the_connectors_where_none_is_given(self):
        release = threading.Event()
        connector = Connector(timeout=0.05, resolver=lambda *_: release.wait(10) or [])

        async def main():
            with pytest.raises(TimeoutError):
                await safeconnect.asyncio.create_connection(("name", 1), connector=connector)

        try:
            run(main)
        finally:
            release.set()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"connector": Connector(), "trace": print, "retry": None}, "give either connector or trace, retry"),
            ({"connector": 5}, "connector must be a Connector, not int"),
        ],
    )
    def test_are_all_there_is(self, settings, words):
        async def main():
            with pytest.raises(TypeError, match=words):
                await safeconnect.asyncio.create_connection(("127.0.0.1", 1), **settings)

        run(main)


class TestTurns:
    def test_connects_that_are_done_at_once_let_other_tasks_run(self, server):
        async def main():
            turns, done = 0, False

            async def other():
                nonlocal turns
                while not done:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(other())
            await asyncio.sleep(0)
            before = turns
            for _ in range(64):
                (await safeconnect.asyncio.create_connection(server.getsockname())).close()
                server.accept()[0].close()
            assert turns - before == 64 // 8
            for _ in range(64):
                with pytest.raises(ConnectionRefusedError):
                    await safeconnect.asyncio.create_connection(("127.0.0.1", closed), trace=lambda _: None)
            assert turns - before == 128 // 8
            done = True
            await task

        closed = closed_port(1)
        run(main)

    def test_each_connect_of_trio_is_a_checkpoint(self, server):
        async def main():
            with trio.testing.assert_checkpoints():
                (await safeconnect.trio.create_connection(server.getsockname())).close()
            closed = ("127.0.0.1", closed_port(1))
            with trio.testing.assert_checkpoints(), pytest.raises(ConnectionRefusedError):
                await safeconnect.trio.create_connection(closed)

        trio.run(main)

    def test_the_clock_is_the_loops(self, hole):
        """Policy in virtual time: a day passes at once."""

        async def main():
            began = trio.current_time()
            with pytest.raises(TimeoutError) as caught:
                await safeconnect.trio.create_connection(hole, 86_399, second_attempt_delay=None)
            assert 86_399 <= trio.current_time() - began < 86_400
            assert "after 24 h" in caught.value.__notes__[0]

        _, seconds = timed(lambda: trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01)))
        assert seconds < SOON


class TestTrioStreams:
    def test_takes_the_place_of_trios(self, server):
        async def main():
            host, port = server.getsockname()
            stream = await safeconnect.trio.open_tcp_stream(
                host, port, happy_eyeballs_delay=math.inf, local_address="127.0.0.1"
            )
            assert type(stream) is trio.SocketStream
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            with server.accept()[0] as peer:
                await stream.send_all(b"ping")
                assert peer.recv(100) == b"ping"
                await stream.aclose()

        trio.run(main)

    def test_an_infinite_delay_waits_for_the_first(self, server):
        names = resolver(("127.0.0.1", closed_port(1)), server.getsockname())

        async def main():
            stream = await safeconnect.trio.open_tcp_stream(
                "name", 1, happy_eyeballs_delay=math.inf, timeout=5, resolver=names
            )
            assert stream.socket.getpeername() == server.getsockname()
            await stream.aclose()

        trio.run(main)

    @pytest.mark.parametrize(
        ("arguments", "kind", "words"),
        [((None, 80), ValueError, "host cannot be None"), (("::1", "80"), TypeError, "port must be an int, not str")],
    )
    def test_wrong_arguments(self, arguments, kind, words):
        with pytest.raises(kind, match=words):
            trio.run(safeconnect.trio.open_tcp_stream, *arguments)


async def sent_until_full(peer):
    """How many bytes go out until the buffers are full; an error if they do not fill."""
    peer.settimeout(0)
    sent = 0
    while sent < 64 << 20:  # many times what the kernel buffers
        try:
            sent += peer.send(bytes(1 << 20))
        except BlockingIOError:
            return sent
        await anyio.lowlevel.checkpoint()
    raise AssertionError("somebody reads")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
class TestAnyio:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_exchange(self, backend, server, host):
        async def main():
            stream = await safeconnect.anyio.connect_tcp(
                host, server.getsockname()[1], local_host="127.0.0.1", timeout=5, happy_eyeballs_delay=0.1
            )
            with server.accept()[0] as peer:
                await stream.send(b"ping")
                assert peer.recv(100) == b"ping"
                await stream.aclose()

        anyio.run(main, backend=backend)

    def test_sends_small_pieces_at_once(self, backend, server):
        async def main():
            async with await safeconnect.anyio.connect_tcp(*server.getsockname(), timeout=5) as stream:
                raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

        anyio.run(main, backend=backend)

    def test_reads_nothing_before_it_is_asked_to(self, backend, server):
        """What the peer sends stays in the kernel's buffers, which fill: no memory grows while nobody receives."""

        async def main():
            async with await safeconnect.anyio.connect_tcp(*server.getsockname(), timeout=5) as stream:
                peer, _ = server.accept()
                with peer:
                    sent = await sent_until_full(peer)
                    received = 0
                    while received < sent:
                        received += len(await stream.receive())
                    assert received == sent

        anyio.run(main, backend=backend)

    def test_tls(self, backend, tls_echo, trusted):
        async def main():
            async with await safeconnect.anyio.connect_tcp(*tls_echo, ssl_context=trusted, timeout=5) as stream:
                assert isinstance(stream, TLSStream)
                await stream.send(b"ping")
                assert await stream.receive() == b"ping"

        anyio.run(main, backend=backend)

    @linux_only
    def test_tls_handshake_under_the_deadline(self, backend, server):
        async def main():
            with pytest.raises(TimeoutError, match="timed out") as caught:
                await safeconnect.anyio.connect_tcp(*server.getsockname(), tls=True, timeout=0.05)
            assert "during the TLS handshake" in caught.value.__notes__[0]

        anyio.run(main, backend=backend)

    def test_refused(self, backend):
        async def main():
            with pytest.raises(ConnectionRefusedError) as caught:
                await safeconnect.anyio.connect_tcp("127.0.0.1", closed_port(1), timeout=5)
            assert caught.value.__notes__

        anyio.run(main, backend=backend)

    @needs_ipv6
    def test_source_of_another_family(self, backend):
        async def main():
            with pytest.raises(OSError, match=r"[Aa]ddress"):
                await safeconnect.anyio.connect_tcp("::1", closed_port(1), local_host="127.0.0.1", timeout=5)

        anyio.run(main, backend=backend)


@pytest.mark.parametrize("name", ["trio", "anyio"])
def test_a_missing_library_is_told(monkeypatch, name):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"safeconnect.{name}")
    with pytest.raises(ImportError, match=f"safeconnect.{name} needs {name}"):
        importlib.import_module(f"safeconnect.{name}")

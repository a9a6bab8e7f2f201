"""trio with sockets that cannot connect to themselves, and clients that take a connected socket."""

import socket

import pytest

import safeconnect.asyncio
from safeconnect.integrations import socket_options

from .. import support
from .kit import run

trio = pytest.importorskip("trio", reason="trio is not installed")
from safeconnect.integrations.trio import SocketFactory  # noqa: E402 - it needs trio


@support.both_families
def test_an_exchange(family):
    async def main(server):
        host, port = server.getsockname()[:2]
        trio.socket.set_custom_socket_factory(SocketFactory(port))
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(b"hello")
        there, _ = server.accept()
        with there:
            return there.recv(5)

    with support.listening(family) as server:
        assert trio.run(main, server) == b"hello"


@support.needs_port_range
def test_sockets_for_tcp_have_the_options():
    port = support.closed_port()

    async def main():
        trio.socket.set_custom_socket_factory(SocketFactory(port))
        kinds = [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)]
        for family, kind in kinds:
            with trio.socket.socket(family, kind) as sock:
                yield sock.getsockopt(socket.IPPROTO_IP, support.IP_LOCAL_PORT_RANGE)
        with trio.socket.socket(socket.AF_UNIX) as sock:
            assert sock.family == socket.AF_UNIX

    async def collected():
        return [value async for value in main()]

    ((_, _, expected),) = socket_options(port)
    assert trio.run(collected) == [expected, 0]


def test_a_socket_that_cannot_be_dressed_is_closed(monkeypatch):
    monkeypatch.setattr("safeconnect.integrations.trio.socket_options", lambda port: [(0, -1, 0)])
    with pytest.raises(OSError, match="Protocol not available"):
        SocketFactory(7).socket()


@pytest.mark.parametrize(("port", "expected"), [(0, ValueError), (65536, ValueError), ("80", TypeError)])
def test_wrong_ports(port, expected):
    with pytest.raises(expected):
        SocketFactory(port)


def test_websockets_takes_a_connected_socket():
    client = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed")
    server = pytest.importorskip("websockets.asyncio.server")

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def main():
        async with server.serve(echo, "127.0.0.1", 0) as serving:
            host, port = serving.sockets[0].getsockname()
            sock = await safeconnect.asyncio.create_connection((host, port), timeout=5)
            async with client.connect(f"ws://{host}:{port}/", sock=sock) as websocket:
                await websocket.send("hello")
                return await websocket.recv()

    assert run(main) == "hello"

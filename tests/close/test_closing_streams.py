"""close_gracefully where the peer is ahead: it has closed, has more to say, or has not read."""

import asyncio
import contextlib
import socket
import ssl

import pytest

import safeconnect.asyncio
from safeconnect import Closed, close_gracefully

from .. import support
from ..support import linux_only, meanwhile
from .kit import each_tls, each_way


@linux_only
@each_way
def test_what_was_sent_has_not_been_read(close, pair):
    """The peer's FIN is here already; "clean" would be a lie as long as our data waits to be sent."""
    one, other = pair
    other.shutdown(socket.SHUT_WR)
    one.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(bytes(2**20))
    one.settimeout(5)
    assert close(one, 0.1) == Closed("timed out", 0)


@each_way
def test_the_peer_reads_after_its_end(close, pair):
    one, other = pair
    other.shutdown(socket.SHUT_WR)
    one.sendall(b"x" * 1000)
    assert close(one) == Closed("clean", 0)
    assert other.recv(2000, socket.MSG_WAITALL) == b"x" * 1000


@each_tls
def test_tls_peer_has_more_to_say_before_it_reads(close, server, contexts):
    """It gets everything all the same."""
    client, serving = contexts
    received = []

    def peer():
        with serving.wrap_socket(server.accept()[0], server_side=True) as sock:
            sock.sendall(b"y" * 50_000)
            while part := sock.recv(2**16):
                received.append(part)

    with meanwhile(peer):
        closed = close(server.getsockname(), client, b"x" * 100_000)
    assert b"".join(received) == b"x" * 100_000
    assert closed.is_clean


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_peer_has_said_goodbye_first(version, server, contexts):
    """It gets our close_notify, and not only a FIN: its unwrap() ends without an error."""
    client, serving = contexts
    client.maximum_version = version

    def peer():
        with serving.wrap_socket(server.accept()[0], server_side=True, suppress_ragged_eofs=False) as sock:
            sock.unwrap().close()

    with meanwhile(peer):
        raw = socket.create_connection(server.getsockname())
        with client.wrap_socket(raw, server_hostname="localhost") as sock:
            support.wait_until(lambda: safeconnect.unread_bytes(sock))
            assert close_gracefully(sock).is_clean


@pytest.mark.parametrize("end", [socket.socket.close, support.reset], ids=["closed", "reset"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_streams_whose_peer_is_gone(end, tls, server, contexts):
    """The transport may have closed itself by then."""
    client, serving = contexts

    def peer():
        sock = server.accept()[0]
        if tls:
            sock = serving.wrap_socket(sock, server_side=True)
        assert sock.recv(1) == b"x"
        end(sock)

    async def main():
        options = {"ssl": client, "server_hostname": "localhost"} if tls else {}
        streams = await asyncio.open_connection(*server.getsockname(), **options)
        streams[1].write(b"x")
        with contextlib.suppress(OSError):
            assert await streams[0].read() == b""
        closed = await safeconnect.asyncio.close_gracefully(streams)
        await asyncio.sleep(0)
        return closed

    with meanwhile(peer):
        closed = asyncio.run(main(), debug=True)
    assert closed.how == ("clean" if end is not support.reset else "reset")
    assert closed.dropped == 0

"""close_gracefully in every driver and over TLS; what a peer does to it, and what it leaves behind."""

import asyncio
import contextlib
import errno
import socket
import threading
import time

import pytest

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Closed, close_gracefully
from safeconnect._close.policy import LIMIT

from .. import support
from ..support import linux_only, meanwhile
from .kit import blocking, close_blocking_tls, each_tls, each_way, on_asyncio, on_trio


def send_for_ever(sock):
    while True:
        sock.sendall(b"x" * 2**16)


def is_reset(sock):
    """Whether the other side has reset the connection; Linux calls that EPIPE where a FIN came before the RST."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE)


def read_all(sock):
    parts = []
    while part := sock.recv(2**16):
        parts.append(part)
    return b"".join(parts)


@each_way
class TestPlain:
    def test_the_peer_gets_everything_and_closes(self, close, pair):
        one, other = pair
        one.sendall(b"x" * 100_000)
        received = []

        def peer():
            received.append(read_all(other))
            other.close()

        with meanwhile(peer):
            assert close(one) == Closed("clean", 0)
        assert len(received[0]) == 100_000
        assert one.fileno() == -1

    def test_what_the_peer_still_sends_is_dropped_and_counted(self, close, pair):
        one, other = pair

        def peer():
            assert other.recv(1) == b""
            other.sendall(b"y" * 200_000)
            other.close()

        with meanwhile(peer):
            assert close(one) == Closed("clean", 200_000)

    def test_the_peer_has_closed_first(self, close, pair):
        one, other = pair
        other.sendall(b"bye")
        other.close()
        assert close(one) == Closed("clean", 3)

    def test_a_peer_that_does_not_close(self, close, pair):
        one, other = pair
        began = time.monotonic()
        assert close(one, 0.05) == Closed("timed out", 0)
        assert time.monotonic() - began < support.SOON
        assert other.recv(1) == b""  # our end of the stream
        assert is_reset(other)

    def test_no_time_at_all(self, close, pair):
        one, _ = pair
        assert close(one, 0) == Closed("timed out", 0)

    def test_a_peer_that_does_not_stop(self, close, pair):
        one, other = pair

        def peer():
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                send_for_ever(other)

        with meanwhile(peer):
            closed = close(one, limit=300_000)
        assert closed.how == "overflow"
        assert 300_000 < closed.dropped <= 300_000 + 2**16

    def test_a_peer_that_resets(self, close, pair):
        one, other = pair
        support.reset(other)
        assert close(one) == Closed("reset", 0)

    @linux_only
    def test_one_connected_to_itself(self, close):
        port = support.closed_port()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            sock.connect(("127.0.0.1", port))
            assert close(sock) == Closed("reset", 0)
        assert support.tcp_sockets(port, peer=port) == []
        support.serve_plainly(port)

    @linux_only
    def test_close_wait_is_over(self, close, pair):
        one, other = pair
        port, peer = one.getsockname()[1], other.getsockname()[1]
        other.shutdown(socket.SHUT_WR)
        assert safeconnect.tcp_state(one) == "CLOSE_WAIT"
        with meanwhile(lambda: (read_all(other), other.close())):
            assert close(one).is_clean
        assert support.TIME_WAIT not in support.tcp_sockets(
            port, peer=peer
        )  # that is where the peer is: it closed first

    @pytest.mark.parametrize(
        ("settings", "kind", "text"),
        [
            ({"timeout": -1}, ValueError, "timeout must be 0 or more"),
            ({"timeout": "5"}, TypeError, "timeout must be a number"),
            ({"limit": -1}, ValueError, "limit must be"),
            ({"limit": 1.5}, TypeError, "limit must be an int"),
        ],
    )
    def test_arguments(self, close, pair, settings, kind, text):
        with pytest.raises(kind, match=text):
            close(pair[0], **settings)


@pytest.mark.parametrize("close", [blocking, on_asyncio, on_trio])
def test_closed_already(close, pair):
    pair[0].close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        close(pair[0])


def test_interrupted(pair, monkeypatch):
    """The socket is closed, with a reset, and the interrupt goes on."""
    one, other = pair

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("safeconnect._close.policy.Closing.seconds_left", interrupt)
    with pytest.raises(KeyboardInterrupt):
        close_gracefully(one)
    assert one.fileno() == -1
    assert is_reset(other)


def test_cancelled(pair):
    one, other = pair

    async def main():
        closing = asyncio.create_task(safeconnect.asyncio.close_gracefully(one, None))
        assert await asyncio.to_thread(other.recv, 1) == b""
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert one.fileno() == -1

    asyncio.run(main(), debug=True)


@each_tls
@pytest.mark.parametrize("answers", ["close_notify", "only FIN", "reset"])
def test_tls(close, answers, server, contexts):
    """The peer reads to our close_notify: suppress_ragged_eofs=False tells it from a mere FIN."""
    client, serving = contexts
    received = []

    def peer():
        raw = server.accept()[0]
        with serving.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as sock:
            sock.settimeout(5)
            while part := sock.recv(2**16):
                received.append(part)
            if answers == "close_notify":
                with contextlib.suppress(OSError):  # asyncio has gone by then
                    sock.unwrap()
            elif answers == "reset":
                support.reset(sock)

    with meanwhile(peer):
        closed = close(server.getsockname(), client, b"request" * 1000)
    assert b"".join(received) == b"request" * 1000
    assert closed.dropped == 0
    assert closed.how in ({"reset", "clean"} if answers == "reset" else {"clean"})


def test_tls_peer_has_more_to_say(server, contexts):
    client, serving = contexts

    def peer():
        with serving.wrap_socket(server.accept()[0], server_side=True) as sock:
            sock.sendall(b"y" * 100_000)
            assert sock.recv(1) == b""
            sock.sendall(b"z" * 50_000)

    with meanwhile(peer):
        closed = close_blocking_tls(server.getsockname(), client, b"")
    assert closed.is_clean
    assert 150_000 - 2**14 <= closed.dropped <= 150_000  # unwrap() may have thrown a record away


def test_tls_limit_is_that_of_the_data(server, contexts):
    client, serving = contexts

    def peer():
        with serving.wrap_socket(server.accept()[0], server_side=True) as sock, contextlib.suppress(OSError):
            send_for_ever(sock)

    with meanwhile(peer):
        closed = close_blocking_tls(server.getsockname(), client, b"")
    assert closed.how == "overflow"
    assert LIMIT < closed.dropped <= LIMIT + 2**16


def test_tls_peer_that_does_not_read(server, contexts):
    """close_notify finds no room in the send buffer: it waits, but not past the deadline."""
    client, serving = contexts
    done = threading.Event()

    def peer():
        with serving.wrap_socket(server.accept()[0], server_side=True):
            assert done.wait(10)

    with meanwhile(peer):
        raw = socket.create_connection(server.getsockname())
        with client.wrap_socket(raw, server_hostname="localhost") as sock:
            sock.settimeout(0.05)
            with pytest.raises(OSError, match="timed out"):
                send_for_ever(sock)
            began = time.monotonic()
            assert close_gracefully(sock, 0.05).how in {"timed out", "reset"}
            assert time.monotonic() - began < support.SOON
        done.set()

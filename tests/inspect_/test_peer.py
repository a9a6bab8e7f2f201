"""What the other side has done, looked at from every kind of socket, and acknowledgements that do not wait."""

import asyncio.trsock
import contextlib
import importlib.util
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

import pytest
import trio

from safeconnect import peer_closed, quick_ack, recv_with_quick_ack, tcp_info, unread_bytes
from safeconnect._inspect import connection as peer

from .. import support
from ..integrations import kit
from ..namespace import ROOT
from ..support import both_families, linux_only, wait_until

pytestmark = linux_only

# How an end is looked for: what some platform, or a tool that patches `select`, has to offer.
WAYS = ["as it is", "no POLLRDHUP", "no poll", "neither", "as on Windows"]


@contextlib.contextmanager
def connected(family=socket.AF_INET):
    with (
        support.listening(family) as server,
        socket.create_connection(server.getsockname()[:2]) as one,
        server.accept()[0] as other,
    ):
        # What should not wait fails soon if it does, instead of for ever.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
        yield one, other


@pytest.fixture
def pair():
    with connected() as both:
        yield both


@pytest.fixture(params=WAYS)
def way(request, monkeypatch, on_platform):
    if request.param in ("no POLLRDHUP", "neither", "as on Windows"):
        monkeypatch.setattr(peer, "_RDHUP", 0)
    if request.param in ("no poll", "neither"):
        monkeypatch.delattr(select, "poll")
    if request.param == "as on Windows":
        on_platform("win32")
    return request.param


def has_arrived(sock, size):
    wait_until(lambda: unread_bytes(sock) == size)


def fin_has_arrived(sock):
    wait_until(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x08")  # CLOSE_WAIT


def urgent_data_has_arrived(sock):
    assert select.select([], [], [sock], 5)[2]


@pytest.mark.usefixtures("way")
class TestEnds:
    @both_families
    def test_closed_in_order(self, family):
        with connected(family) as (one, other):
            other.close()
            wait_until(lambda: peer_closed(one))
            assert unread_bytes(one) == 0
            assert one.recv(1) == b""
            assert peer_closed(one)

    def test_closed_behind_data(self, pair, way):
        one, other = pair
        other.sendall(b"hello")
        has_arrived(one, 5)
        other.close()
        fin_has_arrived(one)
        assert peer_closed(one) is (way == "as it is")
        assert unread_bytes(one) == 5
        assert one.recv(2) == b"he"
        assert unread_bytes(one) == 3
        assert one.recv(3) == b"llo"
        assert peer_closed(one)
        assert unread_bytes(one) == 0

    @both_families
    def test_reset(self, family):
        with connected(family) as (one, other):
            support.reset(other)
            wait_until(lambda: peer_closed(one))
            assert unread_bytes(one) == 0

    def test_urgent_data_is_no_end(self, pair):
        one, other = pair
        other.send(b"!", socket.MSG_OOB)
        urgent_data_has_arrived(one)
        assert not peer_closed(one)
        assert one.recv(1, socket.MSG_OOB) == b"!"

    def test_urgent_data_before_the_end(self, pair):
        one, other = pair
        other.send(b"!", socket.MSG_OOB)
        urgent_data_has_arrived(one)
        other.close()
        wait_until(lambda: peer_closed(one))

    def test_our_own_end_is_not_the_peers(self, pair):
        one, other = pair
        one.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
        assert not peer_closed(one)
        other.close()
        wait_until(lambda: peer_closed(one))

    def test_never_connected(self):
        with socket.socket() as sock:
            assert peer_closed(sock)
            assert unread_bytes(sock) == 0

    @pytest.mark.parametrize("look", [peer_closed, unread_bytes])
    def test_closed_on_this_side(self, pair, look):
        pair[0].close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            look(pair[0])


@pytest.mark.usefixtures("way")
class TestNothingChanges:
    @pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
    def test_the_mode_and_what_there_is_to_read(self, pair, timeout):
        one, other = pair
        one.settimeout(timeout)
        blocking = os.get_blocking(one.fileno())
        assert (peer_closed(one), unread_bytes(one)) == (False, 0)
        other.sendall(b"hello")
        has_arrived(one, 5)
        assert (peer_closed(one), unread_bytes(one)) == (False, 5)
        assert one.gettimeout() == timeout
        assert os.get_blocking(one.fileno()) is blocking
        assert one.recv(9) == b"hello"

    @pytest.mark.parametrize("look", [peer_closed, unread_bytes])
    def test_where_sockets_have_a_timeout_by_default(self, pair, look):
        """A new socket object sets the descriptor to non-blocking then, even if it has only borrowed it."""
        one, other = pair
        other.sendall(b"hello")
        has_arrived(one, 5)
        socket.setdefaulttimeout(5)
        try:
            look(one)
        finally:
            socket.setdefaulttimeout(None)
        assert os.get_blocking(one.fileno())


@pytest.mark.parametrize("way", ["as it is", "no POLLRDHUP"], indirect=True)
@pytest.mark.usefixtures("way")
class TestWherePollTells:
    def test_the_error_of_a_reset_is_left_for_whoever_reads(self, pair):
        one, other = pair
        support.reset(other)
        wait_until(lambda: peer_closed(one))
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        assert peer_closed(one)

    def test_a_descriptor_that_select_cannot_take(self, pair):
        fcntl = pytest.importorskip("fcntl", reason="Windows chooses the numbers of sockets by itself")
        resource = pytest.importorskip("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= hard <= 1100:
            pytest.skip(f"no more than {hard} descriptors are allowed here")
        one, other = pair
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            number = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 1100)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with socket.socket(fileno=number) as high:
            other.sendall(b"hello")
            has_arrived(high, 5)
            assert not peer_closed(high)
            assert high.recv(5) == b"hello"
            other.close()
            wait_until(lambda: peer_closed(high))


class TestUnreadBytes:
    def test_before_a_reset(self, pair):
        """Linux still hands over what came before."""
        one, other = pair
        other.sendall(b"hello")
        has_arrived(one, 5)
        support.reset(other)
        wait_until(lambda: peer_closed(one))
        assert unread_bytes(one) == 5
        assert one.recv(9) == b"hello"

    def test_a_listener(self, server):
        with pytest.raises(OSError, match="Invalid argument"):
            unread_bytes(server)
        assert not peer_closed(server)

    @pytest.mark.parametrize(("platform", "counted"), [("linux", 70_000), ("win32", 65_536)])
    def test_many(self, pair, on_platform, platform, counted):
        one, other = pair
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10**6)
        other.sendall(b"x" * 70_000)
        has_arrived(one, 70_000)
        on_platform(platform)
        assert unread_bytes(one) == counted
        assert len(one.recv(70_000, socket.MSG_WAITALL)) == 70_000


@pytest.mark.parametrize("way", ["as it is", "neither"], indirect=True)
@pytest.mark.usefixtures("way")
class TestKinds:
    def test_tls(self, pair):
        serving, trusting = kit.certificates()
        one, other = (sock.dup() for sock in pair)
        wrapped = []
        thread = threading.Thread(target=lambda: wrapped.append(serving.wrap_socket(other, server_side=True)))
        thread.start()
        with trusting.wrap_socket(one, server_hostname="localhost") as sock:
            thread.join()
            with wrapped[0] as peers:
                peers.sendall(b"hello")
                assert sock.recv(5) == b"hello"
                assert (peer_closed(sock), unread_bytes(sock)) == (False, 0)
                peers.sendall(b"hello")
                wait_until(lambda: unread_bytes(sock) > 5)  # still encrypted
                assert not peer_closed(sock)
                assert sock.recv(9) == b"hello"
                pair[1].shutdown(socket.SHUT_WR)
                wait_until(lambda: peer_closed(sock))

    def test_trios(self, pair):
        async def main():
            one, other = trio.socket.from_stdlib_socket(pair[0].dup()), pair[1]
            with one:
                assert (peer_closed(one), unread_bytes(one)) == (False, 0)
                other.sendall(b"hello")
                has_arrived(one, 5)
                other.close()
                assert await one.recv(5) == b"hello"
                wait_until(lambda: peer_closed(one))
                assert await one.recv(5) == b""

        trio.run(main)

    def test_asyncios(self, pair):
        async def main():
            reader, writer = await asyncio.open_connection(sock=pair[0].dup())
            sock, other = writer.get_extra_info("socket"), pair[1]
            assert (peer_closed(sock), unread_bytes(sock)) == (False, 0)
            other.sendall(b"hello")
            has_arrived(sock, 5)
            assert await reader.readexactly(5) == b"hello"
            other.close()
            wait_until(lambda: peer_closed(sock))
            assert await reader.read() == b""
            assert peer_closed(sock)
            writer.close()
            await writer.wait_closed()

        asyncio.run(main(), debug=True)


@pytest.mark.parametrize("patch", ["gevent.monkey; gevent.monkey.patch_all()", "eventlet; eventlet.monkey_patch()"])
def test_green_sockets(patch):
    if importlib.util.find_spec(patch.partition(";")[0].partition(".")[0]) is None:
        pytest.skip("it is not installed")
    code = f"""import {patch}
import socket
from safeconnect import peer_closed, unread_bytes
server = socket.create_server(("127.0.0.1", 0))
with server, socket.create_connection(server.getsockname()) as sock, server.accept()[0] as peer:
    print(peer_closed(sock), unread_bytes(sock))
    peer.sendall(b"hello")
    print(sock.recv(5, socket.MSG_PEEK), peer_closed(sock), unread_bytes(sock), sock.recv(9))
    peer.close()
    print(sock.recv(1), peer_closed(sock))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["False 0", "b'hello' False 5 b'hello'", "b'' True"], done.stderr


def acknowledges_quickly(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


def ask(one, other, recv=socket.socket.recv):
    """A request and its reply."""
    one.sendall(b"request")
    assert other.recv(9) == b"request"
    other.sendall(b"reply")
    assert recv(one, 9) == b"reply"


def acknowledges_late(one, other):
    """Bring both ends to where they wait for data that an ACK can travel with."""
    wait_until(lambda: ask(one, other) or not acknowledges_quickly(one))


class TestQuickAck:
    def test_the_kernel_forgets_it(self, pair):
        assert acknowledges_quickly(pair[0])  # as every connection begins
        acknowledges_late(*pair)
        assert quick_ack(pair[0])
        assert acknowledges_quickly(pair[0])
        acknowledges_late(*pair)

    def test_receiving_with_it(self, pair):
        acknowledges_late(*pair)
        for _ in range(10):
            ask(*pair, recv_with_quick_ack)
            assert acknowledges_quickly(pair[0])

    def test_what_it_receives(self, pair):
        one, other = pair
        other.sendall(b"hello")
        assert recv_with_quick_ack(one, 2, socket.MSG_PEEK) == b"he"
        assert recv_with_quick_ack(one, 9) == b"hello"
        other.close()
        assert recv_with_quick_ack(one, 9) == b""

    def test_what_has_been_read_is_acknowledged_at_once(self, pair):
        one, other = pair
        before, after = [], []
        for _ in range(20):
            acknowledges_late(one, other)
            ask(one, other)
            before.append(tcp_info(other).unacknowledged)
            quick_ack(one)
            after.append(tcp_info(other).unacknowledged)
        # On a busy machine the 40 ms may be over here and there, or the kernel may not have come to it yet.
        assert statistics.median(before) == 1
        assert statistics.median(after) == 0

    def test_a_peer_that_waits_for_it(self):
        """A request in two parts: by Nagle's algorithm the second waits until the first is acknowledged."""
        plainly, quickly = (statistics.median(self.seconds(recv)) for recv in (socket.socket.recv, recv_with_quick_ack))
        assert plainly > 0.03  # measured: 0.044
        assert quickly < plainly / 4  # measured: 0.00004

    @staticmethod
    def seconds(recv):
        def serve():
            while recv(other, 4) and recv(other, 4):
                other.sendall(b"reply")

        took = []
        with connected() as (one, other):
            thread = threading.Thread(target=serve)
            thread.start()
            for _ in range(15):
                began = time.monotonic()
                one.sendall(b"head")
                one.sendall(b"body")
                assert one.recv(5) == b"reply"
                took.append(time.monotonic() - began)
            one.shutdown(socket.SHUT_WR)
            thread.join()
        return took

    @pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
    def test_elsewhere_nothing_is_set(self, pair, on_platform, platform):
        class Unwilling(socket.socket):
            def setsockopt(self, *_):
                raise AssertionError

        one, other = pair
        other.sendall(b"hello")
        on_platform(platform)
        with Unwilling(fileno=one.detach()) as sock:
            assert not quick_ack(sock)
            assert recv_with_quick_ack(sock, 9) == b"hello"

    def test_on_sockets_of_other_libraries(self, pair):
        acknowledges_late(*pair)
        assert quick_ack(asyncio.trsock.TransportSocket(pair[0]))
        assert acknowledges_quickly(pair[0])
        acknowledges_late(*pair)
        assert quick_ack(trio.socket.from_stdlib_socket(pair[0]))
        assert acknowledges_quickly(pair[0])

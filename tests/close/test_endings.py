"""How connections end: killed and restarted servers, TIME_WAIT and CLOSE_WAIT, and what tells the endings apart.

Servers are processes of their own. Those on a cut link are in tests/inspect_/test_dead_peers.py.
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from safeconnect import (
    Backoff,
    Closed,
    PeerClosedError,
    Retry,
    close_gracefully,
    peer_closed,
    reset,
    tcp_info,
    tcp_state,
    unread_bytes,
)

from .. import namespace, replying, support
from ..integrations import kit
from ..persistent import kit as persistent
from ..persistent.kit import each_driver
from ..replying import ReplyingServer
from ..support import linux_only, wait_until

pytestmark = linux_only

AT_ONCE = Retry(attempts=3, backoff=Backoff(initial=0))
ONCE = Retry(attempts=1, backoff=Backoff(initial=0))
# include/net/tcp_states.h
FIN_WAIT_2, TIME_WAIT, CLOSE_WAIT, LISTEN = 5, 6, 8, 10

# Sends back what it gets.
SERVER = """
import socketserver, sys

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)

socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


class EchoServer:
    """One in a process of its own, which can be killed."""

    def __init__(self, port=0):
        command = [sys.executable, "-c", SERVER, str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        with self.process.stdout as stdout:
            self.address = "127.0.0.1", int(stdout.readline())

    def stop(self):
        """Let it do nothing from now on; the kernel goes on receiving for it."""
        os.kill(self.process.pid, signal.SIGSTOP)
        tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
        wait_until(
            lambda: all(task.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)
        )

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def echoed(sock, data):
    sock.sendall(data)
    return sock.recv(100) == data


class TestAKilledProcess:
    @pytest.fixture
    def server(self):
        with EchoServer() as echo_server:
            yield echo_server

    def test_the_kernel_closes_for_it(self, server):
        with socket.create_connection(server.address, 5) as sock:
            assert echoed(sock, b"hello")
            server.kill()
            wait_until(lambda: peer_closed(sock))
            assert tcp_state(sock) == "CLOSE_WAIT"
            assert sock.recv(1) == b""
            # What is sent now has nobody to read it.
            sock.sendall(b"hello")
            wait_until(lambda: tcp_state(sock) == "CLOSED")
            with pytest.raises(BrokenPipeError):
                sock.sendall(b"hello")

    def test_with_data_that_it_had_not_read(self, server):
        with socket.create_connection(server.address, 5) as sock:
            assert echoed(sock, b"hello")
            server.stop()
            sock.sendall(b"hello")
            wait_until(lambda: tcp_info(sock).unacknowledged == 0)
            server.kill()
            wait_until(lambda: peer_closed(sock))
            assert tcp_state(sock) == "CLOSED"
            with pytest.raises(ConnectionResetError):
                sock.recv(1)

    def test_with_a_reply_on_its_way(self, server):
        with socket.create_connection(server.address, 5) as sock:
            sock.sendall(b"hello")
            wait_until(lambda: unread_bytes(sock) == 5)
            server.kill()
            wait_until(lambda: peer_closed(sock))
            assert sock.recv(100) == b"hello"
            assert sock.recv(100) == b""


RULES = "add table ip t; add chain ip t c { type filter hook input priority 0; }; "


def nft(rules):
    subprocess.run(["nft", rules], check=True)


def restart_unseen(server):
    """Kill a server and start it again while nothing gets through from it; the kernel has given up when it may again.

    Called in a namespace of its own.
    """
    port = server.address[1]
    nft(f"{RULES}add rule ip t c tcp sport {port} drop")
    server.kill()
    wait_until(lambda: support.tcp_sockets(port) == [])
    restarted = EchoServer(port)
    nft("delete table ip t")
    return restarted


def restart_under(driver):
    """The experiment, in a namespace: what each of three idle connections finds when the server has been restarted."""
    Path("/proc/sys/net/ipv4/tcp_orphan_retries").write_text("1")  # or the killed server's FIN is repeated for minutes

    async def echo(exchange):
        await exchange.sendall(b"%d" % exchange.id)
        return await exchange.recv(100)

    async def scenario(connect):
        with EchoServer(7000) as server, socket.create_connection(server.address, 5) as plain:
            assert echoed(plain, b"hello")
            async with connect(server.address, retry=AT_ONCE) as one, connect(server.address, retry=AT_ONCE) as other:
                assert await one.run(echo, 5) == await other.run(echo, 5) == b"1"
                with restart_unseen(server):
                    find_a_plain_one_reset(plain)
                    with pytest.raises(ConnectionResetError) as caught:
                        await one.run(echo, 5)
                    assert type(caught.value) is ConnectionResetError
                    assert caught.value.errno == errno.ECONNRESET
                    told = "exchange 2: the peer reset the connection: the server was restarted, or has dropped it"
                    assert told in caught.value.__notes__
                    assert await one.run(echo, 5) == b"3"
                    assert await other.run(echo, 5, idempotent=True) == b"3"  # the second was the one that failed

    getattr(persistent, driver)(scenario)


def find_a_plain_one_reset(sock):
    """Nothing tells of the restart, until something is sent."""
    assert tcp_state(sock) == "ESTABLISHED"
    assert not peer_closed(sock)
    sock.sendall(b"hello")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    with pytest.raises(BrokenPipeError):
        sock.sendall(b"hello")
    assert sock.recv(1) == b""  # as if it had ended well


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["blocking", "on_asyncio", "on_trio"])
def test_a_server_restarted_under_an_idle_connection(driver):
    if not shutil.which("nft"):
        pytest.skip("nft is not installed (Debian: nftables)")
    code = f"""
        from tests.close import test_endings
        test_endings.restart_under({driver!r})
        print("done")
    """
    assert namespace.run(code) == "done\n"


def ends(port, client=None):
    """The states of the clients' ends and of the server's, of all connections to a port."""
    states = support.tcp_sockets(port, remote=True), [state for state in support.tcp_sockets(port) if state != LISTEN]
    if client is None:
        return states
    # Of one connection: other tests' may have had the same port.
    return support.tcp_sockets(client, peer=port), support.tcp_sockets(port, peer=client)


def bind_plainly(port):
    """As a server does that has not set SO_REUSEADDR."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


def close_when_told(sock):
    """Read to the other side's end, then close."""
    with sock:
        assert sock.recv(1) == b""


class TestTimeWait:
    """It is on the side that closes first, for a minute; a server cannot bind to its port then as it is."""

    @pytest.fixture
    def pair(self):
        # Of a port that no other test's connection takes meanwhile.
        with (
            support.listening(port=kit.free_port()) as server,
            socket.create_connection(server.getsockname()) as one,
            server.accept()[0] as other,
        ):
            server.close()
            yield one, other

    @pytest.mark.parametrize("close", [socket.socket.close, close_gracefully])
    def test_the_client(self, pair, close):
        one, other = pair
        port, client = other.getsockname()[1], one.getsockname()[1]
        with support.meanwhile(lambda: close_when_told(other)):
            close(one)
        wait_until(lambda: ends(port, client) == ([TIME_WAIT], []))
        bind_plainly(port)

    @pytest.mark.parametrize("close", [socket.socket.close, close_gracefully])
    def test_the_server(self, pair, close):
        one, other = pair
        port = other.getsockname()[1]
        other.close()
        assert one.recv(1) == b""
        close(one)
        wait_until(lambda: ends(port) == ([], [TIME_WAIT]))
        with pytest.raises(OSError, match="Address already in use"):
            bind_plainly(port)
        support.serve_plainly(port)

    @pytest.mark.parametrize("first", [0, 1], ids=["client", "server"])
    def test_nobody_after_a_reset(self, pair, first):
        port = pair[1].getsockname()[1]
        reset(pair[first])
        other = pair[1 - first]
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        other.close()
        assert ends(port) == ([], [])
        bind_plainly(port)


def test_close_wait_piles_up_where_nobody_closes(server):
    """A program that reads the end and then forgets the socket: neither side gets rid of the connection."""
    address = server.getsockname()
    with contextlib.ExitStack() as stack:
        ours = [stack.enter_context(socket.create_connection(address)) for _ in range(50)]
        for _ in ours:
            server.accept()[0].close()
        assert [sock.recv(1) for sock in ours] == [b""] * 50
        wait_until(lambda: ends(address[1]) == ([CLOSE_WAIT] * 50, [FIN_WAIT_2] * 50))
        assert {tcp_state(sock) for sock in ours} == {"CLOSE_WAIT"}
        assert {close_gracefully(sock) for sock in ours} == {Closed("clean", 0)}
        wait_until(lambda: ends(address[1]) == ([], [TIME_WAIT] * 50))


@contextlib.contextmanager
def refusing():
    with support.held_port() as held:
        yield held.getsockname()


@contextlib.contextmanager
def serving():
    with ReplyingServer() as server:
        yield server.address


async def ask(connection, what, timeout):
    async with connection.exchange(timeout) as exchange:
        await exchange.sendall(replying.request(exchange.id, what))
        return replying.number_of(await exchange.recv_exactly(8))


@each_driver
@pytest.mark.parametrize(
    ("place", "what", "expected", "told"),
    [
        (refusing, None, (ConnectionRefusedError, errno.ECONNREFUSED), "Connection refused; 127.0.0.1:"),
        (support.black_hole, None, (TimeoutError, None), "timed out; 127.0.0.1:"),
        (serving, replying.NEVER, (TimeoutError, None), "no reply in time; the connection was reset"),
        (
            serving,
            replying.RESET,
            (ConnectionResetError, errno.ECONNRESET),
            "the server was restarted, or has dropped it",
        ),
        (
            serving,
            replying.CLOSE,
            (PeerClosedError, errno.ECONNRESET),
            "the peer closed after 0 of 8 bytes; exchange 1: the reply was not complete",
        ),
        (
            serving,
            replying.HALF,
            (PeerClosedError, errno.ECONNRESET),
            "the peer closed after 3 of 8 bytes; exchange 1: the reply was not complete",
        ),
    ],
    ids=["refused", "silence", "silence after the request", "reset", "closed", "closed within the reply"],
)
def test_the_errors_tell_them_apart(run, place, what, expected, told):
    async def scenario(connect):
        with place() as address:
            async with connect(address, retry=ONCE) as connection:
                with pytest.raises(expected[0]) as caught:
                    await ask(connection, what, 0.1 if expected[0] is TimeoutError else 5)
                if place is serving:
                    assert await ask(connection, replying.ANSWER, 5) == 2
        return caught.value

    error = run(scenario)
    assert (type(error), error.errno) == expected
    assert told in "; ".join([str(error), *error.__notes__])


@each_driver
def test_the_end_of_the_stream_is_no_error(run):
    async def scenario(connect):
        with ReplyingServer() as server:
            async with connect(server.address, retry=ONCE) as connection:
                async with connection.exchange(5) as exchange:
                    await exchange.sendall(replying.request(1, replying.CLOSE))
                    assert await exchange.recv(8) == b""
                assert await ask(connection, replying.ANSWER, 5) == 2
            assert server.requests == [(1, 1), (2, 2)]

    run(scenario)

"""Servers on loopback for the clients under test, each in threads that end with its block; loops for the clients."""

import asyncio
import contextlib
import functools
import getpass
import http.server
import random
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time

import pytest

from safeconnect import Backoff, Connector, Retry, create_connection, ephemeral_ports
from safeconnect.events import Failed, Start

from .. import support

try:
    import uvloop
except ImportError:
    uvloop = None
else:
    uvloop.new_event_loop().close()  # libuv opens a pipe with the first loop and keeps it: not the fault of a test


@contextlib.contextmanager
def serving(server, context=None):
    """Run a `socketserver` server in a thread, over TLS with a context; gives its port."""
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = False  # so that server_close() waits for them
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    with server:
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        self._answer(f"{self.command} {self.path}".encode())

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b"<methodResponse><params><param><value><int>7</int></value></param></params></methodResponse>"
        self._answer(answer, "text/xml")

    def do_CONNECT(self):
        """Be a proxy: a tunnel to where the client wants to go."""
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while all(_passed_on(end, ends[end]) for end in select.select([*ends], [], [])[0]):
                pass
        self.close_connection = True

    def _answer(self, body, kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def _passed_on(end, other):
    try:
        data = end.recv(65536)
        other.sendall(data)
    except OSError:
        return False
    return bool(data)


def web_server(context=None):
    """An HTTP server, and a proxy; gives its port. It repeats the request line, and answers POST as XML-RPC."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    return serving(server, context)


def line_server(greeting, answers, context=None):
    """A server that greets and then answers each line by its first word that has an answer; gives its port."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10

        def handle(self):
            self.wfile.write(greeting)
            for line in self.rfile:
                words = line.split()
                known = next((answers[word] for word in words if word in answers), b"BAD\r\n")
                self.wfile.write(known.replace(b"TAG", words[0]))

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    return serving(server, context)


@functools.cache
def certificates():
    """TLS contexts of a server and of its client."""
    trustme = pytest.importorskip("trustme", reason="TLS tests need trustme")
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return server, client


def names_lead_to(monkeypatch, *sockaddrs):
    """Every name has these addresses from now on."""
    monkeypatch.setattr(socket, "getaddrinfo", support.resolver(*sockaddrs))


def chain(error):
    """The error and what led to it, as a traceback shows them."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def free_port():
    """A port that nobody listens on and that no connect takes as its source port."""
    while True:
        port = random.randrange(10000, ephemeral_ports().first)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def daemon(*command, port):
    """Run a server program until the block ends; skip the test where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with running(*command, port=port):
        yield


@contextlib.contextmanager
def running(*command, port=None, **settings):
    """A server program, which is up as soon as its port is, until the block ends by SIGTERM."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings)
    try:
        if port is not None:
            until_it_answers = Retry(attempts=None, backoff=Backoff(initial=0.01, maximum=0.1))
            create_connection(("127.0.0.1", port), timeout=60, retry=until_it_answers).close()
        yield process
    finally:
        process.terminate()
        printed, _ = process.communicate(timeout=60)
        print(printed)  # shown if the test fails


@contextlib.contextmanager
def mariadb(home):
    """A server in an empty folder of its own, without tables of users; gives its port."""
    port = free_port()
    own = [f"--datadir={home}", f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}", f"--port={port}"]
    own += [f"--user={getpass.getuser()}", "--bind-address=127.0.0.1", "--skip-networking=0", "--skip-grant-tables"]
    with daemon("mariadbd", "--no-defaults", "--innodb-buffer-pool-size=8M", *own, port=port):
        yield port


_MOST_SECONDS = 5
LOOPS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")),
]
on_every_loop = pytest.mark.parametrize("loop", LOOPS)


def run(main, loop="asyncio"):
    """Run a coroutine function on an event loop in debug mode, which tells of what was never awaited or closed."""
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.SelectorEventLoop

    async def work():
        before = support.sockets()
        try:
            return await main()
        finally:
            # A closed TLS connection ends when the peer has said so, and uvloop cannot be closed in the middle of it.
            until = time.monotonic() + _MOST_SECONDS
            while support.sockets() - before and time.monotonic() < until:
                await asyncio.sleep(0.001)

    with asyncio.Runner(debug=True, loop_factory=factory) as runner:
        return runner.run(work())


def leading_to(*sockaddrs, **settings):
    """A connector for which every name has these addresses."""
    return Connector(resolver=support.resolver(*sockaddrs), **settings)


def url_of(sockaddr, scheme="http"):
    return f"{scheme}://{sockaddr[0]}:{sockaddr[1]}/"


@contextlib.contextmanager
def dead_addresses():
    """Six addresses at which nothing answers. A client that gives each the whole timeout takes six times as long."""
    with support.black_hole(host="0.0.0.0") as (_, port):
        yield [(f"127.0.0.{last}", port) for last in range(1, 7)]


class Trace:
    """What a connector does.

    :param held: a bound socket, to listen from the first failure on.
    """

    def __init__(self, held=None):
        self.messages = []
        self.held = held
        self.task = None

    def __call__(self, message):
        self.messages.append(message)
        if self.held is not None and isinstance(message, Failed):
            self.held.listen()
            self.held = None
        if self.task is not None and isinstance(message, Start):
            asyncio.get_running_loop().call_soon(self.task.cancel)  # by then it waits for the attempt

    @property
    def targets(self):
        return [message.candidate[4] for message in self.messages if isinstance(message, Start)]

    async def cancel_with_the_first_attempt(self, work):
        self.task = asyncio.ensure_future(work)
        with pytest.raises(asyncio.CancelledError):
            await self.task
        assert len(self.targets) == 1

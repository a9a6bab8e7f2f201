"""Servers on loopback for the clients under test, each in threads that end with its block."""

import contextlib
import functools
import http.server
import random
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest

from safeconnect import Backoff, Retry, create_connection, ephemeral_ports

from .. import support


@contextlib.contextmanager
def serving(server):
    """Run a `socketserver` server in a thread; gives its port."""
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


@contextlib.contextmanager
def web_server(context=None):
    """An HTTP server, and a proxy; gives its port. It repeats the request line, and answers POST as XML-RPC."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as port:
        yield port


@contextlib.contextmanager
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
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as port:
        yield port


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
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until_it_answers = Retry(attempts=None, backoff=Backoff(initial=0.01, maximum=0.1))
        create_connection(("127.0.0.1", port), timeout=60, retry=until_it_answers).close()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)

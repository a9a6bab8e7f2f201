"""The demo: a self-connect on this machine, what it leaves behind, and the same tries without one."""

import contextlib
import http.server
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from . import create_connection, ephemeral_ports, is_self_connected, patched
from ._net import kernel

# With the default range a plain connect meets itself once in about 14,000 tries: this many fail once in 10^15 runs.
MOST_TRIES = 500_000
LEAST_TRIES = 20_000
_SHOW_EVERY = 1_000
_HOST = "127.0.0.1"


class NotSeenError(Exception):
    """The demo did not see what it set out to show; the message says what."""


def run() -> int:
    """Show it all; 0 when everything was seen, 1 when not."""
    try:
        tries = _show_standard_library()
        _show_safeconnect(max(tries, LEAST_TRIES))
        _show_http()
    except NotSeenError as error:
        print(f"\nNot seen: {error}")
        return 1
    print("\nAll of this was seen on this machine, just now.")
    return 0


def _show_standard_library() -> int:
    port = _closed_port()
    print(f"1. socket.create_connection to {_HOST}:{port}. Nobody listens there: every try should be refused.")
    began = time.monotonic()
    tries, met = _connect_until_itself(port)
    seconds = time.monotonic() - began
    if met is None:
        raise NotSeenError(f"the standard library did not connect to itself in {tries:,} tries")
    with met:
        print(f"   Try {tries:,}, after {seconds:.1f} s, got a connection:")
        print(f"   {met.getsockname()} -> {met.getpeername()}: it is connected to itself.")
        met.sendall(b"hello")
        print(f"   Sent b'hello', received {met.recv(16)!r}. The socket is closed now, and a real server starts:")
    reason = _bind_error(port)
    if reason is None:
        raise NotSeenError(f"port {port} was free at once after the self-connect")
    print(f"   bind({_HOST}:{port}) with SO_REUSEADDR: {reason}. It stays so for a minute (TIME_WAIT).\n")
    return tries


def _connect_until_itself(port: int) -> tuple[int, socket.socket | None]:
    with _counter() as count:
        for tries in range(1, MOST_TRIES + 1):
            count(tries)
            try:
                sock = socket.create_connection((_HOST, port))
            except OSError:
                continue
            if is_self_connected(sock):
                return tries, sock
            sock.close()
            raise NotSeenError(f"a server has taken port {port} in the middle of the demo")
    return MOST_TRIES, None


def _show_safeconnect(tries: int) -> None:
    port = _closed_port()
    if kernel.has_port_range():
        print(f"2. safeconnect.create_connection to {_HOST}:{port}, closed too, with IP_LOCAL_PORT_RANGE:")
    else:
        print(f"2. safeconnect.create_connection to {_HOST}:{port}, closed too. This kernel has no IP_LOCAL_PORT_RANGE")
        print("   (Linux 6.3), so self-connects are not prevented but detected, reset and tried again:")
    began = time.monotonic()
    with _counter() as count:
        for number in range(1, tries + 1):
            count(number)
            with contextlib.suppress(ConnectionRefusedError):
                create_connection((_HOST, port)).close()
                raise NotSeenError(f"try {number:,} of safeconnect got a connection to a closed port")
    print(f"   {tries:,} tries in {time.monotonic() - began:.1f} s: {tries:,} refused, 0 connected to itself.")
    reason = _bind_error(port)
    if reason is not None:
        raise NotSeenError(f"after safeconnect's tries the server could not bind to port {port}: {reason}")
    print(f"   bind({_HOST}:{port}) with SO_REUSEADDR: done, at once.\n")


def _show_http() -> None:
    server = http.server.HTTPServer((_HOST, 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        url = f"http://{_HOST}:{server.server_port}/"
        print(f"3. with safeconnect.patched(): urllib.request opens {url}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with patched(), opener.open(url, timeout=5) as response:
            status, body = response.status, response.read()
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the response, too
        raise NotSeenError(f"the HTTP request failed: {error}") from error
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    if (status, body) != (200, _Hello.BODY):
        raise NotSeenError(f"the HTTP server answered {status} {body!r}")
    print(f"   HTTP {status}: {body.decode()!r}")


class _Hello(http.server.BaseHTTPRequestHandler):
    BODY = b"hello from a server that can be reached"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay quiet: the demo tells the story."""


def _closed_port() -> int:
    """A port that nobody uses and that a plain connect may be given: of the parity that Linux prefers.

    Of a range with an odd number of ports Linux begins with any but the last (__inet_hash_connect).
    """
    ports = ephemeral_ports(refresh=True)
    for _ in range(1000):
        port = random.randrange(ports.first, max(ports.last, ports.first + 1), 2)  # noqa: S311 - any port will do
        if _bind_error(port) is None:
            return port
    raise NotSeenError(f"no free port was found in {ports}")


def _bind_error(port: int) -> str | None:
    """Why a server that sets SO_REUSEADDR cannot bind to the port and listen, or None."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((_HOST, port))
        server.listen()
    except OSError as error:
        return error.strerror or str(error)
    finally:
        server.close()
    return None


@contextlib.contextmanager
def _counter() -> Iterator[Callable[[int], None]]:
    """A live count of the tries, on a terminal only."""
    live = sys.stdout.isatty()

    def count(tries: int) -> None:
        if live and tries % _SHOW_EVERY == 0:
            print(f"\r   {tries:,} tries ...", end="", flush=True)

    try:
        yield count
    finally:
        if live:
            print("\r" + " " * 40 + "\r", end="", flush=True)

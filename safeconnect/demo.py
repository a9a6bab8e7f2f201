"""The demo: a self-connect on this machine, what it leaves behind, and the same tries without one."""

from __future__ import annotations

import contextlib
import errno
import http.server
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from . import create_connection, ephemeral_ports, is_self_connected, patched, reset, self_connect_exposure
from ._host import holders
from ._sockets import kernel

# With the default range a plain connect meets itself once in about 14,000 tries: this many fail once in 10^15 runs.
MOST_TRIES = 500_000
LEAST_TRIES = 20_000
_SHOW_EVERY = 1_000
_HOST = "127.0.0.1"


class NotSeenError(Exception):
    """The demo did not see what it set out to show; the message says what."""


def run(port: int | None = None) -> int:
    """Show it all; 0 when everything was seen, 1 when not.

    :param port: where, one that `why_not` has nothing against; None: at ports of its own choice.
    """
    try:
        tries = _show_standard_library() if port is None else _show_standard_library_at(port)
        _show_safeconnect(max(tries, LEAST_TRIES), port)
        _show_http()
    except NotSeenError as error:
        print(f"\nNot seen: {error}")
        return 1
    print("\nAll of this was seen on this machine, just now.")
    return 0


def why_not(port: int) -> str | None:
    """Why a plain connect to the port cannot be shown to meet itself, and what to do; None where it can."""
    exposure = self_connect_exposure(_HOST, port)
    if not exposure:
        return f"{exposure}. No connect to it meets itself: take a port of {exposure.ephemeral} that nobody uses"
    if exposure.reason == "other-parity":
        return f"{exposure} The demo would not see it: take {port - 1}"
    try:
        _check_unused(port)
    except OSError as error:
        return "; ".join([f"port {port} cannot be used: {error.strerror or error}", *getattr(error, "__notes__", ())])
    return None


def _check_unused(port: int) -> None:
    """Raise the error that a server at all addresses would have, with notes on who holds the port."""
    try:
        with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as server:
            if server.family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holders.tell_port(error, port)
        raise


def _show_standard_library() -> int:
    port = _closed_port()
    tries, met = _show_meeting(port)
    met.close()
    print("   The socket is closed now, and a real server starts:")
    print(f"   {_server(port)}: {_failure(port)}. It stays so for a minute (TIME_WAIT).\n")
    return tries


def _show_standard_library_at(port: int) -> int:
    """As above, but the port can be used afterwards."""
    tries, met = _show_meeting(port)
    with met:
        print("   The program talks to nobody, and a real server starts:")
        print(f"   {_server(port)}: {_failure(port)}.")
        reset(met)
    reason = _bind_error(port)
    if reason is not None:
        raise NotSeenError(f"after the reset the server could not bind to port {port}: {reason}")
    print("   safeconnect.reset() ends the connection, where close() would block the port for a minute (TIME_WAIT):")
    print(f"   {_server(port)}: done, at once.\n")
    return tries


def _show_meeting(port: int) -> tuple[int, socket.socket]:
    print(f"1. socket.create_connection to {_HOST}:{port}. Nobody listens there: every try should be refused.")
    began = time.monotonic()
    tries, met = _connect_until_itself(port)
    seconds = time.monotonic() - began
    if met is None:
        raise NotSeenError(f"the standard library did not connect to itself in {tries:,} tries")
    try:
        print(f"   Try {tries:,}, after {seconds:.1f} s, got a connection:")
        print(f"   {met.getsockname()} -> {met.getpeername()}: it is connected to itself.")
        met.sendall(b"hello")
        print(f"   Sent b'hello', received {met.recv(16)!r}.")
    except BaseException:
        met.close()
        raise
    return tries, met


def _server(port: int) -> str:
    return f"bind({_HOST}:{port}) with SO_REUSEADDR"


def _failure(port: int) -> str:
    reason = _bind_error(port)
    if reason is None:
        raise NotSeenError(f"port {port} was free at once after the self-connect")
    return reason


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


def _show_safeconnect(tries: int, port: int | None = None) -> None:
    if port is None:
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
    print(f"   {_server(port)}: done, at once.\n")


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

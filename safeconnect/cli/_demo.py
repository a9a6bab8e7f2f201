"""``safeconnect demo``: show a self-connect, what it leaves behind, and the same tries with safeconnect."""

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

from .. import (
    create_connection,
    ephemeral_ports,
    is_self_connected,
    patched,
    reset,
    self_connect_exposure,
    uninstall,
)
from .._host import holders
from .._sockets import kernel
from .._text import duration
from . import FAILED
from ._console import Console, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

# With the default range 1 plain connect in about 14,000 is a self-connect. This many show none once in 10^15 runs.
MOST_TRIES = 500_000
LEAST_TRIES = 20_000
_SHOW_EVERY = 1_000
_HOST = "127.0.0.1"


class NotSeenError(Exception):
    """The demo did not see what it set out to show; the message says what."""


def run(arguments: argparse.Namespace) -> int:
    """Show it all; return 1 if something was not seen, or cannot be seen at that port."""
    reason = None if arguments.port is None else why_not(arguments.port)
    if reason is not None:
        Console().messages.line(f"safeconnect: {reason}")
        return FAILED
    uninstall()  # SAFECONNECT may be set, and then no connect would be a plain one
    return show(arguments.port)


def show(port: int | None = None) -> int:
    """Show it all at this port, or at ports of the demo's own choice; return 1 if something was not seen."""
    try:
        tries = _show_standard_library(port)
        _show_safeconnect(max(tries, LEAST_TRIES), _closed_port() if port is None else port)
        _show_http()
    except NotSeenError as error:
        _say()
        _say(f"Not seen: {error}")
        return FAILED
    _say()
    _say("All of this was seen on this machine, just now.")
    return 0


def why_not(port: int) -> str | None:
    """Return why a self-connect cannot be shown at the port, and what to do; None if it can."""
    exposure = self_connect_exposure(_HOST, port)
    if not exposure:
        return f"{exposure}. No connect to it meets itself: take a port of {exposure.ephemeral} that nobody uses"
    if exposure.reason == "other-parity":
        return f"{exposure} The demo would not see it: take {port - 1}"
    try:  # as a server at all addresses
        with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as server:
            if server.family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holders.tell_port(error, port)
        return "; ".join([f"port {port} cannot be used: {error.strerror or error}", *getattr(error, "__notes__", ())])
    return None


def _say(line: str = "") -> None:
    Stream(sys.stdout).line(line)


def _show_standard_library(port: int | None) -> int:
    """Show a self-connect and what it does to a server. A port of the user's choice is free afterwards."""
    where = _closed_port() if port is None else port
    tries, sock = _show_self_connect(where)
    with sock:
        if port is None:
            sock.close()
            _say("   The socket is closed now, and a real server starts:")
            _say(f"   {_blocked(where)}. It stays so for a minute (TIME_WAIT).")
            _say()
            return tries
        _say("   The program talks to nobody, and a real server starts:")
        _say(f"   {_blocked(where)}.")
        reset(sock)
    _say("   safeconnect.reset() ends the connection, where close() would block the port for a minute (TIME_WAIT):")
    _show_free(where, "after the reset")
    return tries


def _show_self_connect(port: int) -> tuple[int, socket.socket]:
    _say(f"1. socket.create_connection to {_HOST}:{port}. Nobody listens there: every try should be refused.")
    began = time.monotonic()
    tries, sock = _connect_until_itself(port)
    seconds = time.monotonic() - began
    if sock is None:
        raise NotSeenError(f"the standard library did not connect to itself in {tries:,} tries")
    try:
        _say(f"   Try {tries:,}, after {duration(seconds)}, got a connection:")
        _say(f"   {sock.getsockname()} -> {sock.getpeername()}: it is connected to itself.")
        sock.sendall(b"hello")
        _say(f"   Sent b'hello', received {sock.recv(16)!r}.")
    except BaseException:
        sock.close()
        raise
    return tries, sock


def _blocked(port: int) -> str:
    reason = _bind_error(port)
    if reason is None:
        raise NotSeenError(f"port {port} was free at once after the self-connect")
    return f"bind({_HOST}:{port}) with SO_REUSEADDR: {reason}"


def _show_free(port: int, when: str) -> None:
    reason = _bind_error(port)
    if reason is not None:
        raise NotSeenError(f"{when} the server could not bind to port {port}: {reason}")
    _say(f"   bind({_HOST}:{port}) with SO_REUSEADDR: done, at once.")
    _say()


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


def _show_safeconnect(tries: int, port: int) -> None:
    if kernel.has_port_range():
        _say(f"2. safeconnect.create_connection to {_HOST}:{port}, closed too, with IP_LOCAL_PORT_RANGE:")
    else:
        _say(f"2. safeconnect.create_connection to {_HOST}:{port}, closed too. This kernel has no IP_LOCAL_PORT_RANGE")
        _say("   (Linux 6.3), so self-connects are not prevented but detected, reset and tried again:")
    began = time.monotonic()
    with _counter() as count:
        for number in range(1, tries + 1):
            count(number)
            with contextlib.suppress(ConnectionRefusedError):
                create_connection((_HOST, port)).close()
                raise NotSeenError(f"try {number:,} of safeconnect got a connection to a closed port")
    _say(f"   {tries:,} tries in {duration(time.monotonic() - began)}: {tries:,} refused, 0 connected to itself.")
    _show_free(port, "after safeconnect's tries")


def _show_http() -> None:
    server = http.server.HTTPServer((_HOST, 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        url = f"http://{_HOST}:{server.server_port}/"
        _say(f"3. with safeconnect.patched(): urllib.request opens {url}")
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
    _say(f"   HTTP {status}: {body.decode()!r}")


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
    """Return a port that nobody uses and that a plain connect may get: one of the parity that Linux prefers.

    If the range has an odd number of ports, Linux begins with any but the last (__inet_hash_connect).
    """
    ports = ephemeral_ports(refresh=True)
    for _ in range(1000):
        port = random.randrange(ports.first, max(ports.last, ports.first + 1), 2)  # noqa: S311 - any port will do
        if _bind_error(port) is None:
            return port
    raise NotSeenError(f"no free port was found in {ports}")


def _bind_error(port: int) -> str | None:
    """Return why a server that sets SO_REUSEADDR cannot bind to the port and listen; None if it can."""
    with socket.socket() as server:
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((_HOST, port))
            server.listen()
        except OSError as error:
            return error.strerror or str(error)
    return None


@contextlib.contextmanager
def _counter() -> Iterator[Callable[[int], None]]:
    """Show a live count of the tries, on a terminal only."""
    live = sys.stdout.isatty()

    def count(tries: int) -> None:
        if live and tries % _SHOW_EVERY == 0:
            print(f"\r   {tries:,} tries ...", end="", flush=True)

    try:
        yield count
    finally:
        if live:
            print("\r" + " " * 20 + "\r", end="", flush=True)

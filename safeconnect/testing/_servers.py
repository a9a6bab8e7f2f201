"""Servers that accept, and then behave or misbehave: `echo`, `silent`, `resets`, `tls` and others."""

from __future__ import annotations

import socket
import ssl
from typing import Literal

from .._connect.settings import check_seconds
from .._lazy import typing as t
from .._local.binding import bind_socket
from ._base import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Handler
    from ._base import Peer


def send_back(peer: Peer) -> None:
    """Handle a connection: send back what comes."""
    while data := peer.recv():
        peer.sendall(data)


def _read_silently(peer: Peer) -> None:
    while peer.recv():
        pass
    peer.wait()


def serve(handler: t.Handler = send_back, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve with a function of your own, or (the default) send back what comes.

    :param handler: called with a `Peer` for each connection, in a thread of its own. When it returns, the connection is
        closed.
    :param host: where to listen.
    :param port: where to listen; 0, the default, takes any free port.
    :raises OSError: the port is taken, or there is no such address here.

    >>> def greet(peer):
    ...     peer.sendall(b"hello")
    >>> with serve(greet) as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.recv(100)
    b'hello'
    """
    return Server(bind_socket((host, port)), handler)


def echo(*, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server without a fault: it sends back what it gets.

    >>> with echo() as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.sendall(b"ping")
    ...     sock.recv(100)
    b'ping'
    """
    return serve(send_back, host=host, port=port)


def silent(*, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that accepts and reads, and never answers.

    >>> with silent() as fault, socket.create_connection(fault.address, 0.01) as sock:
    ...     sock.recv(1)
    Traceback (most recent call last):
    TimeoutError: timed out
    """
    return serve(_read_silently, host=host, port=port)


def never_reads(*, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that accepts and never reads: data fills the buffers, and then sending waits.

    The client's own send buffer takes megabytes before that, unless the client sets SO_SNDBUF.

    >>> with never_reads() as fault, socket.create_connection(fault.address, 0.01) as sock:
    ...     sock.sendall(bytes(20_000_000))
    Traceback (most recent call last):
    TimeoutError: timed out
    """
    listener = bind_socket((host, port))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # accepted sockets inherit it
    return Server(listener, lambda peer: peer.wait())


def resets(
    when: Literal["accept", "first_byte", "manual"] = "accept", *, host: str = "127.0.0.1", port: int = 0
) -> Server:
    """A server that resets its connections.

    :param when: ``"accept"``: at once. The client may see it in ``connect``, or in its first ``send`` or ``recv``.
        ``"first_byte"``: when a byte has come, so that ``connect`` always succeeds. ``"manual"``: when you call
        `Server.reset`; until then it sends back what it gets.
    :raises ValueError: ``when`` is none of these.

    >>> with resets("first_byte") as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.sendall(b"x")
    ...     sock.recv(1)
    Traceback (most recent call last):
    ConnectionResetError: [Errno 104] Connection reset by peer
    """

    def after_a_byte(peer: Peer) -> None:
        if peer.recv():
            peer.reset()

    handlers: dict[str, Handler] = {
        "accept": lambda peer: peer.reset(),
        "first_byte": after_a_byte,
        "manual": send_back,
    }
    if when not in handlers:
        raise ValueError(f"when must be 'accept', 'first_byte' or 'manual', not {when!r}")
    return serve(handlers[when], host=host, port=port)


def half_closes(data: bytes = b"", *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that sends its data and FIN at once, and goes on reading.

    :param data: what it sends before the FIN.

    >>> with half_closes(b"bye") as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.recv(100), sock.recv(100), sock.send(b"still there")
    (b'bye', b'', 11)
    """

    def handler(peer: Peer) -> None:
        peer.sendall(data)
        peer.shutdown()
        while peer.recv():
            pass

    return serve(handler, host=host, port=port)


def drips(
    delay: float = 0.01, size: int = 1, *, data: bytes | None = None, host: str = "127.0.0.1", port: int = 0
) -> Server:
    """A server that sends in small pieces with pauses: a client that reads only once gets a part.

    :param delay: seconds before each piece.
    :param size: bytes of each piece, 1 or more.
    :param data: what it sends when a client has connected. By default it sends back what it gets.
    :raises ValueError: ``delay`` is negative, or ``size`` below 1.

    >>> with drips(delay=0.2, data=b"abc") as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.recv(100)
    b'a'
    """
    check_seconds("delay", delay)
    if size < 1:
        raise ValueError(f"size must be 1 or more, not {size}")

    def drip(peer: Peer, whole: bytes) -> None:
        for first in range(0, len(whole), size):
            peer.wait(delay)
            peer.sendall(whole[first : first + size])

    def handler(peer: Peer) -> None:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if data is not None:
            drip(peer, data)
        while received := peer.recv():
            drip(peer, received)

    return serve(handler, host=host, port=port)


def slow_accept(delay: float, *, host: str = "127.0.0.1", port: int = 0, handler: t.Handler = send_back) -> Server:
    """A server that accepts slowly: the kernel completes connects at once, and then nothing happens for a while.

    :param delay: seconds before each accept.
    :param handler: what it does after the accept. By default it sends back what it gets.
    :raises ValueError: ``delay`` is negative.
    """
    check_seconds("delay", delay)
    return Server(bind_socket((host, port)), handler, accept_delay=delay)


def crossed_replies(delay: float = 0.05, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """An echo server that answers the first request of each connection late, and the others at once.

    A client that gives up after less than ``delay`` seconds and sends its next request on the same connection takes the
    late reply for the answer to that request, and so on.

    :param delay: seconds before the first reply.
    :raises ValueError: ``delay`` is negative.
    """
    check_seconds("delay", delay)

    def handler(peer: Peer) -> None:
        first = peer.recv()
        peer.wait(delay)
        peer.sendall(first)
        send_back(peer)

    return serve(handler, host=host, port=port)


class TlsServer(Server):
    """A server that speaks TLS.

    :ivar context: the server's `ssl.SSLContext`.
    :ivar client_context: a context for clients that trusts the server's certificate; None if you gave ``context``.
    :ivar authority: the certificate that clients have to trust, as PEM; None if you gave ``context``.
    """

    context: ssl.SSLContext
    client_context: ssl.SSLContext | None = None
    authority: bytes | None = None


def tls(
    context: ssl.SSLContext | None = None,
    *,
    name: str = "localhost",
    handler: t.Handler = send_back,
    host: str = "127.0.0.1",
    port: int = 0,
) -> TlsServer:
    """A server that speaks TLS, and sends back what it gets.

    :param context: the server's context. By default one is made, with a new certificate for ``name`` and ``host``.
    :param name: the name in the certificate.
    :param handler: what the server does after the handshake; `Peer.recv` and ``sendall`` go through TLS.
    :raises ImportError: trustme, which makes the certificate, is not installed.
    :raises OSError: the port is taken, or there is no such address here.

    >>> with tls() as fault:
    ...     raw = socket.create_connection(fault.address, 5)
    ...     with fault.client_context.wrap_socket(raw, server_hostname="localhost") as sock:
    ...         sock.sendall(b"ping")
    ...         sock.recv(100)
    b'ping'
    """
    client: ssl.SSLContext | None = None
    authority: bytes | None = None
    if context is None:
        context, client, authority = _certified(name, host)
    serving = context

    def handle(peer: Peer) -> None:
        peer.socket = serving.wrap_socket(peer.socket, server_side=True)  # closed with the connection
        handler(peer)

    server = TlsServer(bind_socket((host, port)), handle, listens=False)
    server.context, server.client_context, server.authority = context, client, authority
    server.start()
    return server


def _certified(name: str, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext, bytes]:
    try:
        import trustme
    except ImportError as error:
        raise ImportError("safeconnect.testing.tls needs trustme for a certificate: pip install trustme") from error
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, host).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client, authority.cert_pem.bytes()

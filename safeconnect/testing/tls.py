"""`tls`: a server that speaks TLS, with a certificate of its own."""

from __future__ import annotations

import ssl

from ._server import Server
from .faults import bound, send_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Handler
    from ._server import Peer


class TlsServer(Server):
    """A server that speaks TLS.

    :ivar context: the server's `ssl.SSLContext`.
    :ivar client_context: one for clients, which trusts the server's certificate; None where ``context`` was given.
    :ivar authority: the certificate that clients have to trust, as PEM; None where ``context`` was given.
    """

    context: ssl.SSLContext
    client_context: ssl.SSLContext | None = None
    authority: bytes | None = None


def tls(
    context: ssl.SSLContext | None = None,
    *,
    name: str = "localhost",
    handler: Handler = send_back,
    host: str = "127.0.0.1",
    port: int = 0,
) -> TlsServer:
    """A server that speaks TLS, and then sends back what it gets.

    :param context: its own; left out, one is made with a new certificate for ``name`` and ``host``.
    :param name: whom the certificate is for.
    :param handler: what the server does after the handshake; `Peer.recv` and ``sendall`` are inside of TLS.
    :raises ImportError: trustme, which makes the certificate, is not installed.
    :raises OSError: the port is taken, or there is no such address here.

    >>> import socket
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

    server = TlsServer(bound(host, port), handle, listens=False)
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

"""Ways in which a connect fails, on demand. Each call makes an address that behaves so while its block lasts."""

from __future__ import annotations

import socket
import sys

from .._connect.settings import check_seconds
from .._sockets.resolve import check_host
from .._sockets.sockets import LINGER_0
from ._server import Fault, Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from ..typing import Handler
    from ._server import Peer


def send_back(peer: Peer) -> None:
    """The handler of a server that sends back what it gets."""
    while data := peer.recv():
        peer.sendall(data)


def _read_silently(peer: Peer) -> None:
    while peer.recv():
        pass
    peer.wait()


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address that does not listen yet.

    :raises OSError: the port is taken, or there is no such address here.
    """
    check_host(host)
    family, kind, proto, _, sockaddr = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port and sys.platform != "win32":  # there it lets anybody take the port over
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # With it, any free port could be one that another such socket is bound to and does not listen on yet.
        sock.bind(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def serve(handler: Handler = send_back, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that does what a function says; without one it sends back what it gets.

    :param handler: called with a `Peer` for each connection, in a thread of its own. When it returns, the connection is
        closed.
    :param host: where to listen.
    :param port: 0, the default: any free one.
    :raises OSError: the port is taken, or there is no such address here.

    >>> def greet(peer):
    ...     peer.sendall(b"hello")
    >>> with serve(greet) as fault, socket.create_connection(fault.address, 5) as sock:
    ...     sock.recv(100)
    b'hello'
    """
    return Server(bound(host, port), handler)


def echo(*, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that sends back what it gets: the fault of having none.

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
    """A server that accepts and never reads: what is sent fills the buffers, and then sending waits.

    The client's own buffer holds megabytes before it comes to that, unless it sets SO_SNDBUF.

    >>> with never_reads() as fault, socket.create_connection(fault.address, 0.01) as sock:
    ...     sock.sendall(bytes(20_000_000))
    Traceback (most recent call last):
    TimeoutError: timed out
    """
    listener = bound(host, port)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # accepted sockets inherit it
    return Server(listener, lambda peer: peer.wait())


def resets(
    when: Literal["accept", "first_byte", "manual"] = "accept", *, host: str = "127.0.0.1", port: int = 0
) -> Server:
    """A server that resets its connections.

    :param when: ``"accept"``: at once. The client may see it in ``connect``, or in its first ``send`` or ``recv``.
        ``"first_byte"``: when a byte has come; so ``connect`` always succeeds. ``"manual"``: when `Server.reset` is
        called; until then it sends back what it gets.
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

    :param data: what it sends before.

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
    """A server that sends in small pieces with pauses: a client that reads once gets a part.

    :param delay: seconds before each piece.
    :param size: bytes of each piece, 1 or more.
    :param data: what it sends when a client has connected; left out, it sends back what it gets.
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


def slow_accept(delay: float, *, host: str = "127.0.0.1", port: int = 0, handler: Handler = send_back) -> Server:
    """A server that accepts slowly: connects succeed at once (the kernel's part), and then nothing happens for a while.

    :param delay: seconds before each accept.
    :param handler: what it does then; left out, it sends back what it gets.
    :raises ValueError: ``delay`` is negative.
    """
    check_seconds("delay", delay)
    return Server(bound(host, port), handler, accept_delay=delay)


def crossed_replies(delay: float = 0.05, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that answers the first request of each connection late, and the others at once: it echoes them.

    A client that gives up after less than ``delay`` seconds and sends its next request on the same connection gets the
    late reply for it, and so on.

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


class Refusing(Fault):
    """An address that is held, and where nobody listens."""

    def __init__(self, held: socket.socket) -> None:
        super().__init__(held.getsockname(), held.family)
        self._held = held

    def close(self) -> None:
        """Give the port back."""
        self._held.close()


def refused(*, host: str = "127.0.0.1", port: int = 0) -> Refusing:
    """An address that refuses connections, and keeps on: the port is held, so that nobody else listens there meanwhile.

    :raises OSError: the port is taken, or there is no such address here.

    >>> with refused() as fault:
    ...     socket.create_connection(fault.address, 5)
    Traceback (most recent call last):
    ConnectionRefusedError: [Errno 111] Connection refused
    """
    return Refusing(bound(host, port))


def late_listener(*, host: str = "127.0.0.1", port: int = 0, handler: Handler = send_back) -> Server:
    """A server that refuses connections until its ``start()`` is called.

    :param handler: what it does then; left out, it sends back what it gets.

    >>> with late_listener() as fault:
    ...     fault.start()
    ...     socket.create_connection(fault.address, 5).close()
    """
    return Server(bound(host, port), handler, listens=False)


class BlackHole(Server):
    """A listener whose queue is full, so that connects are not answered."""

    def __init__(self, listener: socket.socket, handler: Handler) -> None:
        super().__init__(listener, handler, listens=False)
        listener.listen(0)
        self._fillers: list[socket.socket] = []
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def _fill(self) -> None:
        """Connect until a connect is not answered, which is how full the queue has to be on this kernel."""
        answered = True
        while answered:
            filler = socket.socket(self.family)
            self._fillers.append(filler)
            filler.settimeout(0.05)
            try:
                filler.connect(self.address)
            except TimeoutError:
                answered = False

    def heal(self) -> None:
        """Accept from now on. A client that waits gets in when its kernel sends the SYN again, see docs/servers.md."""
        self._forget_fillers()
        self.start()

    def close(self) -> None:
        self._forget_fillers()
        super().close()

    def _forget_fillers(self) -> None:
        for filler in self._fillers:
            filler.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            filler.close()
        self._fillers.clear()


def blackhole(*, host: str = "127.0.0.1", port: int = 0, handler: Handler = send_back) -> BlackHole:
    """An address where connects are not answered; its ``heal()`` makes a server of it.

    It is a listener with a full queue, as a server has that is too busy to accept. Linux then drops SYNs; other systems
    may refuse them.

    :param handler: what the server does once it is healed; left out, it sends back what it gets.

    >>> with blackhole() as fault:
    ...     socket.create_connection(fault.address, 0.01)
    Traceback (most recent call last):
    TimeoutError: timed out
    """
    return BlackHole(bound(host, port), handler)

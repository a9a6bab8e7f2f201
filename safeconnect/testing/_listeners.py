"""Listeners that refuse, do not answer, or change: `refused`, `late_listener`, `blackhole`, `flaky`."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from .._connect.settings import check_seconds
from .._lazy import typing as t
from .._local.binding import bind_socket
from .._sockets.lifecycle import reset
from ._base import Fault, Server
from ._servers import send_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..typing import Handler


class Refusing(Fault):
    """An address that is bound, and where nobody listens; see `refused`."""

    def __init__(self, held: socket.socket) -> None:
        super().__init__(held.getsockname(), held.family)
        self._held = held

    def close(self) -> None:
        """Give the port back."""
        self._held.close()


def refused(*, host: str = "127.0.0.1", port: int = 0) -> Refusing:
    """An address that refuses connections. The port is bound, so that nobody else can listen there meanwhile.

    :raises OSError: the port is taken, or there is no such address here.

    >>> with refused() as fault:
    ...     socket.create_connection(fault.address, 5)
    Traceback (most recent call last):
    ConnectionRefusedError: [Errno 111] Connection refused
    """
    return Refusing(bind_socket((host, port)))


def late_listener(*, host: str = "127.0.0.1", port: int = 0, handler: t.Handler = send_back) -> Server:
    """A server that refuses connections until its ``start()`` is called.

    :param handler: what it does after that. By default it sends back what it gets.

    >>> with late_listener() as fault:
    ...     fault.start()
    ...     socket.create_connection(fault.address, 5).close()
    """
    return Server(bind_socket((host, port)), handler, listens=False)


class BlackHole(Server):
    """A listener whose accept queue is full, so that connects are not answered; see `blackhole`."""

    def __init__(self, listener: socket.socket, handler: t.Handler) -> None:
        super().__init__(listener, handler, listens=False)
        listener.listen(0)
        self._fillers: list[socket.socket] = []
        try:
            # Connect until a connect is not answered: kernels differ in how many connections the queue takes.
            with suppress(TimeoutError):
                while not _is_full(listener):
                    filler = socket.socket(self.family)
                    self._fillers.append(filler)
                    filler.settimeout(0.05)
                    filler.connect(self.address)
        except BaseException:
            self.close()
            raise

    def heal(self) -> None:
        """Accept from now on. A waiting client gets in when its kernel sends the SYN again; see docs/servers.md."""
        self._forget_fillers()
        self.start()

    def close(self) -> None:
        self._forget_fillers()
        super().close()

    def _forget_fillers(self) -> None:
        for filler in self._fillers:
            reset(filler)
        self._fillers.clear()


def _is_full(listener: socket.socket) -> bool:
    """Return True if the accept queue is known to be full, which spares the wait for a connect that is not answered.

    Linux tells the length of the queue and the backlog of a listener in two fields that say something else of a
    connection (tcp_get_info in net/ipv4/tcp.c).
    """
    if sys.platform != "linux":
        return False
    waiting, backlog = struct.unpack_from("=II", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)
    return bool(waiting > backlog)


def blackhole(*, host: str = "127.0.0.1", port: int = 0, handler: t.Handler = send_back) -> BlackHole:
    """An address where connects are not answered, until its ``heal()`` makes a server of it.

    It is a listener with a full accept queue, as of a server that is too busy to accept. Linux then drops SYNs; other
    systems may refuse them.

    :param handler: what the server does once it is healed. By default it sends back what it gets.

    >>> with blackhole() as fault:
    ...     socket.create_connection(fault.address, 0.01)
    Traceback (most recent call last):
    TimeoutError: timed out
    """
    return BlackHole(bind_socket((host, port)), handler)


_HANDLERS: dict[object, Handler] = {
    "reset": lambda peer: peer.reset(),
    "close": lambda peer: peer.shutdown(),
    "silent": lambda peer: peer.wait(),
    "serve": send_back,
}


def flaky(script: Iterable[t.Step], *, refuse_for: float = 0.1, host: str = "127.0.0.1", port: int = 0) -> Flaky:
    """A server that follows a script, one step for each connection; the last step is repeated.

    :param script: ``"refuse"``: nobody listens. ``"reset"``: the connection is accepted and reset. ``"close"``: it is
        closed. ``"silent"``: it is never answered. ``"serve"``: what comes is sent back. Or a function, as for `serve`.
    :param refuse_for: how many seconds a step ``"refuse"`` lasts, unless `Flaky.advance` ends it. It is not one
        connection, for the kernel refuses by itself and nobody can count how often.
    :raises ValueError: there is no step, or an unknown one; ``refuse_for`` is negative.
    :raises OSError: the port is taken, or there is no such address here.

    >>> with flaky(["close", "serve"]) as fault:
    ...     with socket.create_connection(fault.address, 5) as sock:
    ...         sock.recv(100)
    ...     with socket.create_connection(fault.address, 5) as sock:
    ...         sock.sendall(b"ping")
    ...         sock.recv(100)
    b''
    b'ping'
    """
    steps = tuple(script)
    unknown = [step for step in steps if step != "refuse" and step not in _HANDLERS and not callable(step)]
    if unknown or not steps:
        known = ", ".join(map(repr, ["refuse", *_HANDLERS]))
        raise ValueError(f"script must have steps, each of {known} or a function, not {unknown or steps!r}")
    check_seconds("refuse_for", refuse_for)
    return Flaky(bind_socket((host, port)), steps, refuse_for)


class Flaky(Server):
    """A server that follows a script; see `flaky`."""

    def __init__(self, held: socket.socket, script: tuple[t.Step, ...], refuse_for: float) -> None:
        super().__init__(held, send_back, listens=False)
        self._script = script
        self._step = 0
        self._refuse_for = refuse_for
        self._current: socket.socket | None = None
        if sys.platform == "linux":
            # This socket keeps the port, and others listen on it.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if script[0] != "refuse":
            self._listen()
        self._start_accepting()

    def advance(self) -> None:
        """End the present step "refuse" now."""
        self._waker.send(b"!")

    def close(self) -> None:
        super().close()
        self._stop_listening()

    def _listen(self) -> socket.socket:
        if self._current is None:
            self._current = bind_socket((self.host, self.port))
            self._current.listen(self._backlog)
            self._current.settimeout(0)
        return self._current

    def _stop_listening(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    def waits_for(self) -> tuple[socket.socket | None, float | None]:
        if self._script[self._step] != "refuse":
            return self._listen(), None
        self._stop_listening()
        return None, self._refuse_for if self._step + 1 < len(self._script) else None

    def go_on(self) -> None:
        """Take the present step, and go on to the next if there is one."""
        self._wakeups.settimeout(0)
        with suppress(BlockingIOError):
            self._wakeups.recv(100)
        step = self._script[self._step]
        following = min(self._step + 1, len(self._script) - 1)
        if step != "refuse":
            try:
                sock, address = self._listen().accept()
            except OSError:  # the client has gone again
                return
            if following > self._step and self._script[following] == "refuse":
                self._stop_listening()  # before the client can connect again
            self._accepted(sock, address, step if callable(step) else _HANDLERS[step])
        self._step = following

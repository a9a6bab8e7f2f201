"""`flaky`: a server whose every connection goes another way, by a script."""

import selectors
import socket
import sys

from ..racing import new_selector
from ..settings import check_seconds
from ._server import Server
from .faults import bound, send_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from ._server import Handler

    Step = Literal["refuse", "reset", "close", "silent", "serve"] | Handler

_HANDLERS: "dict[object, Handler]" = {
    "reset": lambda peer: peer.reset(),
    "close": lambda peer: peer.shutdown(),
    "silent": lambda peer: peer.wait(),
    "serve": send_back,
}


def flaky(script: "Iterable[Step]", *, refuse_for: float = 0.1, host: str = "127.0.0.1", port: int = 0) -> "Flaky":
    """A server that does as a script says, a step for each connection; the last step stays.

    :param script: ``"refuse"``: nobody listens. ``"reset"``: the connection is accepted and reset. ``"close"``: it is
        closed. ``"silent"``: it is never answered. ``"serve"``: what comes is sent back. Or a function, as for `serve`.
    :param refuse_for: how many seconds a step ``"refuse"`` lasts, unless `Flaky.advance` ends it: the kernel refuses by
        itself, and nobody can count how often.
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
    return Flaky(bound(host, port), steps, refuse_for)


class Flaky(Server):
    """A server with a script."""

    def __init__(self, held: socket.socket, script: "tuple[Step, ...]", refuse_for: float) -> None:
        super().__init__(held, send_back, listens=False)
        self._script = script
        self._refuse_for = refuse_for
        self._current: socket.socket | None = None
        if sys.platform == "linux":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it keeps the port, and others listen there
        if script[0] != "refuse":
            self._listen()
        self._start_thread(self._follow)

    def advance(self) -> None:
        """End a step "refuse" that lasts, now."""
        self._bell.send(b"!")

    def _listen(self) -> None:
        if self._current is None:
            self._current = bound(self.host, self.port)
            self._current.listen(self._backlog)
            self._current.settimeout(0)

    def _stop_listening(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    def _follow(self) -> None:
        index = 0
        try:
            while not self._over.is_set():
                self._take(self._script[index], self._script[index + 1 : index + 2])
                index = min(index + 1, len(self._script) - 1)
        finally:
            self._stop_listening()

    def _take(self, step: "Step", following: "tuple[Step, ...]") -> None:
        """One step, until it is over: the last never is."""
        if step == "refuse":
            self._stop_listening()
            self._wait(None, self._refuse_for if following else None)
            return
        self._listen()
        listener = self._current
        assert listener is not None  # noqa: S101 - for the type checker
        while not self._over.is_set():
            self._wait(listener, None)
            try:
                sock, address = listener.accept()
            except OSError:  # the client is gone again
                continue
            if following == ("refuse",):
                self._stop_listening()  # before the client can come again
            self._accepted(sock, address, step if callable(step) else _HANDLERS[step])
            return

    def _wait(self, listener: socket.socket | None, seconds: float | None) -> None:
        with new_selector() as watched:
            watched.register(self._rings, selectors.EVENT_READ)
            if listener is not None:
                watched.register(listener, selectors.EVENT_READ)
            watched.select(seconds)
        if not self._over.is_set():
            self._rings.settimeout(0)
            try:
                self._rings.recv(100)
            except BlockingIOError:
                return

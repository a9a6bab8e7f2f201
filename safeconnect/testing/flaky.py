"""`flaky`: a server whose every connection goes another way, by a script."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

from .._connect.settings import check_seconds
from ._server import Server
from .faults import bound, send_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..typing import Handler, Step


_HANDLERS: dict[object, Handler] = {
    "reset": lambda peer: peer.reset(),
    "close": lambda peer: peer.shutdown(),
    "silent": lambda peer: peer.wait(),
    "serve": send_back,
}


def flaky(script: Iterable[Step], *, refuse_for: float = 0.1, host: str = "127.0.0.1", port: int = 0) -> Flaky:
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

    def __init__(self, held: socket.socket, script: tuple[Step, ...], refuse_for: float) -> None:
        super().__init__(held, send_back, listens=False)
        self._script = script
        self._step = 0
        self._refuse_for = refuse_for
        self._current: socket.socket | None = None
        if sys.platform == "linux":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it keeps the port, and others listen there
        if script[0] != "refuse":
            self._listen()
        self._start_accepting()

    def advance(self) -> None:
        """End a step "refuse" that lasts, now."""
        self._bell.send(b"!")

    def close(self) -> None:
        super().close()
        self._stop_listening()

    def _listen(self) -> socket.socket:
        if self._current is None:
            self._current = bound(self.host, self.port)
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
        """Do what the step says; the last one is done again and again."""
        self._rings.settimeout(0)
        with suppress(BlockingIOError):
            self._rings.recv(100)
        step = self._script[self._step]
        following = min(self._step + 1, len(self._script) - 1)
        if step != "refuse":
            try:
                sock, address = self._listen().accept()
            except OSError:  # the client is gone again
                return
            if following > self._step and self._script[following] == "refuse":
                self._stop_listening()  # before the client can come again
            self._accepted(sock, address, step if callable(step) else _HANDLERS[step])
        self._step = following

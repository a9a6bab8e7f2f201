"""Look up a name for a blocking connect: in the calling thread, or in another one with a time limit."""

from __future__ import annotations

import queue
import socket

from .._sockets import hosts, lookups, resolve
from .._sockets.answers import Question
from ..ports import MAX_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..typing import Candidate
    from .settings import Settings

    Answers = queue.SimpleQueue[tuple[Any, BaseException | None]]


def look_up(settings: Settings, address: tuple[Any, ...], timeout: float | None) -> Sequence[Candidate]:
    """Look up a name in another thread, for at most ``timeout`` seconds; if that is None, in this thread.

    :raises TimeoutError: there was no answer in time; the lookup goes on in its thread until it ends.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    if timeout is not None:
        host = _plain_host(settings, address)
        candidates: Sequence[Candidate] = hosts.find(host, address[1], settings.family) if host else ()
        if not candidates:
            candidates = look_up_in_time(Question(address, settings.resolver, settings.family), timeout)
            if host:
                hosts.learn(host, candidates)
        return candidates
    is_replaced = socket.getaddrinfo is not resolve.STANDARD
    if settings.resolver or (settings.family and (is_replaced or resolve.may_ask_the_network(address))):
        return Question(address, settings.resolver, settings.family).ask()
    # The files of this host may have the name in one family only, and DNS is then asked for the other.
    return resolve.of_family(settings.family, resolve.look_up(address))


def may_take_long(settings: Settings, address: tuple[Any, ...]) -> bool:
    """Return True if a lookup may ask the network, or a user-supplied resolver."""
    return settings.resolver is not None or resolve.may_ask_the_network(address)


def _plain_host(settings: Settings, address: tuple[Any, ...]) -> str:
    """Return the host if nobody but the C library is to look it up, and the port is a number; otherwise nothing."""
    if settings.resolver is not None or socket.getaddrinfo is not resolve.STANDARD or len(address) != 2:
        return ""
    host, port = address
    return host if type(host) is str and type(port) is int and 0 <= port <= MAX_PORT else ""


def look_up_in_time(question: Question, timeout: float) -> Sequence[Candidate]:
    """Look a name up in a thread, and leave the thread behind when the time is up.

    :raises TimeoutError: there was no answer in time.
    :raises OSError: `socket.gaierror` from the lookup; plain OSError where it gives no address.
    """
    found: Any = None
    error: BaseException | None = None
    # Looked up at call time: gevent and eventlet replace it, and may do so after this module was loaded.
    answers: Answers = queue.SimpleQueue()
    lookup = lookups.start(question.resolver, question.arguments, lambda *answer: answers.put(answer))
    try:
        try:
            found, error = answers.get(timeout=max(timeout, 0))
        except queue.Empty:
            error = TimeoutError("timed out")
            lookup.explain(error)
        return _read(question, found, error)
    finally:
        if found is None:  # otherwise it is over
            lookup.cancel()
        error = None  # its traceback holds this frame: a cycle


def _read(question: Question, found: Any, error: BaseException | None) -> Sequence[Candidate]:
    if error is None:
        return question.read(found)
    try:
        raise question.noted(error.with_traceback(None)) if isinstance(error, OSError) else error
    finally:
        del error  # its traceback holds this frame: a cycle

"""Name lookups that nobody has to wait for: a bounded pool of daemon threads.

getaddrinfo() can neither be given a deadline nor be stopped. So it runs in a thread of its own, and whoever asked goes
away when time is up. What hangs stays behind, and is bounded: callers that ask the same share one lookup, a fixed
number of threads look up, a fixed number of lookups wait for one, and the end of the interpreter waits for none.
"""

import copy
import os
import socket
import sys
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Resolver = Callable[..., Iterable[Any]]
    Done = Callable[[list[Any] | None, BaseException | None], object]

MAX_THREADS = 32
MAX_QUEUED = 1024
IDLE_SECONDS = 10.0  # read whenever a thread runs out of work: tests shorten it, and join `_pool.threads`


def start(resolver: "Resolver", arguments: "tuple[Any, ...]", done: "Done") -> "Lookup":
    """Call ``resolver(*arguments)`` in a daemon thread and hand its outcome to ``done(found, error)``; never wait.

    ``done`` is called once, from that thread: with a list of the caller's own and None, or with None and whatever the
    resolver raised. It should do no more than pass the outcome on and wake the caller. Where no thread can be had,
    as at the end of the interpreter, all this happens in the calling thread before ``start`` returns.

    :raises socket.gaierror: ``EAI_AGAIN``, at once: too many lookups are unanswered already.
    """
    # At the end of the interpreter the daemon threads stand still, and one of them may hold the lock of its pool.
    pool = _Pool() if sys.is_finalizing() else _current()
    return pool.start(resolver, arguments, done)


class Lookup:
    """One caller's part in a lookup."""

    __slots__ = ("_done", "_flight", "_lock", "_pool")

    def __init__(self, pool: "_Pool", flight: "_Flight", done: "Done") -> None:
        self._pool = pool
        self._flight = flight
        self._done: Done | None = done
        self._lock = threading.RLock()  # reentrant, for ``done`` may cancel

    def cancel(self) -> None:
        """Leave: when this returns, ``done`` is not running in another thread and will not be called any more.

        Any thread may cancel, and more than once, but must not hold a lock that ``done`` waits for. The other callers
        of the same lookup still get its outcome; one that nobody waits for is not begun.
        """
        if self._pool is not _pool or sys.is_finalizing():
            return  # a forked parent's, or of an ending interpreter: its threads run no more, and may hold the locks
        with self._lock:
            self._done = None
        self._pool.leave(self)

    def _tell(self, found: "list[Any] | None", error: BaseException | None) -> None:
        with self._lock:  # held during the call: what ``done`` uses may be closed once cancel() has returned
            done, self._done = self._done, None
            if done is None:
                return
            try:
                done(found, error)
            except BaseException:  # noqa: BLE001 - the fault of one caller is not to reach the others
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


class _Flight:
    """A lookup under way or in the queue, and who waits for it."""

    __slots__ = ("arguments", "callers", "key", "resolver")

    def __init__(self, key: object, resolver: "Resolver", arguments: "tuple[Any, ...]") -> None:
        self.key = key
        self.resolver = resolver
        self.arguments = arguments
        self.callers: set[Lookup] = set()


class _Pool:
    """The threads and their work."""

    def __init__(self) -> None:
        self.kind = threading.Lock  # gevent and eventlet put another one there
        self.changed = threading.Condition()  # guards all that follows, and the callers of the flights
        self.flights: dict[object, _Flight] = {}  # unanswered, in the queue or in a thread
        self.queue: deque[_Flight] = deque()
        self.threads: set[threading.Thread] = set()
        self.idle = 0

    def start(self, resolver: "Resolver", arguments: "tuple[Any, ...]", done: "Done") -> Lookup:
        key = _key(resolver, arguments)
        served = True
        with self.changed:
            flight = self.flights.get(key)
            if flight is None:
                flight = _Flight(key, resolver, arguments)
                served = self.admit(flight)
            lookup = Lookup(self, flight, done)
            flight.callers.add(lookup)
        if not served:
            self.serve(flight)
        return lookup

    def admit(self, flight: _Flight) -> bool:
        """Queue a new lookup; False where no thread will ever take it."""
        if len(self.queue) >= MAX_QUEUED:
            raise socket.gaierror(
                socket.EAI_AGAIN,
                f"{len(self.flights)} lookups have not been answered; the resolver of this host hangs, "
                "or is asked for more names at once than it can look up",
            )
        # The thread first: a KeyboardInterrupt in here leaves an idle thread, never a lookup without one.
        served = self.hire()
        if served:
            self.queue.append(flight)
            self.changed.notify()
        self.flights[flight.key] = flight
        return served

    def hire(self) -> bool:
        """Start a thread if all are taken and there may be more; whether there is any at all."""
        if sys.is_finalizing():
            return False  # a thread would never run, and Python 3.11 would wait for it to start
        if len(self.queue) >= self.idle and len(self.threads) < MAX_THREADS:
            thread = threading.Thread(target=self.work, name="safeconnect lookup", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the host has no thread left, or the interpreter (3.12 and later) is about to end
                return bool(self.threads)
            self.threads.add(thread)
        return True

    def leave(self, lookup: Lookup) -> None:
        flight = lookup._flight  # noqa: SLF001 - the same room
        with self.changed:
            flight.callers.discard(lookup)
            if not flight.callers and flight in self.queue:
                self.queue.remove(flight)
                self.flights.pop(flight.key, None)

    def work(self) -> None:
        for flight in iter(self.next, None):
            self.serve(flight)
            del flight  # an idle thread keeps nothing alive

    def next(self) -> _Flight | None:
        """The next lookup; None where none came for so long that the thread may end."""
        with self.changed:
            self.idle += 1
            wanted = self.changed.wait_for(lambda: self.queue, IDLE_SECONDS)
            self.idle -= 1
            if wanted:
                return self.queue.popleft()
            self.threads.discard(threading.current_thread())
            return None

    def serve(self, flight: _Flight) -> None:
        found: list[Any] | None = None
        failure: BaseException | None = None
        try:
            found = list(flight.resolver(*flight.arguments))  # an iterator is run here too, where it may block
        except BaseException as error:  # noqa: BLE001 - it is the callers', whatever it is
            # Without this frame, which would keep the error alive and the error the frame.
            failure = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        with self.changed:
            self.flights.pop(flight.key, None)  # who asks from now on wants a new answer
            callers, flight.callers = flight.callers, set()
        alone = len(callers) == 1  # of several, none is to see what another does to the outcome
        for caller in callers:
            if found is not None:
                caller._tell(found if alone else found.copy(), None)  # noqa: SLF001 - the same room
            elif failure is not None:
                caller._tell(None, failure if alone else _twin(failure))  # noqa: SLF001


def _key(resolver: "Resolver", arguments: "tuple[Any, ...]") -> object:
    """Equal for calls that may share an outcome. Types come first: ``"a" == b"a"`` warns under ``python -bb``."""
    key = (resolver, tuple(map(type, arguments)), arguments)
    try:
        hash(key)
    except TypeError:  # a bytearray as host, say: not shared
        return object()
    return key


def _twin(error: BaseException) -> BaseException:
    """A copy of the error with a traceback and notes of its own; itself where its class cannot be copied."""
    try:
        twin = copy.copy(error)
        twin.__cause__, twin.__context__ = error.__cause__, error.__context__
        twin.__suppress_context__ = error.__suppress_context__
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
        return twin.with_traceback(error.__traceback__)
    except Exception:  # noqa: BLE001 - a class of the user's may raise anything here
        return error


_pool = _Pool()


def _current() -> _Pool:
    """The pool; a new one if gevent or eventlet have put greenlets in the place of threads since it was made.

    Greenlets cannot share locks with threads: all of them are one thread to the old locks.
    """
    global _pool
    if _pool.kind is not threading.Lock:
        _pool = _Pool()
    return _pool


def _start_afresh() -> None:
    """In a forked child, where the threads are gone and a lock may be held by one of them."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)

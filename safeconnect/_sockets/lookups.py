"""Name lookups that nobody has to wait for: a bounded pool of daemon threads.

getaddrinfo() can neither be given a deadline nor be stopped. So it runs in a thread of its own, and whoever asked goes
away when time is up. What hangs stays behind, and is bounded: callers that ask the same share one lookup, a fixed
number of threads look up, a fixed number of lookups wait for one, and the end of the interpreter waits for none.

A signal handler's exception may end a caller between any two steps. So nothing is counted: which threads there are, and
who waits for a lookup, is told by weak references to what only they themselves hold. What an interrupted caller left
undone, waking a thread say, the next one does.
"""

from __future__ import annotations

import _thread
import copy
import queue
import socket
import sys
import threading
from collections import deque
from weakref import ref

from .. import _fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..typing import Resolver

    Done = Callable[[list[Any] | None, BaseException | None], object]

MAX_THREADS = 32
# With those whose lookups hang after all who asked have gone. Enough for a few dozen dead names, each asked for once
# more while its first lookup waits out the resolver's own time (5 to 30 s); their stacks take no memory before use.
MAX_THREADS_IN_ALL = 128
MAX_QUEUED = 1024
IDLE_SECONDS = 10.0  # read whenever a thread runs out of work: tests shorten it, and join the threads of `_pool`
_NAMES_TOLD = 3


def start(resolver: Resolver, arguments: tuple[Any, ...], done: Done) -> Lookup:
    """Call ``resolver(*arguments)`` in a daemon thread and hand its outcome to ``done(found, error)``; never wait.

    ``done`` is called once, from that thread: with a list of the caller's own and None, or with None and whatever the
    resolver raised. It should do no more than pass the outcome on and wake the caller. Where no thread can be had,
    as at the end of the interpreter, all this happens in the calling thread before ``start`` returns.

    :returns: the caller's part, to be kept: who lets go of it has left, as by `Lookup.cancel`.
    :raises socket.gaierror: ``EAI_AGAIN``, at once: too many lookups are unanswered already.
    """
    # At the end of the interpreter the daemon threads stand still, and one of them may hold the lock of its pool.
    lookup = None if sys.is_finalizing() else _current().start(resolver, arguments, done)
    if lookup is None:
        lookup = Lookup(_pool, _Flight(None, resolver, arguments), None)
        done(*_ask(lookup.flight))
    return lookup


class Lookup:
    """One caller's part in a lookup."""

    __slots__ = ("__weakref__", "_done", "_lock", "_pool", "flight")

    def __init__(self, pool: _Pool, flight: _Flight, done: Done | None) -> None:
        self._pool = pool
        self.flight = flight
        self._done = done
        self._lock = _fork.new_lock()  # reentrant: ``done`` may cancel. A forked child has another pool

    def cancel(self) -> None:
        """Leave: when this returns, ``done`` is not running in another thread and will not be called any more.

        Any thread may cancel, and more than once, but must not hold a lock that ``done`` waits for. The other callers
        of the same lookup still get its outcome; one that nobody waits for is not begun.
        """
        if self._pool is not _pool or sys.is_finalizing():
            return  # a forked parent's, or of an ending interpreter: its threads run no more, and may hold the locks
        self._done = None  # first, for the wait may be interrupted
        with self._lock:
            pass
        self._pool.leave(self)

    def explain(self, error: BaseException) -> None:
        """Add a note to the caller's timeout error if this lookup has not even begun."""
        with self._pool.guard.lock:
            told = self._pool.what_hangs() if self.flight in self._pool.queue else ""
        if told:
            error.add_note(f"the lookup has not begun: {told}")

    def tell(self, found: list[Any] | None, error: BaseException | None) -> None:
        """Call ``done``, unless the caller has left."""
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

    def __init__(self, key: object, resolver: Resolver, arguments: tuple[Any, ...]) -> None:
        self.key = key
        self.resolver = resolver
        self.arguments = arguments
        self.callers: set[ref[Lookup]] = set()

    def join(self, lookup: Lookup) -> None:
        self.callers.add(ref(lookup, self.callers.discard))


class _Worker:
    """A thread of the pool, held by that thread alone: it is gone when the thread is, or was never begun."""

    __slots__ = ("__weakref__", "flight")

    def __init__(self) -> None:
        self.flight: _Flight | None = None  # what it looks up


class _Pool:
    """The threads and their work."""

    def __init__(self) -> None:
        self.kind = threading.Lock  # gevent and eventlet put another one there
        self.guard = _fork.Guard()  # for all that follows, and for joining flights
        self.flights: dict[object, _Flight] = {}  # unanswered, in the queue or in a thread
        self.queue: deque[_Flight] = deque()
        self.workers: set[ref[_Worker]] = set()
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # rung once for an idle thread and a lookup

    def start(self, resolver: Resolver, arguments: tuple[Any, ...], done: Done) -> Lookup | None:
        """A part in a lookup that a thread makes; None where there is none for it."""
        key = _key(resolver, arguments)
        lookup: Lookup | None = None
        try:
            with self.guard.lock:
                flight = self.flights.get(key)
                # One that all have left may hang for ever: whoever comes now is not to wait for it.
                is_new = flight is None or not flight.callers
                if flight is None or is_new:
                    self.check_room()
                    flight = _Flight(key, resolver, arguments)
                lookup = Lookup(self, flight, done)
                flight.join(lookup)
                if is_new:
                    self.flights[key] = flight
                    self.queue.append(flight)
                if self.staff() or not is_new:
                    return lookup
                self.drop(flight)
                return None
        except BaseException:
            if lookup is not None:  # an interrupt's traceback keeps this frame
                lookup.flight.callers.discard(ref(lookup))
            raise

    def check_room(self) -> None:
        if len(self.queue) >= MAX_QUEUED:
            for flight in [each for each in self.queue if not each.callers]:
                self.drop(flight)  # who asked was interrupted
        if len(self.queue) >= MAX_QUEUED:
            told = self.what_hangs() or "they wait for a thread"
            raise socket.gaierror(socket.EAI_AGAIN, f"{len(self.flights)} lookups have not been answered: {told}")

    def staff(self) -> bool:
        """See to it that threads come for what is in the queue; False where there is none for the last of it."""
        workers = self.living()
        idle = sum(worker.flight is None for worker in workers)
        if idle and self.queue:
            self.bell.put(None)
        if len(self.queue) <= idle:
            return True
        wanted = sum(worker.flight is None or bool(worker.flight.callers) for worker in workers)
        if wanted >= MAX_THREADS or len(workers) >= MAX_THREADS_IN_ALL:
            return True
        return self.hire()

    def living(self) -> list[_Worker]:
        # A copy made at one stroke: the end of a thread changes the set.
        return [worker for each in self.workers.copy() if (worker := each()) is not None]

    def hire(self) -> bool:
        worker = _Worker()
        thread = None
        try:
            # RuntimeError: an isolated subinterpreter allows no daemon threads.
            thread = threading.Thread(target=self.work, args=(worker,), name="safeconnect lookup", daemon=True)
            self.workers.add(ref(worker, self.workers.discard))
            # An interrupt in the middle of Thread.start() leaves a thread that hangs before it begins. Signals are
            # handled in the main thread only: so another one, begun in one step, calls it.
            _thread.start_new_thread(self.begin, (thread, worker))
        except RuntimeError:  # or the host has no thread left, or the interpreter (3.12 and later) is about to end
            self.workers.discard(ref(worker))
            return False
        finally:
            del worker, thread  # an interrupt's traceback keeps this frame
        return True

    def begin(self, thread: threading.Thread, worker: _Worker) -> None:
        try:
            thread.start()
        except RuntimeError:  # the last thread that the host had is this one
            self.work(worker)

    def work(self, worker: _Worker) -> None:
        for flight in iter(lambda: self.next(worker), None):
            self.serve(flight)
            del flight  # an idle thread keeps nothing alive

    def next(self, worker: _Worker) -> _Flight | None:
        """The next lookup; None where none came for so long that the thread may end."""
        while True:
            with self.guard.lock:
                worker.flight = self.take()
                if worker.flight is not None:
                    return worker.flight
            try:
                self.bell.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self.guard.lock:
                    if not self.queue:
                        self.workers.discard(ref(worker))  # nobody is to ring for it any more
                        return None

    def take(self) -> _Flight | None:
        while self.queue:
            flight = self.queue[0]
            if flight.callers:
                return self.queue.popleft()
            self.drop(flight)
        return None

    def drop(self, flight: _Flight) -> None:
        """Forget a lookup that is not to be begun."""
        if flight in self.queue:
            self.queue.remove(flight)
        self.close(flight)

    def close(self, flight: _Flight) -> None:
        """Let nobody join any more: who asks from now on wants a new answer."""
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]

    def leave(self, lookup: Lookup) -> None:
        flight = lookup.flight
        with self.guard.lock:
            flight.callers.discard(ref(lookup))
            if not flight.callers:
                self.drop(flight)
                self.staff()  # its thread, if it has one, no longer keeps others from being begun

    def serve(self, flight: _Flight) -> None:
        found, failure = _ask(flight)
        with self.guard.lock:
            self.close(flight)
            callers = [lookup for each in flight.callers.copy() if (lookup := each()) is not None]
        alone = len(callers) == 1  # of several, none is to see what another does to the outcome
        for caller in callers:
            if found is not None:
                caller.tell(found if alone else found.copy(), None)
            elif failure is not None:
                caller.tell(None, failure if alone else _twin(failure))
        del failure  # the frames in its traceback lead back to this one: a cycle

    def what_hangs(self) -> str:
        """That all threads hang, if they do, and on which names."""
        busy = [worker.flight for worker in self.living() if worker.flight is not None]
        if len(busy) < MAX_THREADS:
            return ""
        names = [_name(flight) for flight in busy[:_NAMES_TOLD]]
        more = f" and {len(busy) - len(names)} more" if len(busy) > len(names) else ""
        return (
            f"all {len(busy)} threads for lookups hang, on {', '.join(names)}{more}; the resolver of this host does "
            "not answer, or is asked for more names at once than it can look up"
        )


def _ask(flight: _Flight) -> tuple[list[Any] | None, BaseException | None]:
    """Call the resolver: what it found, or what it raised."""
    try:
        return list(flight.resolver(*flight.arguments)), None  # an iterator is run here too, where it may block
    except BaseException as error:  # noqa: BLE001 - it is the callers', whatever it is
        # Without this frame, which would keep the error alive and the error the frame.
        return None, error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


def _name(flight: _Flight) -> str:
    return repr(flight.arguments[0]) if flight.arguments else "a name"


def _key(resolver: Resolver, arguments: tuple[Any, ...]) -> object:
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


@_fork.in_child
def _start_afresh() -> None:
    """In a forked child, where the threads are gone."""
    global _pool
    _pool = _Pool()

"""Name lookups with a time limit: a bounded pool of daemon threads.

getaddrinfo() takes no deadline and cannot be stopped. So it runs in a thread of its own, and a caller whose time is up
leaves the thread behind. What is left behind is bounded:

- Callers with the same question share one query.
- The number of threads has a limit, and so has the number of queries that wait for a thread.
- The end of the interpreter waits for none of them: they are daemon threads.

An exception from a signal handler may end a caller between any two steps, so a counter that must be lowered again would
go wrong. Nothing is counted here. A thread is alive as long as its `_Worker` is, which only the thread itself holds; a
caller waits as long as its `Lookup` is alive, which only the caller holds. The pool has weak references to both. If an
interrupted caller has left something undone, such as waking a thread, the next caller does it.

A thread that has been idle for long ends. It decides so under the lock, and is no longer counted as idle from then on,
so no query can be left to a thread that is about to end.
"""

from __future__ import annotations

import _thread
import copy
import socket
import sys
import threading
from collections import deque
from weakref import ref

from .. import _fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..typing import Resolver

    Done = Callable[[list[Any] | None, BaseException | None], object]

MAX_THREADS = 32
# Including threads whose query hangs after all callers have left. Enough for a few dozen dead names, each asked for
# once more while its first query waits out the resolver's own timeout (5 to 30 s). Unused stacks take no memory.
MAX_THREADS_IN_ALL = 128
MAX_QUEUED = 1024
# Read whenever a thread runs out of work: tests shorten it, and join the threads of the pool.
IDLE_SECONDS = 10.0
_NAMES_TOLD = 3


def start(resolver: Resolver, arguments: tuple[Any, ...], done: Done) -> Lookup:
    """Call ``resolver(*arguments)`` in a daemon thread and hand its outcome to ``done(found, error)``; never wait.

    ``done`` is called once, from that thread: with a list of the caller's own and None, or with None and whatever the
    resolver raised. It should do no more than pass the outcome on and wake the caller. Where no thread can be had,
    as at the end of the interpreter, all this happens in the calling thread before ``start`` returns.

    :returns: the caller's part, to be kept: dropping it is leaving, as `Lookup.cancel` is.
    :raises socket.gaierror: ``EAI_AGAIN``, at once: too many lookups are unanswered already.
    """
    # At the end of the interpreter daemon threads are stopped, and one of them may hold the lock of its pool.
    lookup = None if sys.is_finalizing() else _process.current().start(resolver, arguments, done)
    if lookup is None:
        lookup = Lookup(_process.pool, _Query(None, resolver, arguments), None)
        done(*_ask(lookup.query))
    return lookup


class Lookup:
    """One caller's part in a query."""

    __slots__ = ("__weakref__", "_done", "_lock", "_pool", "query")

    def __init__(self, pool: _Pool, query: _Query, done: Done | None) -> None:
        self._pool = pool
        self.query = query
        self._done = done
        self._lock = _fork.new_lock()  # reentrant: ``done`` may cancel. A forked child has another pool

    def cancel(self) -> None:
        """Leave: when this returns, ``done`` is not running in another thread and will not be called any more.

        Any thread may cancel, and more than once, but must not hold a lock that ``done`` waits for. The other callers
        of the same lookup still get its outcome; one that nobody waits for is not begun.
        """
        if self._pool is not _process.pool or sys.is_finalizing():
            return  # of a forked parent, or at the end of the interpreter: its threads are gone, and may hold the locks
        self._done = None  # first, for the wait may be interrupted
        with self._lock:
            pass
        self._pool.leave(self)

    def explain(self, error: BaseException) -> None:
        """Add a note to the caller's timeout error if the query has not even begun."""
        with self._pool.guard.lock:
            told = self._pool.what_hangs() if self.query in self._pool.queue else ""
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
            except BaseException:  # noqa: BLE001 - the error of one caller must not reach the others
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


class _Query:
    """A call of a resolver, under way or in the queue, and the callers that wait for it."""

    __slots__ = ("arguments", "callers", "key", "resolver")

    def __init__(self, key: object, resolver: Resolver, arguments: tuple[Any, ...]) -> None:
        self.key = key
        self.resolver = resolver
        self.arguments = arguments
        self.callers: set[ref[Lookup]] = set()

    def join(self, lookup: Lookup) -> None:
        self.callers.add(ref(lookup, self.callers.discard))


class _Worker:
    """A thread of the pool. Only the thread holds it: it is gone when the thread is, or if it never began.

    Each thread waits for work on a lock of its own, which is taken unless somebody has woken the thread. Threads cannot
    share one queue: until Python 3.13, ``queue.SimpleQueue.get`` waits without a limit if another thread takes the item
    in the moment in which the timeout ends.
    """

    __slots__ = ("__weakref__", "_gate", "query")

    def __init__(self, gate: threading.Lock) -> None:
        self.query: _Query | None = None  # the one it works on
        self._gate = gate
        gate.acquire()

    def wake(self) -> bool:
        """Wake the thread; return False if it is awake."""
        try:
            self._gate.release()
        except RuntimeError:
            return False
        return True

    def sleep(self, timeout: float) -> bool:
        """Wait until somebody wakes the thread; return False after so many seconds."""
        return self._gate.acquire(timeout=timeout)


class _Pool:
    """The threads and their work."""

    def __init__(self) -> None:
        self.kind = threading.Lock  # gevent and eventlet replace it
        self.guard = _fork.Guard()  # for all that follows, and for joining a query
        self.queries: dict[object, _Query] = {}  # unanswered, in the queue or in a thread
        self.queue: deque[_Query] = deque()
        self.workers: set[ref[_Worker]] = set()

    def start(self, resolver: Resolver, arguments: tuple[Any, ...], done: Done) -> Lookup | None:
        """Join or begin a query; return None if there is no thread for it."""
        key = _key(resolver, arguments)
        lookup: Lookup | None = None
        try:
            with self.guard.lock:
                query = self.queries.get(key)
                # A query that all callers have left may hang without a limit: a new caller must not wait for it.
                is_new = query is None or not query.callers
                if query is None or is_new:
                    self.check_room()
                    query = _Query(key, resolver, arguments)
                lookup = Lookup(self, query, done)
                query.join(lookup)
                if is_new:
                    self.queries[key] = query
                    self.queue.append(query)
                if self.staff() or not is_new:
                    return lookup
                self.drop(query)
                return None
        except BaseException:
            if lookup is not None:  # the traceback of an interrupt keeps this frame
                lookup.query.callers.discard(ref(lookup))
            raise

    def check_room(self) -> None:
        if len(self.queue) >= MAX_QUEUED:
            for query in [each for each in self.queue if not each.callers]:
                self.drop(query)  # its caller was interrupted
        if len(self.queue) >= MAX_QUEUED:
            told = self.what_hangs() or "they wait for a thread"
            raise socket.gaierror(socket.EAI_AGAIN, f"{len(self.queries)} lookups have not been answered: {told}")

    def staff(self) -> bool:
        """Wake or start threads for the queue; return False if there is no thread for its last query."""
        workers = self.living()
        idle = [worker for worker in workers if worker.query is None]
        self.wake_one(idle)
        if len(self.queue) <= len(idle):
            return True
        wanted = sum(worker.query is None or bool(worker.query.callers) for worker in workers)
        if wanted >= MAX_THREADS or len(workers) >= MAX_THREADS_IN_ALL:
            return True
        return self.hire()

    def wake_one(self, idle: Iterable[_Worker]) -> None:
        if self.queue:
            any(worker.wake() for worker in idle)  # those that are awake come by themselves

    def living(self) -> list[_Worker]:
        # A copy in one step, because the end of a thread changes the set.
        return [worker for each in self.workers.copy() if (worker := each()) is not None]

    def hire(self) -> bool:
        worker = _Worker(self.kind())
        thread = None
        try:
            # RuntimeError: an isolated subinterpreter allows no daemon threads.
            thread = threading.Thread(target=self.work, args=(worker,), name="safeconnect lookup", daemon=True)
            self.workers.add(ref(worker, self.workers.discard))
            # An interrupt in the middle of Thread.start() leaves a thread that hangs before it begins. Signal handlers
            # run in the main thread only, so another thread, which starts in one step, makes the call.
            _thread.start_new_thread(self.begin, (thread, worker))
        except RuntimeError:  # or the host has no thread left, or the interpreter (3.12 and later) is about to end
            self.workers.discard(ref(worker))
            return False
        finally:
            del worker, thread  # the traceback of an interrupt keeps this frame
        return True

    def begin(self, thread: threading.Thread, worker: _Worker) -> None:
        try:
            thread.start()
        except RuntimeError:  # the host has no thread left but this one
            self.work(worker)

    def work(self, worker: _Worker) -> None:
        for query in iter(lambda: self.next(worker), None):
            self.serve(query)
            del query  # an idle thread keeps nothing alive

    def next(self, worker: _Worker) -> _Query | None:
        """Return the next query; None if none has come for so long that the thread should end."""
        while True:
            with self.guard.lock:
                worker.query = self.take()
                if worker.query is not None:
                    # Who had a thread woken for the next query may have met this one, on its way to the lock.
                    self.wake_one(each for each in self.living() if each.query is None)
                    return worker.query
            if not worker.sleep(IDLE_SECONDS):
                with self.guard.lock:
                    if not self.queue:
                        self.workers.discard(ref(worker))  # no longer idle: nobody wakes it
                        return None

    def take(self) -> _Query | None:
        while self.queue:
            query = self.queue[0]
            if query.callers:
                return self.queue.popleft()
            self.drop(query)
        return None

    def drop(self, query: _Query) -> None:
        """Drop a query that nobody waits for, before it begins."""
        if query in self.queue:
            self.queue.remove(query)
        self.close(query)

    def close(self, query: _Query) -> None:
        """Let no caller join any more: later callers want a new answer."""
        if self.queries.get(query.key) is query:
            del self.queries[query.key]

    def leave(self, lookup: Lookup) -> None:
        query = lookup.query
        with self.guard.lock:
            query.callers.discard(ref(lookup))
            if not query.callers:
                self.drop(query)
                self.staff()  # its thread, if it has one, no longer counts toward the limit

    def serve(self, query: _Query) -> None:
        found, failure = _ask(query)
        with self.guard.lock:
            self.close(query)
            callers = [lookup for each in query.callers.copy() if (lookup := each()) is not None]
        alone = len(callers) == 1  # several callers must not see what one of them does to the outcome
        for caller in callers:
            if found is not None:
                caller.tell(found if alone else found.copy(), None)
            elif failure is not None:
                caller.tell(None, failure if alone else _twin(failure))
        del failure  # its traceback leads back to this frame: a cycle

    def what_hangs(self) -> str:
        """Return a text that says on which names all threads hang; empty if they do not."""
        busy = [worker.query for worker in self.living() if worker.query is not None]
        if len(busy) < MAX_THREADS:
            return ""
        names = [_name(query) for query in busy[:_NAMES_TOLD]]
        more = f" and {len(busy) - len(names)} more" if len(busy) > len(names) else ""
        return (
            f"all {len(busy)} threads for lookups hang, on {', '.join(names)}{more}; the resolver of this host does "
            "not answer, or is asked for more names at once than it can look up"
        )


def _ask(query: _Query) -> tuple[list[Any] | None, BaseException | None]:
    """Call the resolver; return what it found, or what it raised."""
    try:
        return list(query.resolver(*query.arguments)), None  # an iterator is run here too, where it may block
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the callers'
        # Without this frame, which would keep the error alive and the error the frame.
        return None, error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


def _name(query: _Query) -> str:
    if not query.arguments:
        return "a name"
    host = query.arguments[0]
    return repr(host.decode("ascii", "replace") if isinstance(host, bytes) else host)


def _key(resolver: Resolver, arguments: tuple[Any, ...]) -> object:
    """Return a key that is equal for calls that may share an outcome.

    Types come first: ``"a" == b"a"`` warns under ``python -bb``.
    """
    key = (resolver, tuple(map(type, arguments)), arguments)
    try:
        hash(key)
    except TypeError:  # a bytearray as host, say: not shared
        return object()
    return key


def _twin(error: BaseException) -> BaseException:
    """Copy the error, with a traceback and notes of its own; return itself if its class cannot be copied."""
    try:
        twin = copy.copy(error)
        twin.__cause__, twin.__context__ = error.__cause__, error.__context__
        twin.__suppress_context__ = error.__suppress_context__
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
        return twin.with_traceback(error.__traceback__)
    except Exception:  # noqa: BLE001 - a class of the user's may raise anything here
        return error


class _Process:
    """The pool of this process; a new one in a forked child, where the threads of the old one are gone."""

    __slots__ = ("__weakref__", "pool")

    def __init__(self) -> None:
        self.forked()
        _fork.register(self)

    def forked(self) -> None:
        self.pool = _Pool()

    def current(self) -> _Pool:
        """Return the pool; a new one if gevent or eventlet have replaced threads by greenlets since it was made.

        Greenlets cannot use the old locks: to these, all greenlets are one thread.
        """
        if self.pool.kind is not threading.Lock:
            self.pool = _Pool()
        return self.pool


_process = _Process()

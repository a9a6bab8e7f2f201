"""The pool of lookup threads, over resolvers that do as they are told; nothing here asks DNS."""

import contextlib
import gc
import queue
import random
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

from safeconnect._net import lookups

from .namespace import ROOT
from .support import linux_only
from .test_process import python

WAIT = 30  # seconds until a test that hangs fails
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class Resolver:
    """Hangs until it is opened, then answers; counts its calls."""

    def __init__(self, answer=FOUND, *, hangs=True):
        self.answer = answer
        self.calls = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        if not hangs:
            self.open.set()

    def __call__(self, *arguments):
        self.calls.append(arguments)
        self.entered.release()
        assert self.open.wait(WAIT)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def wait_entered(self, times=1):
        for _ in range(times):
            assert self.entered.acquire(timeout=WAIT)


class Inbox(queue.SimpleQueue):
    """A ``done`` that keeps the outcomes."""

    def __call__(self, found, error):
        self.put((found, error))

    def outcome(self):
        return self.get(timeout=WAIT)


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of the test's own, whose threads are gone when the test is over."""
    pool = lookups._Pool()
    monkeypatch.setattr(lookups, "_pool", pool)
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 0.05)
    yield pool
    join(pool)
    assert (pool.flights, list(pool.queue), pool.idle) == ({}, [], 0)


def join(pool):
    while pool.threads:
        for thread in list(pool.threads):
            thread.join(WAIT)
            assert not thread.is_alive()


@pytest.fixture
def resolver():
    resolver = Resolver()
    yield resolver
    resolver.open.set()


def fill(resolver, done, count=lookups.MAX_THREADS):
    """Keep so many threads busy."""
    handles = [lookups.start(resolver, ("busy", n), done) for n in range(count)]
    resolver.wait_entered(count)
    return handles


def run(code):
    return python("import os, threading, time\nfrom safeconnect._net import lookups\n" + code)


def test_the_outcome_comes_from_a_daemon_thread():
    seen = Inbox()

    def resolver(*arguments):
        return [arguments, threading.current_thread()]

    lookups.start(resolver, ("host", 80), lambda *outcome: seen.put((*outcome, threading.current_thread())))
    (arguments, thread), error, caller = seen.outcome()
    assert arguments == ("host", 80)
    assert error is None
    assert caller is thread is not threading.current_thread()
    assert thread.daemon


def test_start_does_not_wait(resolver):
    inbox = Inbox()
    lookups.start(resolver, ("host",), inbox)
    resolver.wait_entered()
    assert inbox.empty()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)


def test_50_callers_share_one_call_and_each_owns_its_answer(resolver):
    inboxes = [Inbox() for _ in range(50)]
    for inbox in inboxes:
        lookups.start(resolver, ("host", 80), inbox)
    resolver.wait_entered()
    resolver.open.set()
    answers = [inbox.outcome()[0] for inbox in inboxes]
    assert resolver.calls == [("host", 80)]
    assert answers == [FOUND] * 50
    assert len({id(answer) for answer in [FOUND, *answers]}) == 51
    assert all(inbox.empty() for inbox in inboxes)


@pytest.mark.parametrize("answer", [[], (), iter(())], ids=["list", "tuple", "iterator"])
def test_an_empty_answer_is_an_answer_and_not_shared_either(resolver, answer):
    resolver.answer = answer
    one, other = Inbox(), Inbox()
    lookups.start(resolver, ("host",), one)
    lookups.start(resolver, ("host",), other)
    resolver.open.set()
    first, second = one.outcome(), other.outcome()
    assert first == second == ([], None)
    assert first[0] is not second[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 80), ("b", 80)),
        (("a", 80), (b"a", 80)),
        (("a", 1), ("a", True)),
        ((bytearray(b"a"),), (bytearray(b"a"),)),
    ],
    ids=["names", "str and bytes", "int and bool", "unhashable"],
)
def test_other_questions_are_other_lookups(resolver, one, other):
    inbox = Inbox()
    lookups.start(resolver, one, inbox)
    lookups.start(resolver, other, inbox)
    resolver.wait_entered(2)
    resolver.open.set()
    assert [inbox.outcome(), inbox.outcome()] == [(FOUND, None)] * 2


def test_other_resolvers_are_other_lookups_and_one_method_is_one_resolver(resolver):
    inbox = Inbox()
    lookups.start(resolver, ("host",), inbox)
    lookups.start(Resolver([1], hangs=False), ("host",), inbox)
    assert inbox.outcome() == ([1], None)
    lookups.start(resolver.__call__, ("other",), inbox)
    lookups.start(resolver.__call__, ("other",), inbox)
    resolver.wait_entered(2)
    resolver.open.set()
    assert [inbox.outcome() for _ in range(3)] == [(FOUND, None)] * 3
    assert sorted(resolver.calls) == [("host",), ("other",)]


def test_nothing_is_remembered():
    inbox = Inbox()
    resolver = Resolver(hangs=False)
    for _ in range(3):
        lookups.start(resolver, ("host",), inbox)
        inbox.outcome()
    assert len(resolver.calls) == 3


class Unfriendly(Exception):  # noqa: N818 - a name like any other
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        TimeoutError("late"),
        UnicodeEncodeError("idna", "ä", 0, 1, "label too long"),
        ExceptionGroup("both families", [OSError(1, "a")]),
        KeyboardInterrupt(),
        SystemExit(3),
        Unfriendly(1, 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_all_kinds_are_delivered(resolver, error):
    resolver.answer = error
    inboxes = [Inbox() for _ in range(3)]
    for inbox in inboxes:
        lookups.start(resolver, ("host",), inbox)
    resolver.wait_entered()
    resolver.open.set()
    errors = []
    for inbox in inboxes:
        found, got = inbox.outcome()
        assert found is None
        assert (type(got), got.args, str(got)) == (type(error), error.args, str(error))
        errors.append(got)
    # What cannot be copied is handed on as it is.
    assert len({id(got) for got in errors}) == (1 if isinstance(error, Unfriendly) else 3)


def test_what_one_caller_does_to_its_error_is_its_own(resolver):
    cause = KeyError("cause")
    resolver.answer = error = socket.gaierror(socket.EAI_FAIL, "broken")
    error.__cause__ = cause
    error.__context__ = ValueError("context")
    error.add_note("from the resolver")
    inboxes = [Inbox(), Inbox()]
    for inbox in inboxes:
        lookups.start(resolver, ("host",), inbox)
    resolver.wait_entered()
    resolver.open.set()
    one, other = (inbox.outcome()[1] for inbox in inboxes)
    before = traceback_names(other)
    with contextlib.suppress(socket.gaierror):
        raise one
    one.add_note("mine")
    assert other.__notes__ == ["from the resolver"]
    assert (other.errno, other.__cause__) == (socket.EAI_FAIL, cause)
    assert other.__suppress_context__
    assert isinstance(other.__context__, ValueError)
    assert traceback_names(other) == before == ["__call__"]  # where the resolver raised, and nothing of the pool
    assert len(traceback_names(one)) == 2


def traceback_names(error):
    names, traceback = [], error.__traceback__
    while traceback:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


def test_an_answer_that_is_none_is_an_error():
    inbox = Inbox()
    lookups.start(Resolver(None, hangs=False), ("host",), inbox)
    found, error = inbox.outcome()
    assert found is None
    assert type(error) is TypeError


def test_an_iterator_is_run_in_the_thread(resolver):
    def lazily():
        yield from resolver()

    inbox = Inbox()
    lookups.start(lazily, (), inbox)
    resolver.wait_entered()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)


def test_a_done_that_raises_is_reported_and_keeps_no_other_from_its_outcome(resolver, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))

    def closed(found, error):
        raise SystemExit("loop is closed")

    inbox = Inbox()
    for done in [closed, inbox, closed, inbox]:
        lookups.start(resolver, ("host",), done)
    resolver.open.set()
    assert [inbox.outcome(), inbox.outcome()] == [(FOUND, None)] * 2
    join(lookups._pool)
    assert [str(error) for error in reported] == ["loop is closed"] * 2


def test_a_done_may_start_and_cancel():
    inbox = Inbox()
    handles = queue.SimpleQueue()

    def done(found, error):
        handles.get(timeout=WAIT).cancel()
        lookups.start(Resolver(found, hangs=False), ("next",), inbox)

    handles.put(lookups.start(Resolver(hangs=False), ("host",), done))
    assert inbox.outcome() == (FOUND, None)


# -- cancel


def test_who_cancels_is_not_called_and_the_others_are(resolver):
    cancelled, inbox = Inbox(), Inbox()
    handle = lookups.start(resolver, ("host",), cancelled)
    lookups.start(resolver, ("host",), inbox)
    resolver.wait_entered()
    handle.cancel()
    handle.cancel()
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)
    join(lookups._pool)
    assert cancelled.empty()


def test_a_lookup_that_all_left_may_be_joined_while_it_runs(resolver):
    inbox = Inbox()
    handle = lookups.start(resolver, ("host",), inbox)
    resolver.wait_entered()
    handle.cancel()
    lookups.start(resolver, ("host",), inbox)
    resolver.open.set()
    assert inbox.outcome() == (FOUND, None)
    assert len(resolver.calls) == 1


def test_cancel_after_the_outcome_does_nothing():
    inbox = Inbox()
    handle = lookups.start(Resolver(hangs=False), ("host",), inbox)
    assert inbox.outcome() == (FOUND, None)
    handle.cancel()
    join(lookups._pool)
    assert inbox.empty()


def test_cancel_waits_for_a_done_that_is_running():
    entered, go_on = threading.Event(), threading.Event()
    order = queue.SimpleQueue()

    def done(found, error):
        entered.set()
        assert go_on.wait(WAIT)
        order.put("done")

    def cancel():
        handle.cancel()
        order.put("cancelled")

    handle = lookups.start(Resolver(hangs=False), ("host",), done)
    assert entered.wait(WAIT)
    canceller = threading.Thread(target=cancel)
    canceller.start()
    # A done that takes its time holds up its own canceller only.
    inbox = Inbox()
    lookups.start(Resolver(hangs=False), ("other",), inbox)
    assert inbox.outcome() == (FOUND, None)
    assert order.empty()
    go_on.set()
    canceller.join()
    assert [order.get(timeout=WAIT), order.get(timeout=WAIT)] == ["done", "cancelled"]


def test_no_done_after_cancel_in_a_race():
    late = []
    for _ in range(300):
        gone = threading.Event()
        resolver = Resolver()

        def done(found, error, gone=gone):
            if gone.is_set():
                late.append(found)

        handle = lookups.start(resolver, ("host",), done)
        resolver.open.set()
        handle.cancel()
        gone.set()
    join(lookups._pool)
    assert late == []


# -- bounds


def test_at_most_32_threads_and_the_others_queue(resolver, pool):
    inbox = Inbox()
    fill(resolver, inbox)
    for n in range(100):
        lookups.start(resolver, ("queued", n), inbox)
    assert len(pool.threads) == lookups.MAX_THREADS == 32
    assert len(resolver.calls) == 32
    resolver.open.set()
    assert [inbox.outcome() for _ in range(132)] == [(FOUND, None)] * 132
    # In order; the threads that got them may note their calls in another.
    assert sorted(resolver.calls[32:]) == [("queued", n) for n in range(100)]


def test_beyond_the_queue_an_error_says_so_at_once(resolver, pool):
    inbox = Inbox()
    fill(resolver, inbox)
    queued = [lookups.start(resolver, ("queued", n), inbox) for n in range(1024)]
    with pytest.raises(
        socket.gaierror, match=r"1056 lookups have not been answered; the resolver of this host hangs"
    ) as e:
        lookups.start(resolver, ("one too many",), inbox)
    assert e.value.errno == socket.EAI_AGAIN
    joined = lookups.start(resolver, ("queued", 5), inbox)  # asks nothing new
    queued[0].cancel()
    queued[0] = lookups.start(resolver, ("room again",), inbox)
    for handle in [joined, *queued]:
        handle.cancel()
    assert not pool.queue
    assert len(pool.flights) == 32


def test_a_queued_lookup_that_all_left_is_never_begun(resolver):
    inbox = Inbox()
    fill(resolver, inbox)
    unwanted = Resolver(hangs=False)
    wanted = Resolver(["wanted"], hangs=False)
    both = [lookups.start(unwanted, ("host",), inbox) for _ in range(2)]
    one_stays = [lookups.start(wanted, ("host",), inbox) for _ in range(2)]
    for handle in [*both, one_stays[0]]:
        handle.cancel()
    resolver.open.set()
    outcomes = [inbox.outcome() for _ in range(33)]
    assert outcomes.count((["wanted"], None)) == 1
    join(lookups._pool)
    assert inbox.empty()
    assert unwanted.calls == []


# -- threads


def test_idle_threads_are_used_again(pool, monkeypatch):
    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    inbox = Inbox()
    for n in range(20):
        lookups.start(lambda n: [n, threading.get_ident()], (n,), inbox)
        inbox.outcome()
        wait_idle(pool, 1)
    assert len(pool.threads) == 1
    send_home(pool, monkeypatch)


def wait_idle(pool, count):
    """Until so many threads are waiting for work."""
    while True:
        with pool.changed:
            if pool.idle == count:
                return
        time.sleep(0)


def send_home(pool, monkeypatch):
    """End threads that would stay idle for long: each gets one more lookup, and then a short patience."""
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 0.0)
    together = threading.Barrier(len(pool.threads))
    for n in range(len(pool.threads)):
        lookups.start(lambda n: [together.wait(WAIT)], (n,), lambda found, error: None)
    join(pool)


def test_a_burst_wakes_as_many_threads_as_it_needs(pool, monkeypatch):
    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    inbox = Inbox()
    for _ in range(3):
        together = threading.Barrier(8)
        for n in range(8):
            lookups.start(lambda n, together: [together.wait(WAIT)], (n, together), inbox)
        assert sorted(inbox.outcome()[0] for _ in range(8)) == [[n] for n in range(8)]
        wait_idle(pool, len(pool.threads))
    assert len(pool.threads) == 8
    send_home(pool, monkeypatch)


def test_idle_threads_end_and_new_ones_come(pool):
    inbox = Inbox()
    for _ in range(3):
        lookups.start(Resolver(hangs=False), ("host",), inbox)
        assert inbox.outcome() == (FOUND, None)
        threads = set(pool.threads)
        join(pool)
        assert not any(thread.is_alive() for thread in threads)


def test_what_is_over_keeps_nothing_alive(pool, monkeypatch):
    class Answer(list):
        pass

    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    gc.disable()  # and nothing waits for the collector
    try:
        resolver, inbox = Resolver(Answer(FOUND), hangs=False), Inbox()
        gone = [weakref.ref(resolver.answer), weakref.ref(inbox), weakref.ref(resolver)]
        handle = lookups.start(resolver, ("host",), inbox)
        inbox.outcome()
        wait_idle(pool, 1)
        del resolver.answer, inbox
        assert [ref() for ref in gone] == [None, None, resolver]  # the handle has let go of its ``done``
        del resolver, handle
        assert [ref() for ref in gone] == [None, None, None]
    finally:
        gc.enable()
    send_home(pool, monkeypatch)


def test_threads_are_taken_from_threading_at_each_start(monkeypatch):
    """As gevent replaces them."""
    made = []

    class Thread(threading.Thread):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(threading, "Thread", Thread)
    inbox = Inbox()
    lookups.start(Resolver(hangs=False), ("host",), inbox)
    inbox.outcome()
    assert len(made) == 1


def no_threads(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_without_any_thread_the_caller_looks_up_itself(monkeypatch):
    no_threads(monkeypatch)
    inbox = Inbox()
    lookups.start(lambda: [threading.current_thread()], (), inbox).cancel()
    assert inbox.get_nowait() == ([threading.current_thread()], None)


def test_without_another_thread_the_lookup_waits_for_one(resolver, monkeypatch, pool):
    inbox = Inbox()
    fill(resolver, inbox, 1)
    with monkeypatch.context() as patched:
        no_threads(patched)
        lookups.start(resolver, ("queued",), inbox)
    assert inbox.empty()
    assert len(pool.queue) == 1
    resolver.open.set()
    assert [inbox.outcome(), inbox.outcome()] == [(FOUND, None)] * 2


def third_unknown(name):
    if name % 3 == 0:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return [name]


def test_2000_lookups_from_20_threads_are_each_done_once(pool):
    counts = [0] * 2000  # each touched by one lookup only
    outcomes = set()
    together = threading.Barrier(20)
    finished = threading.Semaphore(0)

    def ask(first):
        together.wait(WAIT)
        chance = random.Random(first)
        for number in range(first, first + 100):
            name = chance.randrange(40)

            def done(found, error, number=number, name=name):
                counts[number] += 1
                outcomes.add((name, found and found[0], error and error.args))
                finished.release()

            lookups.start(third_unknown, (name,), done)

    threads = [threading.Thread(target=ask, args=[100 * n]) for n in range(20)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        assert finished.acquire(timeout=WAIT)
    for thread in threads:
        thread.join()
    join(pool)
    assert outcomes <= {(n, n, None) if n % 3 else (n, None, (socket.EAI_NONAME, "unknown")) for n in range(40)}
    assert counts == [1] * 2000


# -- processes


@linux_only
def test_a_forked_child_starts_afresh():
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later: a fork beside threads
hang = threading.Event()
entered = threading.Semaphore(0)
def hanging(n):
    entered.release()
    hang.wait()
    return []
handles = [lookups.start(hanging, (n,), print) for n in range(40)]
for _ in range(32):
    entered.acquire()
with lookups._pool.changed, handles[0]._lock:  # as another thread may hold them
    child = os.fork()
    if not child:
        def in_child():
            for handle in handles:
                handle.cancel()
            answered = threading.Event()
            lookups.start(lambda: [1], (), lambda found, error: answered.set())
            os._exit(0 if answered.wait(20) and len(lookups._pool.threads) == 1 else 1)
        threading.Thread(target=in_child).start()
        time.sleep(30)
        os._exit(2)
print(os.waitpid(child, 0)[1])
for handle in handles:
    handle.cancel()
"""
    assert run(code) == "0\n"


def test_the_end_of_the_interpreter_waits_for_no_lookup():
    code = """
entered = threading.Semaphore(0)
def hanging(n):
    entered.release()
    time.sleep(60)
for n in range(10):
    lookups.start(hanging, (n,), print)
for _ in range(10):
    entered.acquire()
print(time.time())
"""
    last = float(run(code))
    assert time.time() - last < 1 + 2  # a busy machine


LOOK_UP = """
import atexit, builtins, sys
def look_up(name):
    answered = threading.Event()
    lookups.start(lambda: [name], (), lambda found, error: (print(found, error), answered.set()))
    return answered.wait(20)
"""


@pytest.mark.parametrize("before", ["", "look_up('before')\n"], ids=["without a thread", "with an idle one"])
def test_lookups_at_exit(before):
    # Python 3.12 and later start no thread by then.
    out = run(f"{LOOK_UP}{before}atexit.register(look_up, 'at exit')")
    assert out.splitlines()[-1] == "['at exit'] None"


def test_lookups_and_cancels_after_the_threads_were_stopped():
    code = """
class Last:
    def __init__(self):
        self.handle = lookups.start(lambda: [time.sleep(60)], (), print)
    def __del__(self):
        print(sys.is_finalizing())
        self.handle.cancel()
        look_up("last")
builtins.last = Last()  # goes when modules go; the globals stay, as the threads' frames hold them
locks = lookups._pool.changed, last.handle._lock
locked = threading.Event()
def hold():
    with locks[0], locks[1]:
        locked.set()
        time.sleep(60)
threading.Thread(target=hold, daemon=True).start()
locked.wait()
"""
    assert run(LOOK_UP + code) == "True\n['last'] None\n"


def test_str_and_bytes_names_under_bb():
    code = """
import threading
from safeconnect._net import lookups
go_on = threading.Event()
answered = threading.Semaphore(0)
def resolver(name):
    go_on.wait()
    return []
for name in ("a", b"a"):
    lookups.start(resolver, (name,), lambda found, error: answered.release())
go_on.set()
print([answered.acquire(timeout=20) for _ in range(2)])
"""
    done = subprocess.run(
        [sys.executable, "-bb", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[True, True]\n", "")

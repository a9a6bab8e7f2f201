"""The pool of lookups: its bounds, its threads, forks, and the end of the interpreter."""

import _thread
import gc
import random
import re
import socket
import subprocess
import sys
import threading
import weakref

import pytest

from safeconnect._sockets import lookups

from ..namespace import ROOT
from ..support import in_threads, linux_only, wait_until
from .kit import FOUND, WAIT, Inbox, Resolver, fill, idle, join, run, start

# -- bounds


def test_at_most_32_threads_and_the_others_queue(resolver, pool):
    inbox = Inbox()
    fill(resolver, inbox)
    for n in range(100):
        start(resolver, ("queued", n), inbox)
    assert len(pool.living()) == lookups.MAX_THREADS == 32
    assert len(resolver.calls) == 32
    resolver.open.set()
    assert [inbox.outcome() for _ in range(132)] == [(FOUND, None)] * 132
    # In order; the threads that got them may note their calls in another.
    assert sorted(resolver.calls[32:]) == [("queued", n) for n in range(100)]


def test_beyond_the_queue_an_error_says_so_at_once(resolver, pool):
    inbox = Inbox()
    fill(resolver, inbox)
    queued = [start(resolver, ("queued", n), inbox) for n in range(1024)]
    with pytest.raises(
        socket.gaierror,
        match=r"1056 lookups have not been answered: all 32 threads for lookups hang, on ('busy\d+', ){2}'busy\d+' "
        "and 29 more; the resolver of this host does not answer",
    ) as e:
        start(resolver, ("one too many",), inbox)
    assert e.value.errno == socket.EAI_AGAIN
    joined = start(resolver, ("queued", 5), inbox)  # asks nothing new
    queued[0].cancel()
    queued[0] = start(resolver, ("room again",), inbox)
    for handle in [joined, *queued]:
        handle.cancel()
    assert not pool.queue
    assert len(pool.queries) == 32


def test_a_queued_lookup_that_all_left_is_never_begun(resolver):
    inbox = Inbox()
    fill(resolver, inbox)
    unwanted = Resolver(hangs=False)
    wanted = Resolver(["wanted"], hangs=False)
    both = [start(unwanted, ("host",), inbox) for _ in range(2)]
    one_stays = [start(wanted, ("host",), inbox) for _ in range(2)]
    for handle in [*both, one_stays[0]]:
        handle.cancel()
    resolver.open.set()
    outcomes = [inbox.outcome() for _ in range(33)]
    assert outcomes.count((["wanted"], None)) == 1
    join(lookups._process.pool)
    assert inbox.empty()
    assert unwanted.calls == []


def test_lookups_that_hang_with_nobody_waiting_leave_room_for_others(resolver, pool):
    inbox = Inbox()
    for handle in fill(resolver, inbox):
        handle.cancel()
    for handle in fill(resolver, inbox):
        handle.cancel()
    start(lambda: ["prompt"], (), inbox)
    assert inbox.outcome() == (["prompt"], None)
    resolver.open.set()


def test_who_leaves_makes_room_for_who_is_in_the_queue(resolver):
    inbox = Inbox()
    handles = fill(resolver, Inbox())
    start(lambda: ["queued"], (), inbox)
    assert inbox.empty()
    handles[5].cancel()
    assert inbox.outcome() == (["queued"], None)
    resolver.open.set()


def test_at_most_128_threads_hang_in_all(resolver, pool):
    inbox = Inbox()
    for _ in range(4):
        for handle in fill(resolver, Inbox()):
            handle.cancel()
    queued = [start(resolver, (f"queued{n}",), inbox) for n in range(10)]
    assert len(pool.living()) == lookups.MAX_THREADS_IN_ALL == 128
    error = TimeoutError("timed out")
    queued[0].explain(error)
    [note] = error.__notes__
    assert re.fullmatch(
        r"the lookup has not begun: all 128 threads for lookups hang, on ('busy\d+', ){2}'busy\d+' and 125 more; .*",
        note,
    )
    resolver.open.set()
    assert [inbox.outcome() for _ in queued] == [(FOUND, None)] * 10


def test_a_lookup_that_has_begun_has_nothing_to_explain(resolver):
    handles = fill(resolver, Inbox())
    error = TimeoutError("timed out")
    handles[0].explain(error)
    assert not hasattr(error, "__notes__")
    resolver.open.set()


# -- threads


def test_idle_threads_are_used_again(pool, monkeypatch):
    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    inbox = Inbox()
    for n in range(20):
        start(lambda n: [n, threading.get_ident()], (n,), inbox)
        inbox.outcome()
        wait_idle(pool, 1)
    assert len(pool.living()) == 1
    send_home(pool, monkeypatch)


def wait_idle(pool, count):
    """Until so many threads are waiting for work."""
    wait_until(lambda: idle(pool) == count)


def send_home(pool, monkeypatch):
    """End threads that would stay idle for long: each gets one more lookup, and then a short patience."""
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 0.0)
    count = len(pool.living())
    together = threading.Barrier(count)
    for n in range(count):
        start(lambda n: [together.wait(WAIT)], (n,), lambda found, error: None)
    join(pool)


def test_a_burst_wakes_as_many_threads_as_it_needs(pool, monkeypatch):
    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    inbox = Inbox()
    for _ in range(3):
        together = threading.Barrier(8)
        for n in range(8):
            start(lambda n, together: [together.wait(WAIT)], (n, together), inbox)
        assert sorted(inbox.outcome()[0] for _ in range(8)) == [[n] for n in range(8)]
        wait_idle(pool, len(pool.living()))
    assert len(pool.living()) == 8
    send_home(pool, monkeypatch)


def test_a_lookup_does_not_wait_for_a_thread_that_another_has_woken(pool, monkeypatch):
    """Until a woken thread has the pool's lock it seems to be asleep: the next lookup wakes it once more."""
    monkeypatch.setattr(lookups, "IDLE_SECONDS", WAIT)
    inbox = Inbox()

    def start_two(between):
        together = threading.Barrier(2)
        for n in range(2):
            start(lambda n, together: [together.wait(10) < 2], (n, together), inbox)
            if n == 0:
                between()

    def all_asleep():
        wait_until(lambda: all(worker._gate.locked() for worker in pool.living()))

    start_two(lambda: None)
    assert [inbox.outcome() for _ in range(2)] == [([True], None)] * 2
    wait_idle(pool, 2)
    all_asleep()
    with pool.guard.lock:
        start_two(all_asleep)  # so it seems: one has been woken, and waits for the lock
    assert [inbox.outcome() for _ in range(2)] == [([True], None)] * 2
    wait_idle(pool, 2)
    send_home(pool, monkeypatch)


def test_idle_threads_end_and_new_ones_come(pool):
    inbox = Inbox()
    for _ in range(3):
        start(Resolver(hangs=False), ("host",), inbox)
        assert inbox.outcome() == (FOUND, None)
        join(pool)


def test_threads_end_however_wakes_and_the_end_of_their_patience_meet(pool, monkeypatch):
    """Until Python 3.13 a thread could wait on a shared queue without a limit, if another took what woke it."""
    monkeypatch.setattr(lookups, "IDLE_SECONDS", 0.0005)
    inbox = Inbox()
    for number in range(3000):
        start(Resolver(hangs=False), (number,), inbox)
        if number % 8 == 7:
            assert [inbox.outcome() for _ in range(8)] == [(FOUND, None)] * 8
    join(pool)


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
    start(Resolver(hangs=False), ("host",), inbox)
    inbox.outcome()
    assert len(made) == 1


def no_threads(monkeypatch):
    def start_new_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", start_new_thread)


def test_without_any_thread_the_caller_looks_up_itself(monkeypatch):
    no_threads(monkeypatch)
    inbox = Inbox()
    start(lambda: [threading.current_thread()], (), inbox).cancel()
    assert inbox.get_nowait() == ([threading.current_thread()], None)


@pytest.mark.parametrize("left", [False, True], ids=["whose caller waits", "whose caller has left"])
def test_without_another_thread_nobody_waits_for_one_that_is_taken(resolver, monkeypatch, pool, left):
    inbox = Inbox()
    [hanging] = fill(resolver, Inbox(), 1)
    if left:
        hanging.cancel()
    with monkeypatch.context() as patched:
        no_threads(patched)
        start(lambda: [threading.current_thread()], (), inbox)
    assert inbox.get_nowait() == ([threading.current_thread()], None)
    assert not pool.queue
    resolver.open.set()


def test_where_the_last_thread_starts_no_other_it_looks_up_itself(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    inbox = Inbox()
    start(lambda: [threading.get_ident()], (), inbox)
    found, error = inbox.outcome()
    assert error is None
    assert found != [threading.get_ident()]


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

            start(third_unknown, (name,), done)

    in_threads(ask, range(0, 2000, 100))
    for _ in range(2000):
        assert finished.acquire(timeout=WAIT)
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
with lookups._process.pool.guard.lock, handles[0]._lock:  # as another thread may hold them
    child = os.fork()
    if not child:
        def in_child():
            for handle in handles:
                handle.cancel()
            answered = threading.Event()
            kept = lookups.start(lambda: [1], (), lambda found, error: answered.set())
            os._exit(0 if answered.wait(20) and len(lookups._process.pool.living()) == 1 else 1)
        threading.Thread(target=in_child).start()
        time.sleep(30)
        os._exit(2)
print(os.waitpid(child, 0)[1])
for handle in handles:
    handle.cancel()
"""
    assert run(code) == "0\n"


LOOK_UP = """
import atexit, builtins, sys
def look_up(name):
    answered = threading.Event()
    kept = lookups.start(lambda: [name], (), lambda found, error: (print(found, error), answered.set()))
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
locks = lookups._process.pool.guard.lock, last.handle._lock
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
from safeconnect._sockets import lookups
go_on = threading.Event()
answered = threading.Semaphore(0)
def resolver(name):
    go_on.wait()
    return []
kept = [lookups.start(resolver, (name,), lambda found, error: answered.release()) for name in ("a", b"a")]
go_on.set()
print([answered.acquire(timeout=20) for _ in range(2)])
"""
    done = subprocess.run(
        [sys.executable, "-bb", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[True, True]\n", "")

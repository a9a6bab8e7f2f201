"""Forks beside threads: no lock, no import and no thread of the parent holds a child up.

SAFECONNECT_ROUNDS sets how many forks there are, 500 say.
"""

import gc
import os
import threading
import weakref

import pytest

from safeconnect import _fork

from ..support import linux_only, python

FORKS = int(os.environ.get("SAFECONNECT_ROUNDS", "20"))
QUIET = """
import os, signal, socket, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later: a fork beside threads
"""


@pytest.mark.slow
@linux_only
def test_children_of_32_threads_that_connect():
    code = f"""
from safeconnect import Backoff, ConnectMemory, Connector, Retry, RetryBudget, install, uninstall
from tests import support

server = socket.create_server(("127.0.0.1", 0), backlog=1024)
address = server.getsockname()
with socket.create_server(("127.0.0.1", 0)) as gone:
    closed = gone.getsockname()
shared = dict(timeout=15, memory=ConnectMemory(size=4),
              retry=Retry(attempts=2, backoff=Backoff(0.001), budget=RetryBudget(tokens=100)))
by_name = Connector(resolver=support.resolver(address), **shared)
by_literal = Connector(**shared)

def accept():
    while True:
        server.accept()[0].close()

def connect(number):
    by_name.connect((f"name{{number}}", 1)).close()
    by_literal.connect(address).close()
    try:
        by_literal.connect(closed)
    except OSError:
        pass
    install()
    uninstall()

def forever(number):
    while True:
        try:
            connect(number % 8)
        except OSError:
            pass

threading.Thread(target=accept, daemon=True).start()
for number in range(32):
    threading.Thread(target=forever, args=[number], daemon=True).start()
ended = []
for number in range({FORKS}):
    child = os.fork()
    if not child:
        signal.alarm(20)
        connect(number % 8)
        os._exit(0)
    ended.append(os.waitpid(child, 0)[1])
print([status for status in ended if status])
sys.stdout.flush()
os._exit(0)
"""
    assert python(QUIET + code, timeout=60 + FORKS) == "[]\n"


@linux_only
@pytest.mark.parametrize(
    "module",
    [
        "safeconnect._connect.blocking_race",
        "safeconnect._sockets.lookups",
        "encodings.idna",
        "safeconnect._connect.blocking",
    ],
)
def test_a_fork_waits_for_the_imports_that_a_connect_makes(module):
    code = f"""
import safeconnect
from tests import support

class Slow:
    def find_spec(self, name, *_):
        if name == {module!r}:
            importing.set()
            forking.wait()
            time.sleep(0.3)  # the fork is to come while this goes on

importing, forking = threading.Event(), threading.Event()
sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Slow())
server = socket.create_server(("127.0.0.1", 0))
resolver = support.resolver(server.getsockname())

def connect():
    safeconnect.create_connection(("localhost", server.getsockname()[1]), 15, resolver=resolver, trace=str).close()

thread = threading.Thread(target=connect)
thread.start()
assert importing.wait(20)
forking.set()
child = os.fork()
if not child:
    signal.alarm(20)
    connect()
    os._exit(0)
print(os.waitpid(child, 0)[1])
thread.join()
server.close()
"""
    assert python(QUIET + code.replace("from tests import support\n", SUPPORT)) == "0\n"


# What tests.support would load, it would load too early.
SUPPORT = """
class support:
    def resolver(address):
        return lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
"""


@linux_only
def test_every_guard_has_a_new_lock_in_the_child_and_the_old_one_is_let_be():
    code = """
from safeconnect import _fork
class Owner:
    fails = False
    def forked(self):
        if self.fails:
            raise ValueError("in no good state")
        self.is_told = True
guards = [_fork.Guard() for _ in range(5)]
owner, bad = Owner(), Owner()
bad.fails = True
_fork.register(bad)
_fork.register(owner)
sys.unraisablehook = lambda unraisable: None
def hold():
    with guards[1].lock:
        held.set()
        time.sleep(60)
held = threading.Event()
threading.Thread(target=hold, daemon=True).start()
held.wait()
with guards[0].lock, _fork.imports.lock:
    child = os.fork()
if not child:
    signal.alarm(20)
    for guard in (*guards, _fork.imports):
        with guard.lock:
            pass
    os._exit(0 if owner.is_told else 1)
print(os.waitpid(child, 0)[1])
with _fork.imports.lock:
    pass
"""
    assert python(QUIET + code) == "0\n"


def test_an_owner_is_held_weakly_and_leaves_nothing_behind():
    gc.disable()
    try:
        before = len(_fork._owners)
        guard = _fork.Guard()
        gone = weakref.ref(guard)
        assert len(_fork._owners) == before + 1
        del guard
        assert gone() is None
        assert len(_fork._owners) == before
    finally:
        gc.enable()


def test_a_guard_may_be_taken_again_by_its_own_thread_and_by_no_other():
    guard = _fork.Guard()
    taken = []

    def other():
        taken.append(guard.lock.acquire(blocking=False))

    with guard.lock, guard.lock:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert taken == [False]

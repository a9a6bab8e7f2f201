"""What the tests of lookups share: resolvers that wait to be told, and how a pool is left."""

import queue
import socket
import threading

from safeconnect._sockets import lookups

from ..support import python, wait_until

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


KEPT = []  # who lets go of a lookup has left it


def start(resolver, arguments, done):
    """As `lookups.start`; the lookup is kept until the test is over."""
    KEPT.append(lookups.start(resolver, arguments, done))
    return KEPT[-1]


def join(pool):
    """Wait until the pool's threads have ended."""
    wait_until(lambda: not pool.living())
    for thread in threading.enumerate():
        if thread.name == "safeconnect lookup":
            thread.join(WAIT)
            assert not thread.is_alive()


def idle(pool):
    """How many threads of the pool have nothing to do."""
    with pool.guard.lock:
        return sum(worker.query is None for worker in pool.living())


def fill(resolver, done, count=lookups.MAX_THREADS):
    """Keep so many threads busy."""
    handles = [start(resolver, (f"busy{n}", n), done) for n in range(count)]
    resolver.wait_entered(count)
    return handles


def run(code):
    return python("import os, threading, time\nfrom safeconnect._sockets import lookups\n" + code)

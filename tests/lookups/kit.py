"""What the tests of lookups share: resolvers that wait to be told, and how a pool is left."""

import queue
import socket
import threading

from safeconnect._net import lookups

from ..test_process import python

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


def join(pool):
    while pool.threads:
        for thread in list(pool.threads):
            thread.join(WAIT)
            assert not thread.is_alive()


def fill(resolver, done, count=lookups.MAX_THREADS):
    """Keep so many threads busy."""
    handles = [lookups.start(resolver, ("busy", n), done) for n in range(count)]
    resolver.wait_entered(count)
    return handles


def run(code):
    return python("import os, threading, time\nfrom safeconnect._net import lookups\n" + code)

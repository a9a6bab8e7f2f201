"""An exception from a signal handler leaves no lock of the library taken."""

import _thread
import signal

import pytest

from safeconnect import _fork
from safeconnect._uninterrupted import Lock

INTERRUPTS = 2_000
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timer signals")
needs_count = pytest.mark.skipif(
    not hasattr(_thread.RLock(), "_recursion_count"), reason="this Python's locks do not tell their count"
)


class InterruptError(Exception):
    pass


@pytest.fixture
def interrupted():
    """Call a function until a signal interrupts it, and look what that has left, over and over."""

    def interrupt(*_):
        raise InterruptError

    def often(function, check):
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            for _ in range(INTERRUPTS):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0002)
                    function()
                except InterruptError:
                    pass
                check()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return often


def raw(lock):
    """CPython's own lock, which tells whether it is taken."""
    return lock.release.__self__


@needs_signals
@pytest.mark.parametrize(
    "lock", [_fork.new_lock(), _fork.Guard().lock, _fork.imports.lock], ids=["new", "guard", "imports"]
)
def test_no_signal_leaves_it_taken(interrupted, lock):
    left = []

    def work():
        while True:
            with lock, lock:
                pass

    def check():
        while raw(lock)._is_owned():
            left.append("taken")
            lock.release()

    interrupted(work, check)
    assert left == []


@needs_count
class TestLock:
    """The one for Python 3.14, which works on others, too."""

    def test_is_reentrant_and_released(self):
        lock = Lock(_thread.RLock())
        with lock as first, lock as second:
            assert (first, second, raw(lock)._recursion_count()) == (True, True, 2)
        assert raw(lock)._recursion_count() == 0

    def test_is_released_by_an_error(self):
        lock = Lock(_thread.RLock())
        with pytest.raises(KeyError), lock:
            raise KeyError
        assert raw(lock)._recursion_count() == 0

    @pytest.mark.parametrize("is_taken", [True, False])
    def test_an_interrupt_while_it_is_taken_is_undone(self, is_taken):
        lock = Lock(_thread.RLock())

        def interrupted():
            if is_taken:
                raw(lock).acquire()
            raise InterruptError

        lock.acquire = interrupted
        with pytest.raises(InterruptError), lock:
            pytest.fail("it was not entered")
        assert raw(lock)._recursion_count() == 0

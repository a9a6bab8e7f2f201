"""An exception from a signal handler leaves no lock of the library taken."""

import _thread
import signal

import pytest

from safeconnect._uninterrupted import Lock

from .. import support

needs_count = pytest.mark.skipif(
    not hasattr(_thread.RLock(), "_recursion_count"), reason="this Python's locks do not tell their count"
)


class InterruptError(Exception):
    pass


def raw(lock):
    """CPython's own lock, which tells whether it is taken."""
    return lock.release.__self__


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timer signals")
@pytest.mark.parametrize("lock", ["_fork.new_lock()", "_fork.Guard().lock", "_fork.imports.lock"])
def test_no_signal_leaves_it_taken(lock):
    # In a process of its own: pytest-timeout uses the same signal.
    code = f"""
        import signal
        from safeconnect import _fork

        class InterruptError(Exception):
            pass

        def interrupt(*_):
            struck.append(True)  # an exception in a destructor is lost
            raise InterruptError

        def work():
            while not struck:
                with lock, lock:
                    pass

        lock, struck, left = {lock}, [], 0
        signal.signal(signal.SIGALRM, interrupt)
        for _ in range(2_000):
            struck.clear()
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                work()
            except InterruptError:
                pass
            while lock.release.__self__._is_owned():
                left += 1
                lock.release()
        print(left)
    """
    assert support.python(code) == "0\n"


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

"""A lock that a signal handler's exception does not leave taken on Python 3.14, where ``with`` has a gap."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Lock:
    """A reentrant lock for ``with``, around one of CPython's own.

    On Python 3.14 ``with lock:`` lets signal handlers run after the lock's ``__enter__``, a C function, and before the
    block (CPython issue 148874). If one raises, the end of the block is never reached, and the lock stays taken: after
    half of all interrupts of a loop over ``with lock: pass``. From an ``__enter__`` in Python there is no such gap on
    the way back, and what happens inside of it can be undone. ``__exit__`` is the lock's own: in a Python function an
    interrupt could come before the release.
    """

    __slots__ = ("__exit__", "_count", "acquire", "release")

    def __init__(self, lock: Any) -> None:
        self.__exit__ = lock.__exit__
        self.acquire = lock.acquire
        self.release = lock.release
        self._count = lock._recursion_count  # noqa: SLF001 - nothing else tells

    def __enter__(self) -> bool:
        count = self._count()
        try:
            return bool(self.acquire())
        except BaseException:
            if self._count() > count:
                self.release()
            raise


def without_gap(lock: Any) -> Any:
    """Return a `Lock` around one of CPython's own; another, such as gevent's, as it is."""
    return Lock(lock) if isinstance(lock, _thread.RLock) else lock

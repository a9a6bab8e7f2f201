"""Safety in forked children. This is the only place where the library makes locks.

In a forked child, a lock may be held by a thread that exists in the parent only, and would never be released. So each
lock belongs to a `Guard`, which has a new lock in every child. The old lock is not released there: the thread that has
forked may hold it itself, and releases it later.

No Python code runs here when a lock is taken or an owner dies: an interrupt or a fork in between would leave the work
half done.
"""

from __future__ import annotations

import _thread
import os
import sys
from _weakref import ref  # without loading weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Protocol, TypeVar

    Function = TypeVar("Function", bound=Callable[[], object])

    class Owner(Protocol):
        """Something that has to change in a forked child. Equal only to itself."""

        def forked(self) -> None: ...


if (3, 14) <= sys.version_info < (3, 15):
    from ._uninterrupted import without_gap as _without_gap  # not later: at the interpreter's end nothing is imported
else:

    def _without_gap(lock: Any) -> Any:
        return lock


_owners: set[ref[Any]] = set()
_functions: list[Callable[[], object]] = []


def register(owner: Owner) -> None:
    """Call ``owner.forked()`` in every forked child, as long as the owner lives; it is held weakly."""
    # A method of C removes a dead reference; weakref.WeakSet does that in Python.
    _owners.add(ref(owner, _owners.discard))


def in_child(function: Function) -> Function:
    """Call the function in every forked child."""
    _functions.append(function)
    return function


def new_lock() -> AbstractContextManager[Any]:
    """The lock of a `Guard`, or one that no forked child ever takes."""
    # Looked up at each call, because gevent and eventlet replace it. It is not imported: threading takes long to load.
    threading = sys.modules.get("threading")
    lock: AbstractContextManager[Any] = _without_gap(getattr(threading, "RLock", _thread.RLock)())
    return lock


class Guard:
    """A lock, to be taken by ``with guard.lock``: a C function takes it and another one releases it.

    It is reentrant: a signal handler or a finalizer may call what its own thread is in the middle of.
    """

    __slots__ = ("__weakref__", "lock")

    lock: AbstractContextManager[Any]

    def __init__(self) -> None:
        self.forked()
        register(self)

    def forked(self) -> None:
        self.lock = new_lock()


class _Imports:
    """The lock around every import that a function makes.

    A fork while another thread imports would leave the lock of that module taken in the child for good, so forks wait
    for this one. It is always a native lock: greenlets are one thread to it, and never wait.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        self.lock = _without_gap(_thread.RLock())


imports = _Imports()


def _before() -> None:
    imports.lock.acquire()  # one of the next two functions releases it, even after an interrupt here


def _in_parent() -> None:
    try:  # noqa: SIM105 - contextlib is not needed before this
        imports.lock.release()
    except RuntimeError:
        pass  # a signal handler's exception has ended the wait for it


def _in_child() -> None:
    failure: BaseException | None = None
    imports.forked()
    # A copy in one step, because the death of an owner changes the set.
    calls = [owner.forked for each in _owners.copy() if (owner := each()) is not None]
    for call in (*calls, *_functions):
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - the others must still be called
            failure = error
    if failure is not None:
        raise failure


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

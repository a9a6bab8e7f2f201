"""Interrupt an operation at every point where an exception could come, one point a run.

A signal handler that raises may strike after any call, at the start of any function and at any jump backward. Two kinds
of points cover that: the *lines* and *returns* of Python code (`sys.settrace`), and the returns of C functions
(`sys.setprofile`), for a lock that was just acquired or a socket that was just made.
"""

import contextlib
import dis
import functools
import gc
import itertools
import random
import signal
import sys
import threading
import warnings
from pathlib import Path

import safeconnect
from safeconnect._uninterrupted import Lock

PACKAGE = str(Path(safeconnect.__file__).parent)
BELOW = tuple(
    sys.modules[name].__file__ for name in ("threading", "contextlib", "queue", "weakref") if name in sys.modules
)


class Interrupt(KeyboardInterrupt):
    """What is raised, as by a signal handler."""


class Point:
    """Raises at the n-th point of the calling thread, once."""

    def __init__(self, number, kind):
        self.left = number
        self.kind = kind
        self.where = None

    def reached(self, frame, event):
        self.left -= 1
        if self.left:
            return False
        self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name} {event}"
        return True

    def trace(self, frame, event, _):
        if not is_ours(frame):
            return None
        if self.where is None and is_point(frame, event, self.kind) and self.reached(frame, event):
            raise Interrupt(self.where)
        return self.trace

    def profile(self, frame, event, called):
        if self.where is not None or event != "c_return" or not is_ours(frame) or _enters_a_with(frame):
            return
        if self.reached(frame, f"{event} {getattr(called, '__name__', called)}"):
            raise Interrupt(self.where)


def is_ours(frame):
    """Whether it is a frame of the library, or of what the library has called of the modules below it."""
    while frame is not None and frame.f_code.co_filename in BELOW:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(PACKAGE)


def is_point(frame, event, kind):
    """Whether an exception could come here.

    Not where a coroutine suspends, for it has returned to its loop then. Nor in the moment before a ``with`` statement
    calls ``__exit__`` after its block has ended well: the interpreter looks for signals where functions begin, after
    calls and at jumps backward, and the block's last call belongs to the block. A tracer's exception would come there,
    and skip the call. Nor as a function returns, strictly; those are left out only for "steps", and for the lock whose
    ``__enter__`` is in Python because of that.
    """
    if event == "return" and kind == "lines" and frame.f_code is not Lock.__enter__.__code__:
        return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("RETURN", "INSTRUMENTED_RETURN"))
    return event == "line" and frame.f_lasti not in _ends_of_with(frame.f_code)


def _enters_a_with(frame):
    """Whether a ``with`` statement has called ``__enter__``, on a Python that looks for no signals then.

    Until 3.13 it is not seen as a call; on 3.14 signal handlers run there (CPython issue 148874).
    """
    return sys.version_info >= (3, 15) and frame.f_lasti in _enters_of_with(frame.f_code)


@functools.cache
def _enters_of_with(code):
    pairs = itertools.pairwise(dis.get_instructions(code))
    return {call.offset for load, call in pairs if load.opname == "LOAD_SPECIAL" and call.opname.startswith("CALL")}


@functools.cache
def _ends_of_with(code):
    steps = list(dis.get_instructions(code))
    ends = set()
    for at in range(len(steps) - 3):
        # Until Python 3.14 by LOAD_CONST, then by LOAD_COMMON_CONSTANT.
        loads_nothing = all(step.opname.startswith("LOAD_CO") and step.argrepr == "None" for step in steps[at : at + 3])
        if loads_nothing and steps[at + 3].opname in ("PRECALL", "CALL"):
            # With a value to be returned on the stack, the statement's line begins some steps before.
            first = at
            while steps[first - 1].opname in ("SWAP", "NOP", "POP_TOP") and first:
                first -= 1
            ends.update(step.offset for step in steps[first : at + 1])
    return frozenset(ends)


def interrupted_at(number, kind, operation, allowed=()):
    """Run the operation, interrupted at its n-th point; return where that was, or None if it has fewer points.

    :param allowed: errors in which the operation may end besides.
    """
    point = Point(number, kind)
    before = sys.gettrace(), sys.getprofile()
    # Not the one of this function: only what is called from here counts.
    try:
        if kind != "calls":
            sys.settrace(point.trace)
        else:
            sys.setprofile(point.profile)
        next(_in_a_generator(operation))
    except (Interrupt, *allowed):
        pass
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    assert sys.exception() is None, f"still handled after {point.where}"
    return point.where


def _in_a_generator(operation):
    """Run it with a record of handled exceptions that is thrown away with the generator.

    A tracer's exception where an ``except`` block is being left (a signal's cannot come there) keeps the block's
    exception in the thread's record, as if it were being handled for ever, with all that its frames hold.
    """
    yield operation()


def at_every_point(operation, check, *, kind, allowed=(), step=1, most=5000):
    """Run the operation again and again, interrupted at its first point, its second, ... until it comes to its end.

    :param step: every how many points; from run to run they are others.

    :param check: called after each of them, with the place of the interrupt.
    :param allowed: errors in which the operation may end besides.
    :returns: how many points there were.
    """
    with warnings.catch_warnings(), _only_new_garbage():
        # A socket that was lost between two bytecodes is closed by its destructor, which warns of it.
        warnings.simplefilter("ignore", ResourceWarning)
        for number in range(random.randint(1, step), most, step):
            where = interrupted_at(number, kind, operation, allowed)
            try:
                check(where)
            except Exception as error:
                error.add_note(f"after an interrupt at {where}")
                raise
            if where is None:
                gc.collect()
                return number - 1
    raise AssertionError(f"it has more than {most} points")


@contextlib.contextmanager
def _only_new_garbage():
    """Have collections leave out what is there already: they take most of the time otherwise."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def struck_after(seconds):
    """A real signal, whose handler raises `Interrupt` in the main thread, after so many seconds of the block."""
    is_armed = True

    def handle(_, frame):
        if is_armed and not is_in_a_tracer(frame):
            raise Interrupt("a signal")

    def strike():
        if not is_over.wait(seconds):
            signal.pthread_kill(main, signal.SIGUSR1)

    main, is_over = threading.get_ident(), threading.Event()
    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        is_armed = False
        is_over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def is_in_a_tracer(frame):
    """Whether it is coverage that is interrupted: it would keep its lock, and all that is traced would hang."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "coverage":
            return True
        frame = frame.f_back
    return False


def lookup_threads():
    return [thread for thread in threading.enumerate() if thread.name == "safeconnect lookup"]

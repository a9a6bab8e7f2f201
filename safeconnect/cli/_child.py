"""Commands of the user's, run as a child: what befalls this process befalls the child, and its end is ours.

Signals are not handled but waited for, one after another: none comes at the wrong moment, or after the child is gone.
"""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

from ._command import tell_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ._command import Messages

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Those that would end this process, and which the child may want to hear of.
_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_OF_TERMINALS = ("SIGINT", "SIGQUIT")


def run_as_child(command: "Sequence[str]", environment: "Mapping[str, str]", messages: "Messages") -> int:
    """Run a command, wait for it, and give its exit status: 128+N where signal N ended it.

    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are passed on to it, unless a terminal has sent them: it sends
    them to the command as well. On Linux the command is killed should this process be.

    :returns: the status; 126 or 127 where the command cannot be run, which a message tells.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        return _run_on_windows(command, environment) if sys.platform == "win32" else _run(command, environment)
    except OSError as error:
        return tell_failure(command[0], error, messages)


def _run(command: "Sequence[str]", environment: "Mapping[str, str]") -> int:
    with _collected() as (signals, before):
        child = subprocess.Popen(  # noqa: S603 - the user's own
            list(command),
            env=environment,
            close_fds=False,  # what this process was given for it goes through, as through a shell
            preexec_fn=partial(_begin, signals, before, os.getpid(), _die_with_parent()),  # noqa: PLW1509 - one thread
        )
        while child.poll() is None:
            number, is_for_all = _next(signals)
            if number != signal.SIGCHLD and not is_for_all:
                child.send_signal(number)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


@contextmanager
def _collected() -> "Iterator[tuple[set[signal.Signals], set[signal.Signals]]]":
    """Keep back the signals that are to be waited for; gives them, and those that were kept back before."""
    # One that this process was told to ignore (nohup, a shell's background job) the child ignores as well.
    wanted = {number for number in map(signal.Signals.__getitem__, _FORWARDED) if not _is_ignored(number)}
    signals = wanted | {signal.SIGCHLD}
    reports = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the child's status would be lost
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals, {signal.Signals(number) for number in before}
    finally:
        # What came with the child's end was meant for it, as Ctrl-C is. It must not end this process now.
        while signal.sigpending() & signals:
            signal.sigwait(signals)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, reports)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN


def _next(signals: "set[signal.Signals]") -> tuple[int, bool]:
    """Wait for a signal; gives its number, and whether the terminal has sent it to all processes that use it."""
    if sys.platform == "darwin":  # which does not tell who sent it
        number = signal.sigwait(signals)
        return number, number in map(signal.Signals.__getitem__, _OF_TERMINALS)
    found = signal.sigwaitinfo(signals)
    return found.si_signo, found.si_code > 0  # sigaction(2): SI_KERNEL; 0 and below are from processes


def _die_with_parent() -> "Callable[[], object]":
    """What a child calls to be killed as soon as its parent ends, however that comes about."""
    if sys.platform != "linux":
        return int  # there is no such thing: nothing is done
    import ctypes  # loaded here, for the child between fork and exec should load nothing

    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)


def _begin(
    signals: "Iterable[signal.Signals]",
    mask: "Iterable[signal.Signals]",
    parent: int,
    die_with_parent: "Callable[[], object]",
) -> None:
    """In the child, before it becomes the command."""
    die_with_parent()
    if os.getppid() not in (parent, 0):  # 0: the parent is of another pid namespace
        os.kill(os.getpid(), signal.SIGKILL)  # it had ended before
    for number in signals:
        signal.signal(number, signal.SIG_DFL)  # Python's handlers would take what comes between here and the command
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run_on_windows(command: "Sequence[str]", environment: "Mapping[str, str]") -> int:
    with subprocess.Popen(list(command), env=environment) as child:  # noqa: S603 - the user's own
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the console has sent Ctrl-C to the child as well, which decides

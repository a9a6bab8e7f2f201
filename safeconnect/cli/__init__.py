"""The command line, ``safeconnect`` and ``python -m safeconnect``: the process, and the command that replaces it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import contextmanager, suppress
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import NoReturn, TextIO

    from ._console import Stream

FAILED = 1
# As timeout(1), env(1) and the shells have them.
TIMED_OUT = 124
NOT_RUN = 126
NOT_FOUND = 127
INTERRUPTED = 130
_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 124 timed out, 130 interrupted.

    :param argv: the arguments; by default those of this process.
    :raises SystemExit: with 2 after wrong usage, with 0 after ``--help`` and the like, with 143 at SIGTERM.
    """
    _open_closed_streams()
    from ._console import OutputError, Stream
    from ._parser import parse

    try:
        with _terminable():
            arguments = parse(sys.argv[1:] if argv is None else argv)
            status = int(import_module(f".{arguments.module}", __package__).run(arguments))
        Stream(sys.stdout).flush()
    except KeyboardInterrupt:
        Stream(sys.stderr, is_optional=True).line("interrupted")
        # CPython takes an interrupt in code that exec() was given as text, which dataclasses do, for an unhandled one,
        # and would end this process by SIGINT in place of the status; the next such code makes it forget that.
        exec("")  # noqa: S102
        return INTERRUPTED
    except (OutputError, BrokenPipeError) as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__cause__, BrokenPipeError):
            messages = Stream(sys.stderr, is_optional=True)
            messages.line(f"safeconnect: the output could not be written: {error}")
        return FAILED
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # messages are optional
            _discard(sys.stderr)
    return status


def _discard(file: TextIO) -> None:
    """Let the stream's descriptor lead nowhere: Python flushes its buffer at exit, and that must not fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, file.fileno())
    os.close(null)


def _open_closed_streams() -> None:
    """Open /dev/null in place of closed standard streams: otherwise a socket gets number 1, and the output."""
    descriptor = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the process in order. By default it does nothing to the first process of a container."""

    def terminate(*_: object) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:  # if it is ignored, it stays so, also for CMD
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def replace_with(
    command: Sequence[str], environment: Mapping[str, str], messages: Stream, *, keep: Iterable[socket.socket] = ()
) -> int:
    """Replace this process by a command, which then has its signals and its exit status.

    :param keep: sockets that stay open in the command.
    :returns: the command's exit status, on Windows, where no process can be replaced; or why it was not run.
    """
    from ._console import Stream

    Stream(sys.stdout).flush()
    with suppress(OSError):  # messages are optional
        sys.stderr.flush()
    try:
        if sys.platform == "win32":
            return _run_as_child(command, environment)
        for sock in keep:
            sock.set_inheritable(True)
        _restore_signals()
        _become(command, environment)
    except OSError as error:
        return _tell_failure(command[0], error, messages)


def _become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - the user's own
    except OSError as error:
        from shutil import which

        path = which(command[0])
        if error.errno != errno.ENOEXEC or path is None:
            raise
        # A script that does not name its interpreter: like execvp(3), run it with the shell.
        os.execve("/bin/sh", ["/bin/sh", path, *command[1:]], environment)  # noqa: S606


def _run_as_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    import subprocess  # for Windows only

    with subprocess.Popen(list(command), env=environment) as child:  # noqa: S603 - the user's own
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the console has sent Ctrl-C to the child as well, which decides


def _tell_failure(name: str, error: OSError, messages: Stream) -> int:
    """Say why a command was not run, and return the shell's status for that."""
    is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    if is_missing and not (os.sep in name and os.path.exists(name)):  # noqa: PTH110 - pathlib is slow to load; a file without its interpreter is found
        messages.line(f"safeconnect: the command {name!r} was not found")
        return NOT_FOUND
    messages.line(f"safeconnect: the command {name!r} cannot be run: {error.strerror}")
    return NOT_RUN


def _restore_signals() -> None:
    """Undo what Python and this program have done to signals.

    The command would inherit those that Python ignores; and a signal that comes for a handler just before the process
    is replaced would be lost.
    """
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)

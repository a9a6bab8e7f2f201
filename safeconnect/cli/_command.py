"""Commands of the user's, run in this process's place."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn, Protocol

    class Messages(Protocol):
        """Where it is said why a command cannot be run."""

        def line(self, *parts: str) -> None: ...


# As the shells have them, and env(1).
NOT_RUN = 126
NOT_FOUND = 127


def replace_with(
    command: Sequence[str],
    environment: Mapping[str, str],
    messages: Messages,
    *,
    keep: Iterable[socket.socket] = (),
) -> int:
    """Run a command in this process's place: its signals and its exit status are its own.

    :param keep: sockets that stay open in the command, without its knowing.
    :returns: only where there is nothing to be replaced (Windows), the command's exit status; or why it was not run.
    """
    sys.stdout.flush()
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
        # A script that does not name its interpreter: execvp(3) leaves it to the shell.
        os.execve("/bin/sh", ["/bin/sh", path, *command[1:]], environment)  # noqa: S606


def _run_as_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(list(command), env=environment) as child:  # noqa: S603 - the user's own
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the console has sent Ctrl-C to the child as well, which decides


def _status_of_failure(name: str, error: OSError) -> int:
    """The shell's status for a command that could not be run."""
    # A file that is there, but not its interpreter, is found.
    is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError)) and not (
        os.sep in name and Path(name).exists()
    )
    return NOT_FOUND if is_missing else NOT_RUN


def _tell_failure(name: str, error: OSError, messages: Messages) -> int:
    """Say why a command was not run, and give the status that stands for it."""
    status = _status_of_failure(name, error)
    what = "was not found" if status == NOT_FOUND else f"cannot be run: {error.strerror}"
    messages.line(f"safeconnect: the command {name!r} {what}")
    return status


def _restore_signals() -> None:
    """Undo what Python and this program have done to signals.

    What Python ignores would be inherited; and what came for a handler in the last moment would be lost with it.
    """
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)

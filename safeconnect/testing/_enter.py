"""Become a program in another process's user and network namespace: run by its path, imports nothing of the package.

``python _enter.py PID REPORT PROGRAM ARGUMENT...``: whoever runs it gets the program itself, with its own process id,
exit code and signals. REPORT is the descriptor of a socket: it closes when the program has begun, or says before why
not.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

if sys.platform != "linux":
    raise ImportError("network namespaces exist on Linux only")


def join(pid: str) -> None:
    """Move this process, which must have one thread, into these namespaces: setns(2), Linux 3.8."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is there since Python 3.12
    for kind in ("user", "net"):  # to have been in the first gives the right to the second
        with Path(f"/proc/{pid}/ns/{kind}").open("rb") as namespace:
            if libc.setns(namespace.fileno(), 0):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), "setns")


def become(program: list[str]) -> None:
    """Run it in the place of this process, in the surroundings that this one was started in."""
    # Python ignores these from its start, and what is ignored stays so for the program: signal(7).
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # Not os.environ: where the locale is C, Python has set LC_CTYPE in it (PEP 538).
    variables = Path("/proc/self/environ").read_bytes().split(b"\0")
    environment = dict(variable.split(b"=", 1) for variable in variables if variable.find(b"=") > 0)
    os.execvpe(program[0], program, environment)  # noqa: S606 - there is no shell


def main() -> None:
    """Join, then become, or report why not."""
    pid, report, *program = sys.argv[1:]
    os.set_inheritable(int(report), False)  # noqa: FBT003 - it takes no keyword
    what = "setns"
    try:
        join(pid)
        what = program[0]
        become(program)
    except OSError as error:
        os.write(int(report), f"{error.errno} {what}".encode(errors="surrogateescape"))
        sys.exit(127)


if __name__ == "__main__":
    main()

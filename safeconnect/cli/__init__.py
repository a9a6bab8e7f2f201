"""The command line: ``safeconnect`` and ``python -m safeconnect``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAILED = 1
# As timeout(1) and the shells have them.
TIMED_OUT = 124
INTERRUPTED = 130
_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 124 timed out, 130 interrupted.

    :param argv: the arguments; by default those of this process.
    :raises SystemExit: with 2 after wrong usage, with 0 after ``--help`` and the like, with 143 at SIGTERM.
    """
    _open_closed_streams()
    from ._console import OutputError
    from ._parser import parse

    try:
        with _terminable():
            arguments = parse(sys.argv[1:] if argv is None else argv)
            status = int(import_module(f".{arguments.module}", __package__).run(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (OutputError, BrokenPipeError) as error:
        # Python flushes the buffer at exit, and that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__cause__, BrokenPipeError):
            print(f"safeconnect: the output could not be written: {error}", file=sys.stderr)
        return FAILED
    return status


def _open_closed_streams() -> None:
    """Open /dev/null in place of closed standard streams. Else a socket would get such a number, and the output."""
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

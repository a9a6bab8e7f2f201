"""The command line: ``safeconnect`` and ``python -m safeconnect``."""

import os
import signal
import sys
from contextlib import contextmanager
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# As timeout(1) and the shells have them.
TIMED_OUT = 124
INTERRUPTED = 130
_TERMINATED = 143


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 124 timed out, 130 interrupted.

    :param argv: the arguments; those of this process when left out.
    :raises SystemExit: with 2 after wrong usage, with 0 after ``--help`` and the like, with 143 at SIGTERM.
    """
    from ._parser import parse

    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        with _terminable():
            status = int(import_module(f".{arguments.module}", __package__).run(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who read has heard enough. What is left in the buffer must not fail at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


@contextmanager
def _terminable() -> "Iterator[None]":
    """Let SIGTERM end the process in order, also as the first process of a container, where it would do nothing."""

    def terminate(*_: object) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:  # who ignores it goes on to, and so does a command that is run
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

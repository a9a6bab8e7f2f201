"""The arguments of ``safeconnect run`` and their help."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USAGE = """[-t SECONDS] [--retry N] [--attempt-timeout SECONDS]
                       [--keepalive SECONDS] [--user-timeout SECONDS]
                       [--memory] [--clients NAMES] [--trace[=FILE]]
                       [--] PROGRAM [ARG ...]
       safeconnect run [settings] -m MODULE [ARG ...]"""

TEXT = """\
Run a Python program that connects safely, without a change of its code, and so
does every Python that it starts. PROGRAM is a command, such as python, pytest
or gunicorn, or a Python file; -m runs a module. It takes this process's place,
so that its signals and its exit status are its own.

environment of PROGRAM:
  SAFECONNECT  the settings, as text: 1, or timeout=5s,retry=3,trace=stderr.
               Where safeconnect is installed the variable alone does the same;
               0 switches it off. Options here replace what it says already
  PYTHONPATH   begins with a directory that each Python reads at its start. Not
               reached: python -I, -E and -S, and Pythons older than 3.11

exit status:
  that of PROGRAM
  2     wrong usage, or wrong settings in SAFECONNECT
  126   PROGRAM cannot be run
  127   PROGRAM was not found

examples:
  safeconnect run app.py
  safeconnect run --timeout 10 --retry deadline -- gunicorn app:app
  safeconnect run --trace=/tmp/connects.jsonl -m pytest tests
  safeconnect run --trace ./start.sh
"""

_FLAGS = ("--memory", "--trace", "-h", "--help")


def with_dashes(argv: Sequence[str]) -> Sequence[str]:
    """Return the arguments with ``--`` before the program of ``run``: what follows are its own options.

    >>> with_dashes(["run", "-t", "5", "--trace", "app.py", "--", "-v"])
    ['run', '-t', '5', '--trace', '--', 'app.py', '--', '-v']
    """
    if not argv or argv[0] != "run":
        return argv
    at = 1
    while at < len(argv) and argv[at].startswith("-") and argv[at] not in ("-m", "--"):
        word = argv[at]
        is_whole = "=" in word or word in _FLAGS or (word[1] != "-" and len(word) > 2 if len(word) > 1 else True)
        at += 1 if is_whole else 2
    return argv if at >= len(argv) or argv[at] == "--" else [*argv[:at], "--", *argv[at:]]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments. Each keeps its text, which goes into SAFECONNECT."""

    def setting(name: str, metavar: str, text: str, *flags: str) -> None:
        parser.add_argument(*flags, f"--{name}", type=_checked(name), metavar=metavar, help=text)

    setting("timeout", "SECONDS", "for a connect without a timeout, such as 500ms or 1m (default: none)", "-t")
    rounds = "after all addresses have failed, N rounds in all (default: 1); or deadline: as long as there is time"
    setting("retry", "N", rounds)
    setting("attempt-timeout", "SECONDS", "for one try at one address (default: until the kernel gives up)")
    setting("keepalive", "SECONDS", "notice within this time, 2 or more, that a peer has vanished (default: never)")
    unanswered = "give up a connection when sent data has no answer for so long (default: the kernel's; Linux only)"
    setting("user-timeout", "SECONDS", unanswered)
    memory_help = "try the address first that answered last"
    parser.add_argument("--memory", action="store_const", const="on", help=memory_help)
    clients_help = "beside all that calls socket.create_connection: such as redis,urllib3 (default: all)"
    setting("clients", "NAMES", clients_help)
    parser.add_argument(
        "--trace",
        nargs="?",
        const="stderr",
        type=_checked("trace"),
        metavar="FILE",
        help="write a line for each connect to stderr; with =FILE, as JSON to the end of FILE (default: no trace)",
    )


def _checked(name: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        from .._run.settings import value_of  # no other command needs it

        try:
            value_of(name, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return check

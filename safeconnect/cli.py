"""The command line: ``safeconnect`` and ``python -m safeconnect``."""

import argparse
import sys
from collections.abc import Sequence

from . import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    :param argv: the arguments; those of this process when left out.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="safeconnect", description="TCP connects that cannot meet themselves.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="show a self-connect, what it leaves behind, and its absence",
        description="Shows on this machine, in a few seconds, how the standard library connects to itself on a closed "
        "port, how that blocks the port for a server, and how safeconnect does neither. Exits with 0 when all of that "
        "was seen, with 1 and the reason when not.",
    )
    demo.set_defaults(run=_demo)
    return parser


def _demo() -> int:
    from .demo import run  # brings an HTTP server and client along

    return run()

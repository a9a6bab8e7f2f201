"""The options that print something about the parser and end the program: completion and the manual page."""

from __future__ import annotations

import argparse
import sys

from ._console import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHELLS = ("bash", "fish", "tcsh", "zsh")


class PrintCompletion(argparse.Action):
    """Print the script with which a shell completes the commands and their options."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any, **_: Any) -> None:
        try:
            from ._completion import script
        except ImportError:
            Stream(sys.stderr, is_optional=True).line("--print-completion needs shtab: pip install 'safeconnect[cli]'")
            parser.exit(1)
        told = commands(parser)
        summaries = {told.choices[each.dest]: each.help or "" for each in told._choices_actions}  # noqa: SLF001
        Stream(sys.stdout).text(script(parser, values[1], summaries))
        parser.exit()


class PrintManual(argparse.Action):
    """Print the manual page."""

    def __call__(self, parser: argparse.ArgumentParser, *_values: Any, **_: Any) -> None:
        from ._man import page

        Stream(sys.stdout).text(page(parser, dict(commands(parser).choices)))
        parser.exit()


def commands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Return the action that has the parsers of the commands, by name."""
    (found,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))  # noqa: SLF001
    return found

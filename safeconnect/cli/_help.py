"""Help texts: their parts, and how they are laid out in a terminal. The man page is made of the same parts."""

from __future__ import annotations

import argparse
import os
import re
import sys
from functools import partial

from ._console import Stream
from ._wrapping import columns, filled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn, TextIO

    Item = tuple[str, str]  # a term, or nothing, and its text

_TERM = re.compile(r"(\S.*?)\s{2,}(\S.*)", re.DOTALL)
ARGUMENT = re.compile(r"\[[^][]*\]|\S+")  # of a usage


def parts(text: str) -> list[tuple[str, list[Item]]]:
    r"""Return the paragraphs of a help text, each with its title; one without a title is a single item.

    A title ends with a colon, and its items are indented by two columns. A line that is indented further continues the
    item before it. Two spaces separate a term from its text, or a new line that is indented by eight.

    >>> parts("Do it now,\nor later.\n\nexit status:\n  0     it is\n        done\n  that of CMD\n")
    [('', [('', 'Do it now, or later.')]), ('exit status', [('0', 'it is done'), ('', 'that of CMD')])]
    >>> parts("targets:\n  HOST:PORT\n        it is connected\n")
    [('targets', [('HOST:PORT', 'it is connected')])]
    """
    return [_part(paragraph) for paragraph in re.split(r"\n{2,}", text.strip("\n"))]


def _part(paragraph: str) -> tuple[str, list[Item]]:
    title, _, rest = paragraph.partition("\n")
    if not (title.endswith(":") and rest.startswith("  ")):
        return "", [("", " ".join(paragraph.split()))]
    items = re.sub(r"\n {3,}", " ", re.sub(r"\n {8}(?=\S)", "  ", rest)).splitlines()
    return title.removesuffix(":"), [_item(line.strip()) for line in items]


def _item(line: str) -> Item:
    found = _TERM.fullmatch(line)
    return (found[1], " ".join(found[2].split())) if found else ("", line)


def formatter(file: TextIO) -> partial[_Formatter]:
    """Return what lays out help for a stream, as `argparse.ArgumentParser` wants it."""
    return partial(_Formatter, width=columns(file))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are laid out for the terminal, too."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong. The message quotes the arguments, which may hold anything."""
        self.formatter_class = formatter(sys.stderr)
        self.print_usage(sys.stderr)
        Stream(sys.stderr, is_optional=True).line(f"{self.prog}: error: {message}")
        self.exit(2)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Break lines between words, and texts that are written for 80 columns only where there are fewer."""

    def __init__(self, prog: str, *, width: int | None) -> None:
        # argparse asks shutil, which takes long to load, and makes one of these for each argument that is added.
        super().__init__(prog, width=_elsewhere() if width is None else width)
        self._is_narrow = width is not None and width < 80

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if not self._is_narrow:
            return super()._fill_text(text, width, indent)
        return "\n\n".join(_laid_out(title, items, width) for title, items in parts(text)) + "\n"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        text = super()._format_action_invocation(action)
        # Separated by a space, the value would be taken for the next argument of `run`.
        return text.replace(" [", "[=") if action.nargs == "?" and action.option_strings else text

    def _split_lines(self, text: str, width: int) -> list[str]:
        import textwrap  # for help alone

        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _format_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None,
    ) -> str:
        text = super()._format_usage(usage, actions, groups, prefix)
        if not self._is_narrow:
            return text
        # Lines that are indented further than the name of the program continue the line before.
        forms = re.sub(r"\n {8,}", " ", text).rstrip("\n").splitlines()
        return (
            "\n".join(filled(form, self._width, indent=min(9, self._width // 8), word=ARGUMENT) for form in forms)
            + "\n\n"
        )


def _elsewhere() -> int:
    """Return the width of help that goes to no terminal, as argparse has it."""
    given = os.environ.get("COLUMNS", "")
    return (int(given) if given.isascii() and given.isdecimal() and int(given) else 80) - 2


def _laid_out(title: str, items: list[Item], width: int) -> str:
    if not title:
        return filled(items[0][1], width, indent=0)
    most = max(len(term) for term, _ in items)
    lines = [f"{title}:"]
    for term, text in items:
        if term and most > width // 2:
            lines += [filled(f"  {term}", width, indent=4), filled(f"    {text}", width, indent=4)]
            continue
        line = f"  {term:<{most}}  {text}" if term else f"  {text}"
        lines.append(filled(line, width, keep=most + 4 if term else 0))
    return "\n".join(lines)

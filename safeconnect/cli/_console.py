"""Where commands write: data on stdout, messages on stderr; with rich where there is a terminal, else plainly.

The words are the same in both. Colour follows NO_COLOR and FORCE_COLOR, as rich knows them; nothing moves but on a
terminal.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager

from .._text import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TextIO

    Part = str | tuple[str, str]  # text; text and its style, in rich's words
    Line = Sequence[Part]

_GAP = "  "
# For streams that cannot write them.
_PLAINER = str.maketrans({"━": "=", "│": "|", "µ": "u"})


class OutputError(OSError):
    """The data could not be written."""


class Stream:
    """One of a process's two output streams.

    :param is_optional: whether what cannot be written is dropped, and the rest as well: messages, not data.
    """

    def __init__(self, file: TextIO, *, is_optional: bool = False) -> None:
        self._file = file
        self._is_optional = is_optional
        self._is_lost = False
        self._translation = {} if _can_write("━│µ", file) else _PLAINER
        self._rich = _rich_console(file)
        self._is_live = self._rich is not None and file.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it as it comes."""
        return self._file.isatty()

    @property
    def width(self) -> int:
        """How many columns a line may have."""
        return int(self._rich.width) if self._rich is not None else 80

    def line(self, *parts: Part) -> None:
        """Write one line.

        :raises OutputError: it could not be written, and is no mere message.
        """
        clean = [self._cleaned(part) for part in parts]
        if self._rich is None:
            self._write(lambda: print(_plain(clean), file=self._file))
        else:
            self._write(lambda: self._rich.print(_text(clean), soft_wrap=True))

    def _cleaned(self, part: Part) -> Part:
        text, style = (part, "") if isinstance(part, str) else part
        clean = harmless(text).translate(self._translation)
        return clean if _can_write(clean, self._file) else ascii(clean)[1:-1], style

    def _write(self, write: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            write()
        except OSError as error:
            if not self._is_optional:
                raise OutputError(*error.args) from error
            self._is_lost = True

    def table(self, headers: Sequence[str], rows: Iterable[Line], *, right: Sequence[int] = ()) -> None:
        """Write rows below their headers in columns.

        :param right: the numbers of the columns that are aligned to the right.
        """
        cells = [tuple(headers), *(tuple(row) for row in rows)]
        widths = [max(len(_plain([row[column]])) for row in cells) for column in range(len(headers))]
        for number, row in enumerate(cells):
            padded = [_padded(part, widths[column], column in right) for column, part in enumerate(row)]
            spaced = [piece for part in padded for piece in (part, _GAP)][:-1]
            self.line(*(_bold(spaced) if not number else _stripped(spaced)))

    def json(self, value: object) -> None:
        """Write a value as JSON."""
        self._write(lambda: print(json.dumps(value, indent=2), file=self._file))

    @contextmanager
    def live(self, lines: Callable[[], Iterable[Line]]) -> Iterator[None]:
        """Show these lines and keep them up to date; on a terminal and with rich only. They are gone at the end."""
        if not self._is_live:
            yield
            return
        from rich.console import Group
        from rich.live import Live

        def render() -> Group:
            return Group(*(_text([self._cleaned(part) for part in line]) for line in lines()))

        with Live(get_renderable=render, console=self._rich, refresh_per_second=10, transient=True):
            yield

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], object]]:
        """Show how much of it is done, on a terminal and with rich only; gives what to call after each piece."""
        if not self._is_live:
            yield lambda: None
            return
        from rich.progress import Progress

        with Progress(console=self._rich, transient=True) as progress:
            task = progress.add_task(harmless(what), total=total)
            yield lambda: progress.advance(task)


class Console:
    """The two streams of a command."""

    def __init__(self) -> None:
        self.data = Stream(sys.stdout)
        self.messages = Stream(sys.stderr, is_optional=True)


def percent(share: float) -> str:
    """A share from 0 to 1 as people read it."""
    return f"{100 * share:.0f} %" if share >= 0.01 else "<1 %"


def _can_write(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "utf-8", file.errors or "strict")
    except UnicodeEncodeError:
        return False
    return True


def _rich_console(file: TextIO) -> Any:
    """Rich's console for the stream; None where nobody sees colours, or without rich."""
    if not (file.isatty() or os.environ.get("FORCE_COLOR")):
        return None
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        return None
    return RichConsole(file=file, highlight=False, markup=False, emoji=False)


def _text(parts: Line) -> Any:
    from rich.text import Text

    return Text.assemble(*parts)


def _plain(parts: Line) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in parts)


def _padded(part: Part, width: int, is_right: bool) -> Part:
    text, style = (part, "") if isinstance(part, str) else part
    return (text.rjust(width) if is_right else text.ljust(width)), style


def _bold(parts: Line) -> Line:
    return _stripped([(_plain([part]), "bold") for part in parts])


def _stripped(parts: Line) -> Line:
    """Without spaces at the end."""
    *others, (text, style) = ((part, "") if isinstance(part, str) else part for part in parts)
    return [*others, (text.rstrip(), style)]

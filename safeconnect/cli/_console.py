"""Where commands write: data to stdout, messages to stderr; with rich on a terminal, else as plain text.

The text is the same in both. rich respects NO_COLOR and FORCE_COLOR; nothing moves except on a terminal.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from .._text import harmless
from ._wrapping import columns, width, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TextIO

    Part = str | tuple[str, str]  # text, or text and its style as rich knows it
    Line = Sequence[Part]

_GAP = "  "
_INDENT = "    "  # of the second line of a row
_PLAINER = str.maketrans({"━": "=", "│": "|"})  # for streams that cannot write them


class OutputError(OSError):
    """The data could not be written."""


class Stream:
    """One of the two output streams of the process.

    :param is_optional: for messages: if one cannot be written, drop it and all later ones.
    """

    def __init__(self, file: TextIO, *, is_optional: bool = False) -> None:
        self._file = file
        self._is_optional = is_optional
        self._is_lost = False
        self._translation = {} if _can_write("━│", file) else _PLAINER
        self._rich = _rich_console(file)
        self.is_live: bool = self._rich is not None and file.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def columns(self) -> int | None:
        """The width of the terminal; None if it is no terminal: then lines stay whole."""
        return columns(self._file)

    def line(self, *parts: Part, keep: int = 0) -> None:
        """Write one line; in a terminal that is too narrow for it several, broken between words.

        :param keep: the first characters that stay together; the other lines begin below what follows them.
        :raises OutputError: data could not be written.
        """
        clean = [self._cleaned(part) for part in parts]
        most = self.columns
        for each in [clean] if most is None else wrapped(clean, most, keep=keep):
            if self._rich is None:
                self._write(print, "".join(text for text, _ in each), file=self._file)
            else:
                self._write(self._rich.print, _rich_text(each), soft_wrap=True)

    def _cleaned(self, part: Part) -> tuple[str, str]:
        text, style = _styled(part)
        clean = harmless(text).translate(self._translation)
        return clean if _can_write(clean, self._file) else ascii(clean)[1:-1], style

    def _write(self, write: Callable[..., object], *arguments: object, **settings: object) -> None:
        if self._is_lost:
            return
        try:
            write(*arguments, **settings)
        except OSError as error:
            if not self._is_optional:
                raise OutputError(*error.args) from error
            self._is_lost = True

    def table(self, headers: Sequence[str], rows: Iterable[Line], *, right: Sequence[int] = ()) -> None:
        """Write rows in columns, below their headers; the columns for which the terminal has no room on further lines.

        :param right: the numbers of the columns that are aligned to the right.
        """
        cells = [[(name, "bold") for name in headers], *([_styled(part) for part in row] for row in rows)]
        widths = [max(width(text) for text, _ in column) for column in zip(*cells, strict=True)]
        for row in cells:
            for begin, end in _side_by_side(widths, self.columns):
                parts: list[Part] = [_INDENT] if begin else []
                for number in range(begin, end):
                    text, style = row[number]
                    padding = " " * (widths[number] - width(text))
                    parts += [(padding + text if number in right else text + padding, style), _GAP]
                last, style = _styled(parts[-2])
                self.line(*parts[:-2], (last.rstrip(), style))

    def json(self, value: object) -> None:
        """Write a value as JSON."""
        import json  # most commands do without

        self.text(json.dumps(value, indent=2))

    def text(self, text: str) -> None:
        """Write a text of our own as it is, now.

        :raises OutputError: data could not be written.
        """
        self._write(print, text, file=self._file, flush=True)

    def flush(self) -> None:
        """Write what is in the buffer.

        :raises OutputError: data could not be written.
        """
        self._write(self._file.flush)

    @contextmanager
    def live(self, lines: Callable[[], Iterable[Line]]) -> Iterator[None]:
        """Show these lines and keep them up to date; on a terminal and with rich only. They are gone at the end."""
        if not self.is_live:
            yield
            return
        from rich.console import Group
        from rich.live import Live

        def render() -> Group:
            return Group(*(_rich_text([self._cleaned(part) for part in line]) for line in lines()))

        with Live(get_renderable=render, console=self._rich, refresh_per_second=10, transient=True):
            yield

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], object]]:
        """Show how much is done, on a terminal and with rich only; yield the function to call after each piece."""
        if not self.is_live:
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


def _side_by_side(widths: Sequence[int], most: int | None) -> list[tuple[int, int]]:
    """Return the columns of a table that have room beside each other: where each of its lines begins and ends."""
    found, begin, taken = [], 0, 0
    for number, each in enumerate(widths):
        if most is not None and number > begin and taken + each > most:
            found.append((begin, number))
            begin, taken = number, len(_INDENT)
        taken += each + len(_GAP)
    return [*found, (begin, len(widths))]


def percent(share: float) -> str:
    """Return a share from 0 to 1 as text."""
    return f"{100 * share:.0f} %" if share >= 0.01 else "<1 %"


def _can_write(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "utf-8", file.errors or "strict")
    except UnicodeEncodeError:
        return False
    return True


def _rich_console(file: TextIO) -> Any:
    """Return rich's console for the stream; None without rich, or if colours are not wanted."""
    if not (file.isatty() or os.environ.get("FORCE_COLOR")):
        return None
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        return None
    return RichConsole(file=file, highlight=False, markup=False, emoji=False)


def _rich_text(parts: Line) -> Any:
    from rich.text import Text

    return Text.assemble(*parts)


def _styled(part: Part) -> tuple[str, str]:
    return (part, "") if isinstance(part, str) else part

"""Line breaks for terminals: between words, so that no address, path or option is cut. Elsewhere lines stay whole."""

from __future__ import annotations

import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    Styled = tuple[str, str]  # text and its style

_WORD = re.compile(r"\S+(?:(?<=\d) (?:ms|s|min|h|%)(?!\w)\S*)?")  # a number, its unit and the comma stay together
_LEAST = 20  # columns for text beside what stands before it


def columns(file: TextIO) -> int | None:
    """Return the width of the terminal that a stream writes to; None if there is none, or if it does not tell."""
    if not file.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdecimal() and len(given) < 6 and int(given):
        return int(given)
    try:
        width = os.get_terminal_size(file.fileno()).columns
    except (OSError, ValueError):  # a stream of the caller's own
        return None
    # In the last column of a line, Windows' old console begins the next one.
    return width - (sys.platform == "win32") or None


def width(text: str) -> int:
    """Return how many columns a text takes: East Asian characters take two, accents none."""
    if text.isascii():
        return len(text)
    import unicodedata  # most texts do without

    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def pieces(
    text: str, columns: int, *, keep: int = 0, indent: int | None = None, word: re.Pattern[str] = _WORD
) -> list[tuple[int, int]]:
    """Return where each line of a text begins and ends; a word that is too long has a line of its own.

    :param keep: the first characters that stay together.
    :param indent: the columns before each line but the first.
    :param word: what is not broken.
    """
    room, begin, end = columns, 0, len(text[:keep].rstrip())
    found: list[tuple[int, int]] = []
    for each in word.finditer(text, keep):
        if text[begin:end].strip() and width(text[begin : each.end()]) > room:
            found.append((begin, end))
            begin, room = each.start(), columns - indentation(text, columns, keep, indent)
        end = each.end()
    return [*found, (begin, end)]


def indentation(text: str, columns: int, keep: int = 0, indent: int | None = None) -> int:
    """Return the columns before each line but the first: below the text, if there is room for it, or a little."""
    own = len(text) - len(text.lstrip()) + 2
    wanted = indent if indent is not None else width(text[:keep]) if keep else own
    return wanted if columns - wanted >= _LEAST else max(min(own, columns - _LEAST), 0)


def wrapped(parts: Sequence[Styled], columns: int, *, keep: int = 0) -> list[list[Styled]]:
    """Return the lines of a line that is too long for the terminal.

    :param keep: the first characters that stay together; the other lines begin below what follows them.
    """
    text = "".join(part for part, _ in parts)
    first, *others = pieces(text, columns, keep=keep)
    if not others and width(text) <= columns:
        return [list(parts)]
    before = " " * indentation(text, columns, keep)
    return [_between(parts, *first), *([(before, ""), *_between(parts, *each)] for each in others)]


def _between(parts: Sequence[Styled], begin: int, end: int) -> list[Styled]:
    found, at = [], 0
    for text, style in parts:
        cut = text[max(begin - at, 0) : max(end - at, 0)]
        if cut:
            found.append((cut, style))
        at += len(text)
    return found


def filled(text: str, columns: int, *, keep: int = 0, indent: int | None = None, word: re.Pattern[str] = _WORD) -> str:
    """Return a text with line breaks, as `pieces` finds them."""
    found = pieces(text, columns, keep=keep, indent=indent, word=word)
    before = "\n" + " " * indentation(text, columns, keep, indent)
    return before.join(text[begin:end] for begin, end in found)

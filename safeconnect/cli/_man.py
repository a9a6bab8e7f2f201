"""The manual page, in man(7)'s macros: made of the parser and of the help texts, so that it says what they say."""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

from .. import __version__
from ._help import ARGUMENT, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._help import Item

_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)  # groff_char(7): these characters alone are typeset as others
_IN_USAGE = re.compile(r"(?P<option>(?<![\w-])--?[\w-]*)|(?P<value>\b[A-Z][A-Z0-9]*\b)")
_WIDTH = 64  # columns, before characters are escaped
_TITLES = (".SH", ".SS")
_SEE_ALSO = "connect(2), getaddrinfo(3), ip(7), ss(8), tcp(7), timeout(1)"


def page(parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the manual page of a program.

    :param parser: of the program.
    :param commands: those of its commands, by name.
    """
    both = {parser.prog: parser, **commands}
    for each in both.values():
        each.formatter_class = partial(argparse.HelpFormatter, width=10_000)
    texts = {name: parts(f"{each.description}\n\n{each.epilog}") for name, each in both.items()}
    lines = [
        f'.TH {parser.prog.upper()} 1 {_today()} "{parser.prog} {__version__}" "User Commands"',
        ".nh",  # no hyphens in the middle of options
        ".ad l",
        *_section("NAME", [_summary(parser)]),
        *_section("SYNOPSIS", _synopsis(both)),
        *_section("DESCRIPTION", _paragraphs(texts[parser.prog], is_own=True)),
        *_section("COMMANDS", _of_each((name, _paragraphs(texts[name])) for name in commands)),
        *_section("OPTIONS", _of_each((name, _options(each)) for name, each in both.items())),
        *_section("EXIT STATUS", _of_each((name, _items(told, "exit status")) for name, told in texts.items())),
        *_section("ENVIRONMENT", [*_items(parts(parser.epilog or ""), "environment")]),
        *_section("EXAMPLES", _of_each((name, _examples(told)) for name, told in texts.items())),
        *_section("SEE ALSO", [_text(_SEE_ALSO)]),
    ]
    # A paragraph begins after a title by itself.
    return "\n".join(line for before, line in pairwise(["", *lines]) if not (line == ".PP" and before[:3] in _TITLES))


def _summary(parser: argparse.ArgumentParser) -> str:
    summary = str(parser.description).rstrip(".")
    return _text(f"{parser.prog} - {summary[:1].lower()}{summary[1:]}")


def _today() -> str:
    """Return the date; a build that can be repeated gives it (https://reproducible-builds.org/specs/source-date-epoch/)."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(given), UTC) if given.isdecimal() and len(given) < 12 else datetime.now(UTC)
    return now.date().isoformat()


def _text(text: str) -> str:
    """Return text as roff has it, in lines of its own; one that began with a dot would be a request."""
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_line, lines))


def _line(text: str) -> str:
    escaped = text.translate(_ESCAPES)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


def _bold(text: str) -> str:
    return rf"\fB{_line(text)}\fR"


def _italic(text: str) -> str:
    return rf"\fI{_line(text)}\fR"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _of_each(told: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    for name, lines in told:
        yield f".SS {name}"
        yield from lines


def _synopsis(both: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    for each in both.values():
        usage = re.sub(r"\n {8,}", " ", each.format_usage()).replace("usage:", "")
        for form in usage.strip().splitlines():
            yield ".PP"
            yield _bold(each.prog)
            yield from map(_usage, ARGUMENT.findall(form.strip().removeprefix(each.prog)))


def _usage(text: str) -> str:
    found, at = r"\&" if text.startswith(".") else "", 0
    for each in _IN_USAGE.finditer(text):
        found += text[at : each.start()].translate(_ESCAPES)
        found += (_bold if each["option"] else _italic)(each[0])
        at = each.end()
    return found + text[at:].translate(_ESCAPES)


def _paragraphs(told: list[tuple[str, list[Item]]], *, is_own: bool = False) -> Iterator[str]:
    """Yield what a help text says but for the parts that have a section of their own."""
    for number, (title, items) in enumerate(told):
        if title in ("exit status", "examples") or (is_own and title == "environment"):
            continue
        if number:
            yield ".PP"
        if title:
            yield _text(f"{title}:")
            yield from _items([(title, items)], title)
        else:
            yield _text(items[0][1])


def _items(told: list[tuple[str, list[Item]]], title: str) -> Iterator[str]:
    for name, items in told:
        if name == title:
            for term, text in items:
                yield from [".TP", _bold(term), _text(text)] if term else [".PP", _text(text)]


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001 - argparse tells them in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        value = "" if action.nargs == 0 else _italic(str(action.metavar or action.dest.upper()))
        names = ", ".join(map(_bold, action.option_strings))
        yield ".TP"
        yield f"{names}[={value}]" if names and action.nargs == "?" else f"{names} {value}".strip()
        yield _text((action.help or "") % {**vars(action), "prog": parser.prog})


def _examples(told: list[tuple[str, list[Item]]]) -> Iterator[str]:
    commands = [" ".join(item) for title, items in told if title == "examples" for item in items]
    yield from [".PP", ".nf", *(_line(each.strip()) for each in commands), ".fi"]

"""In a narrow terminal no word is broken; where there is no terminal, no line is."""

import argparse
import io
import os
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import testing
from safeconnect.cli import _parser
from safeconnect.cli._console import Stream
from safeconnect.cli._help import parts
from safeconnect.cli._wrapping import columns, filled, width, wrapped

from .. import namespace
from ..support import linux_only, needs_port_range
from .terminal import PROGRAM, WITHOUT_EXTRAS, Terminal, call

COMMANDS = ("wait", "doctor", "ports", "connect", "run", "demo")
WIDE, NARROW, VERY_NARROW = 200, 60, 40
# What differs from run to run, or with the width: figures, bars and their scale.
TIME = re.compile(r"\b[\d.]+ (?:ms|s)\b")  # a number and its unit stay together
FIGURES = re.compile(r"\d[\d,.]*")
BAR = re.compile(r"│ *━+ *│|^ +0 +\S+ m?s$", re.MULTILINE)


@pytest.fixture(scope="module")
def targets():
    with testing.echo() as server, testing.refused() as closed:
        yield {"UP": f"127.0.0.1:{server.address[1]}", "DOWN": f"127.0.0.1:{closed.address[1]}"}


def shown(*arguments, at, program=PROGRAM):
    """What a terminal that is so many columns wide shows at the end."""
    # Lines that come and go are not of interest; a dumb terminal has none.
    term = "dumb" if arguments[:1] == ("wait",) or "--repeat" in arguments else "xterm-256color"
    with Terminal(*arguments, program=program, COLUMNS=str(at), TERM=term) as terminal:
        terminal.end()
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in terminal.text.split("\n"))


def words(text):
    text = TIME.sub("TIME", BAR.sub("", text))
    return [FIGURES.sub("N", word) for word in text.split()]


OUTPUTS = [
    (),
    ("--help",),
    *((name, "--help") for name in COMMANDS),
    ("connect", "UP"),
    ("connect", "DOWN"),
    ("connect", "DOWN", "--repeat", "3"),
    ("wait", "UP", "DOWN", "-t", "0", "-v"),
    ("wait", "DOWN", "--gone"),
    ("wait", "no-such-host-at-all:80:90"),
    ("doctor", "--happy"),
    ("ports", "1", "-n", "3", "--", "true"),
    ("ports", "--host", "192.0.2.200", "--", "true"),
    ("ports", "--", "no-such-command-in-this-whole-place-at-all"),
    ("demo", "--port", "80"),
    ("--print-completion", "ksh"),
]


@linux_only
@pytest.mark.parametrize("program", [PROGRAM, WITHOUT_EXTRAS], ids=["rich", "plain"])
@pytest.mark.parametrize("arguments", OUTPUTS, ids=" ".join)
def test_no_word_is_broken(targets, arguments, program):
    arguments = [targets.get(each, each) for each in arguments]
    wide, narrow, very_narrow = (shown(*arguments, at=at, program=program) for at in (WIDE, NARROW, VERY_NARROW))
    # Usage and options are laid out by argparse, in another order of lines and not of words.
    assert words(narrow) == words(wide)
    assert words(very_narrow) == words(wide)
    for text, most in ((narrow, NARROW), (very_narrow, VERY_NARROW)):
        for line in text.splitlines():
            assert width(line) <= most or len(line.split()) == 1, line


@linux_only
@pytest.mark.parametrize("arguments", [("doctor",), ("ports",)], ids=" ".join)
@pytest.mark.parametrize("program", [PROGRAM, WITHOUT_EXTRAS], ids=["rich", "plain"])
def test_no_word_of_this_machine_is_broken(arguments, program):
    """Other programs may connect and listen meanwhile, so only words are compared that are long enough to be cut."""
    wide, narrow = (shown(*arguments, at=at, program=program) for at in (WIDE, NARROW))
    known = set(words(wide))
    cut = [
        word
        for line in narrow.splitlines()
        for word in words(line)[-1:]
        if width(line) >= NARROW - 1 and word not in known
    ]
    assert cut == []
    assert all(width(line) <= NARROW or len(line.split()) == 1 for line in narrow.splitlines())


@linux_only
@needs_port_range
def test_no_word_of_the_demo_is_broken():
    code = """
        from tests.cli.test_narrow import NARROW, shown, words
        narrow, wide = (shown("demo", "--port", "40000", at=at) for at in (NARROW, 200))
        most = max(map(len, narrow.splitlines()))
        print(words(narrow) == words(wide), most <= NARROW, "All of this was seen" in wide)
    """
    assert namespace.run(code, ports="40000 40998") == "True True True\n"


# Without those that print usage alone, connect to a server at a time that differs, or take this process's place.
LINES = [each for each in OUTPUTS if each and not {"--help", "--happy", "ksh", "UP", "--"} & {each[-1], *each[1:2]}]


@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_without_a_terminal_lines_stay_whole(targets, arguments):
    arguments = [targets.get(each, each) for each in arguments]
    narrow, wide = (call(*arguments, COLUMNS=columns) for columns in ("30", "200"))
    # argparse breaks its own usage where the user's COLUMNS say.
    one, other = (done.stdout + done.stderr.rpartition("error:")[2] for done in (narrow, wide))
    assert [words(line) for line in one.splitlines()] == [words(line) for line in other.splitlines()]
    assert max(map(len, (narrow.stdout + narrow.stderr).splitlines())) > 30


class TestColumns:
    def test_of_no_terminal(self):
        assert columns(io.StringIO()) is None

    @linux_only
    @pytest.mark.parametrize(
        ("size", "given", "expected"), [(33, "", 33), (33, "70", 70), (33, "x", 33), (0, "", None), (33, "0", 33)]
    )
    def test_of_a_terminal(self, monkeypatch, size, given, expected):
        fcntl = pytest.importorskip("fcntl", reason="Windows has no such terminals")
        termios = pytest.importorskip("termios")
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
        monkeypatch.setenv("COLUMNS", given)
        try:
            with open(slave, "w", closefd=False) as file:
                assert columns(file) == expected
        finally:
            os.close(slave)
            os.close(master)

    def test_of_a_stream_that_only_says_that_it_is_a_terminal(self, monkeypatch):
        monkeypatch.delenv("COLUMNS", raising=False)
        file = io.StringIO()
        file.isatty = lambda: True
        assert columns(file) is None


class TestWrapping:
    @pytest.mark.parametrize(
        ("text", "settings", "lines"),
        [
            ("a line that fits", {}, ["a line that fits"]),
            ("a line that does not fit in here", {}, ["a line that does not fit", "  in here"]),
            (
                "  name    a text that is beside its name",
                {"keep": 10},
                ["  name    a text that is", "    beside its name"],
            ),
            ("x" * 30 + " " + "y" * 30, {}, ["x" * 30, "  " + "y" * 30]),
            ("it took quite a while: 15 s, then", {}, ["it took quite a while:", "  15 s, then"]),
            ("漢字漢字漢字 漢字漢字漢字 漢字", {}, ["漢字漢字漢字", "  漢字漢字漢字 漢字"]),
            ("", {}, [""]),
        ],
    )
    def test_at_24_columns(self, text, settings, lines):
        assert filled(text, 24, **settings).split("\n") == lines

    def test_below_the_text_where_there_is_room(self):
        assert filled("name  one two three four five", 26, keep=6).split("\n") == [
            "name  one two three four",
            "      five",
        ]

    @given(
        st.lists(st.tuples(st.text("abc é漢│ ", max_size=12), st.sampled_from(["", "red"])), max_size=6),
        st.integers(1, 50),
        st.integers(0, 20),
    )
    def test_nothing_is_lost(self, styled, most, keep):
        text = "".join(part for part, _ in styled)
        lines = wrapped(styled, most, keep=keep)
        assert keep or "\n".join("".join(part for part, _ in line) for line in lines).split() == text.split()
        joined = [(each, style) for line in lines for part, style in line for each in part if not each.isspace()]
        assert joined == [(each, style) for part, style in styled for each in part if not each.isspace()]

    def test_a_table_puts_columns_on_further_lines(self, monkeypatch):
        file = io.StringIO()
        monkeypatch.setattr(Stream, "columns", 22)
        Stream(file).table(
            ["address", "port", "owner"], [["127.0.0.1", "80", "web"], ["::1", "8080", "x" * 30]], right=(1,)
        )
        assert file.getvalue().splitlines() == [
            *("address    port", "    owner"),
            *("127.0.0.1    80", "    web"),
            *("::1        8080", "    " + "x" * 30),
        ]


def helps():
    parser = _parser._parser()
    (commands,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return {"safeconnect": parser, **commands.choices}


@pytest.mark.parametrize("name", ["safeconnect", *COMMANDS])
def test_help_has_the_same_words_in_every_width(name):
    parser = helps()[name]
    found = parts(f"{parser.description}\n\n{parser.epilog}")
    told = " ".join([word for title, items in found for word in (title, *(text for item in items for text in item))])
    assert told.replace(":", "").split() == f"{parser.description} {parser.epilog}".replace(":", "").split()

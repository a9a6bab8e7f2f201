"""The manual page says all that the help says, and programs that print manual pages find nothing wrong with it."""

import argparse
import re
import shutil
import subprocess

import pytest

from safeconnect.cli import _parser
from safeconnect.cli._man import page

from .terminal import WITHOUT_EXTRAS, call, run

SECTIONS = [
    *("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"),
]
ESCAPES = {r"\-": "-", r"\e": "\\", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\(dq": '"', r"\&": ""}
REQUESTS = {".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".nh", ".ad"}


def plain(text):
    """What is read, in one line."""
    text = re.sub(r"\\f[BIR]", "", text)
    text = re.sub(r"\\\(\w\w|\\.", lambda found: ESCAPES[found[0]], text)
    return " ".join(text.split())


def commands():
    parser = _parser._parser()
    (found,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return parser, found.choices


@pytest.fixture(scope="module")
def manual():
    done = call("--man")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def section(manual, name, command=None):
    (found,) = re.findall(rf"^\.SH {name}\n(.*?)(?=^\.SH|\Z)", manual, re.MULTILINE | re.DOTALL)
    if command is not None:
        (found,) = re.findall(rf"^\.SS {command}\n(.*?)(?=^\.SS|\Z)", found, re.MULTILINE | re.DOTALL)
    return found


def test_its_sections(manual):
    assert re.findall(r"^\.SH (.*)$", manual, re.MULTILINE) == SECTIONS
    assert plain(section(manual, "NAME")).startswith("safeconnect - ")


def test_each_option_of_each_command_is_in_it(manual):
    parser, choices = commands()
    for name, command in {"safeconnect": parser, **choices}.items():
        told = section(manual, "OPTIONS", name)
        actions = [each for each in command._actions if not isinstance(each, argparse._SubParsersAction)]
        entries = {plain(each.partition("\n")[0]): plain(each.partition("\n")[2]) for each in told.split(".TP\n")[1:]}
        assert len(entries) == len(actions)
        for action in actions:
            value = [] if action.nargs == 0 else [action.metavar]
            entry = " ".join([*filter(None, [", ".join(action.option_strings)]), *value])
            if action.nargs == "?" and action.option_strings:
                entry = entry.replace(" FILE", "[=FILE]")
            assert entries[entry] == " ".join((action.help % {"prog": command.prog}).split())


def test_each_text_of_each_command_is_in_it(manual):
    parser, choices = commands()
    everything = plain(re.sub(r"^\.\w\w.*$", "", manual, flags=re.MULTILINE))
    for name, command in choices.items():
        assert plain(section(manual, "SYNOPSIS")).count(f"safeconnect {name} ") >= 1
        for paragraph in f"{command.description}\n\n{command.epilog}".split("\n\n"):
            title, _, items = paragraph.partition(":\n")
            for item in re.sub(r"\n {3,}", " ", items).splitlines() or [title]:
                assert " ".join(item.split()) in everything
    for command in re.findall(r"^  (safeconnect .*)$", parser.epilog, re.MULTILINE):
        assert command in everything


def test_no_text_is_taken_for_a_request(manual):
    begun = {line.split()[0] for line in manual.splitlines() if line.startswith((".", "'"))}
    assert begun == REQUESTS


def test_dots_quotes_and_backslashes_of_a_help_text():
    parser = argparse.ArgumentParser(prog="it", description="Do it.", epilog="examples:\n  ./it 'a\\b' ~ `c` ^ \"d\"")
    parser.add_argument("...", metavar="...", help="... and 'more' \\n")
    told = page(parser, {})
    assert "\\&./it \\(aqa\\eb\\(aq \\(ti \\(gac\\(ga \\(ha \\(dqd\\(dq" in told
    assert "\\&... and \\(aqmore\\(aq \\en" in told


def test_the_date_can_be_given():
    assert call("--man", SOURCE_DATE_EPOCH="86400").stdout.startswith('.TH SAFECONNECT 1 1970-01-02 "safeconnect ')
    assert re.match(r"\.TH SAFECONNECT 1 20\d\d-\d\d-\d\d ", call("--man", SOURCE_DATE_EPOCH="soon").stdout)


def test_it_needs_none_of_the_extras_and_no_terminal(manual):
    assert run("--man", program=WITHOUT_EXTRAS, COLUMNS="30").stdout == manual


@pytest.mark.parametrize(
    "command", [("mandoc", "-Tlint"), ("groff", "-man", "-ww", "-z"), ("man", "--warnings", "-l")], ids=" ".join
)
def test_programs_that_print_manual_pages_find_nothing_wrong(manual, command, tmp_path):
    for program in {command[0], "groff" if command[0] == "man" else command[0]}:  # man formats with groff
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    path = tmp_path / "safeconnect.1"
    path.write_text(manual)
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    told = done.stderr + (done.stdout if command[0] == "mandoc" else "")
    assert (done.returncode, told) == (0, "")

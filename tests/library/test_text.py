"""Text of others is harmless wherever it is told: it moves no cursor, ends no line, and turns nothing around."""

import io
import re
import subprocess
import sys
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import bind_socket, reserve_port, self_connect_exposure
from safeconnect._connect import connect_error
from safeconnect._host import tcp_table
from safeconnect._host.tcp_rows import Owner
from safeconnect._sockets.endpoint import written
from safeconnect._text import duration, harmless, shown
from safeconnect.cli import _parser
from safeconnect.cli._console import Stream
from safeconnect.doctor.findings import Case, rule
from safeconnect.testing import guard

from ..drivers import each_driver
from ..namespace import ROOT
from ..support import linux_only, ran_into, wait_until

EVIL = "\x1b[2J\nERROR \u202e\u2028\u2029\u200b\x9b"
TOLD = r"\x1b[2J\x0aERROR \u202e\u2028\u2029\u200b\x9b"
HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.characters()))
def test_nothing_is_left_but_what_can_be_seen(text):
    clean = harmless(text)
    assert not {unicodedata.category(each) for each in clean} & HARMFUL
    assert clean.isprintable()
    assert harmless(clean) == clean
    if text.isprintable():
        assert clean == text


def test_each_kind():
    assert harmless(EVIL) == TOLD
    assert harmless("\udcff\U000e0001\ue000 é漢") == r"\xff\U000e0001\ue000 é漢"


def test_what_is_shown_of_a_wrong_value():
    assert shown("a") == "'a'"
    assert shown("a" * 200) == f"'{'a' * 39}... (202 characters)"
    assert shown(10**5000) == "a number of 16610 bits"
    assert shown([10**5000]) == "a list"


@linux_only
def test_the_name_of_a_process_in_notes():
    code = r"""
import ctypes, socket, sys
server = socket.create_server(("127.0.0.1", 0))
ctypes.CDLL(None).prctl(15, b"\x1b[2J\nERR\xe2\x80\xae", 0, 0, 0)  # PR_SET_NAME
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named:
        port = int(named.stdout.readline())
        errors = [
            ran_into(OSError, reserve_port, "127.0.0.1", port),
            ran_into(OSError, bind_socket, ("127.0.0.1", port)),
        ]
        owners = tcp_table.owners(each for each in tcp_table.sockets() if each.local[1] == port)
        named.stdin.close()
    for error in errors:
        told = "\n".join(error.__notes__)
        assert rf"\x1b[2J\x0aERR\u202e (process {named.pid})" in told
        assert "\x1b" not in told
    assert {owner.name for each in owners.values() for owner in each} == {"\x1b[2J\nERR\u202e"}, "data stays what it is"


def test_values_as_text():
    assert str(Owner(7, EVIL)) == f"{TOLD} (process 7)"
    assert written((EVIL, 80)) == f"{TOLD}:80"
    assert TOLD in str(self_connect_exposure(EVIL, 1))


@each_driver
def test_what_a_resolver_says(connect):
    def fail(*_):
        raise OSError(EVIL)

    error = ran_into(OSError, connect, (EVIL, 80), 5, resolver=fail)
    assert "\x1b" not in "".join(error.__notes__)


def test_what_became_of_an_address():
    outcome = ((EVIL, 80), OSError(EVIL), 1.0)
    error = connect_error.conclude([outcome], (EVIL, 0), all_errors=False, error=TimeoutError("timed out"))
    assert error.__notes__ == [f"{TOLD}:80 from {TOLD}:0: {TOLD} after 1 s"]


def test_findings_of_the_doctor():
    @rule("a", "b", "info")
    def cases(_):
        yield Case(EVIL, (EVIL,))

    (finding,) = cases(None)
    assert (finding.detail, finding.advice) == (TOLD, (TOLD,))


def test_descriptors_that_the_guard_names(tmp_path):
    path = tmp_path / "a\x1b[2J\nb"
    with pytest.raises(AssertionError) as caught, guard():
        file = path.open("w")
    file.close()
    assert r"a\x1b[2J\x0ab" in str(caught.value)


class TestCommandLine:
    def test_lines(self):
        file = io.StringIO()
        stream = Stream(file)
        stream.line("a", (EVIL, "red"))
        stream.table(["name"], [[EVIL]])
        assert file.getvalue() == f"a{TOLD}\nname\n{TOLD}\n"

    def test_what_is_live(self, monkeypatch):
        pytest.importorskip("rich", reason="what is live is rich's")
        monkeypatch.setenv("TERM", "xterm")

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        file = Terminal()
        stream = Stream(file)
        with stream.live(lambda: [[EVIL]]), stream.progress(EVIL, 1) as advance:
            advance()
        # rich does not wait for its thread that draws.
        wait_until(lambda: not [thread for thread in threading.enumerate() if "Refresh" in type(thread).__name__])
        assert "\x1b[2J" not in file.getvalue()
        assert not re.search("[\u202e\u2028\u2029\u200b\x9b]", file.getvalue())

    def test_wrong_usage(self, capsys):
        with pytest.raises(SystemExit):
            _parser.parse(["connect", ":1", EVIL])
        told = capsys.readouterr().err
        assert TOLD in told
        assert "\x1b" not in told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0000004, "0 ms"),
        (0.000001, "0.001 ms"),
        (0.00014249, "0.142 ms"),
        (0.00999, "9.99 ms"),
        (0.01, "10 ms"),
        (0.2504, "250 ms"),
        (0.99949, "999 ms"),
        (0.9995, "1 s"),
        (1, "1 s"),
        (1.25, "1.25 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min"),
        (90, "1 min 30 s"),
        (924.6, "15 min 25 s"),
        (3599.4, "59 min 59 s"),
        (3599.5, "1 h"),
        (7875, "2 h 11 min"),
        (86399, "24 h"),
        (10**9, "277777 h 47 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 1e9))
def test_a_duration_is_the_time_to_three_digits_or_a_minute(seconds):
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    told = sum(float(amount) * units[unit] for amount, unit in zip(words[::2], words[1::2], strict=True))
    assert told == pytest.approx(seconds, rel=0.009, abs=1e-6)


def test_durations_have_one_writer():
    """A time in an f-string is a call of `duration`; the sum of the kernel's settings stays as they are written."""
    own = re.compile(r"\}\s?(?:µs|us|ms|s|sec|seconds|min|h)\b(?!')|:\.\d?[fg]\}\s?(?:µs|ms|s)\b")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "safeconnect").rglob("*.py"))
        if path.name != "_text.py"
        for line in path.read_text().splitlines()
        if own.search(line) and not re.search(r"raise (?:Type|Value)Error|ArgumentTypeError|expected ", line)
    ]
    assert [each for each in found if "sum_ =" not in each] == []

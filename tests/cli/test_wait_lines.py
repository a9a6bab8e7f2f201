"""The lines of ``safeconnect wait``: live ones in a terminal, and a few in a log."""

import re

import pytest

from safeconnect import testing
from safeconnect.cli import _wait

from ..support import linux_only
from .terminal import UNMEASURED, WITHOUT_EXTRAS, Terminal, call, start, written

pytestmark = linux_only


class TestWithoutATerminal:
    """A line when waiting begins, one every ten seconds, one at the end, for each to be found in a log."""

    @pytest.mark.parametrize(
        ("options", "goal", "limit"),
        [
            (("-t", "90"), "for {0}, {1}", "for up to 1 min 30 s"),
            (("-t", "0"), "for {0}, {1}", "with one try"),
            (("--forever", "--any"), "for any of {0}, {1}", "without a limit"),
        ],
    )
    def test_how_it_begins(self, up, options, goal, limit):
        with testing.echo() as other:
            told = call("wait", up, written(other.address), *options).stderr
        assert told.startswith(f"waiting {goal.format(up, written(other.address))}, {limit}")

    def test_how_it_begins_for_one_that_is_to_be_gone(self, down):
        assert call("wait", down, "--gone", "--any").stderr.startswith(
            f"waiting until nobody listens at {down}, for up "
        )

    def test_a_line_now_and_then(self, monkeypatch, down):
        assert _wait.REPORT_SECONDS == 10
        monkeypatch.setattr(_wait, "REPORT_SECONDS", 0.01)
        with testing.refused() as closed:
            other = written(closed.address)
            first, *others = call("wait", down, other, "-t", "1").stderr.splitlines()
        seen = r"waiting for [\d.]+ \w+, \d+ (try|tries), the last: refused"
        reports = [line for line in others if re.fullmatch(f"{down} {seen}; {other} {seen}", line)]
        assert first.startswith(f"waiting for {down}, {other}, for up to ")
        assert reports
        ends = [line.partition(" was not up")[0] for line in others if " was not up " in line]
        assert sorted(ends) == sorted([down, other])

    def test_only_of_those_that_are_waited_for(self, monkeypatch, up, down):
        monkeypatch.setattr(_wait, "REPORT_SECONDS", 0.01)
        told = call("wait", up, down, "-t", "0.5").stderr
        assert f"\n{down} waiting for " in told
        assert f"{up} waiting" not in told.partition("is up after")[2]

    def test_in_a_pipe(self, down):
        with start("wait", down, "--forever", **UNMEASURED) as waiting:
            assert waiting.stderr.readline() == f"waiting for {down}, without a limit\n"
            waiting.terminate()
            printed, told = waiting.communicate()
        assert (waiting.returncode, printed) == (143, "")
        assert "was not up" not in told

    def test_quiet(self, monkeypatch, down):
        monkeypatch.setattr(_wait, "REPORT_SECONDS", 0.01)
        assert call("wait", down, "-q", "-t", "0.3").stderr == ""


class TestInATerminal:
    def test_a_live_line_for_each_target(self, down):
        pytest.importorskip("rich", reason="the live lines are rich's")
        with testing.late_listener() as late:
            address = written(late.address)
            with Terminal("wait", down, address, "--any") as terminal:
                shown = terminal.see(f"{address} waiting for")
                assert f"{down} waiting for" in shown
                assert ", the last: refused" in terminal.see("the last: refused")
                late.start()
                assert terminal.end() == 0
            assert "\x1b[" in terminal.shown
            assert f"waiting for {down}" not in terminal.text
            assert f"{address} is up after" in terminal.text

    @pytest.mark.parametrize(("name", "codes"), [("NO_COLOR", False), ("TERM", True)])
    def test_colours(self, up, name, codes):
        pytest.importorskip("rich", reason="the colours are rich's")
        with Terminal("wait", up, **{name: "xterm"}) as terminal:
            assert terminal.end() == 0
        assert ("\x1b[32m" in terminal.shown) is codes

    def test_colours_without_a_terminal_where_they_are_wanted(self, up):
        pytest.importorskip("rich", reason="the colours are rich's")
        told = call("wait", up, FORCE_COLOR="1").stderr
        assert "\x1b[32mis up\x1b[0m" in told
        assert "\x1b[?25l" not in told, "it moves"

    def test_nothing_moves_without_rich(self, up):
        with Terminal("wait", up, program=WITHOUT_EXTRAS) as terminal:
            assert terminal.end() == 0
        assert terminal.shown == terminal.text.replace("\n", "\r\n")
        assert terminal.text.startswith(f"waiting for {up}, for up to ")
        assert f"{up} is up after" in terminal.text

    def test_ctrl_c(self, down):
        with Terminal("wait", down, "--timeout", "none", "-v", "--", "echo", "started", **UNMEASURED) as terminal:
            terminal.see("Connection refused")
            terminal.press(b"\x03")
            assert terminal.end() == 130
        assert "interrupted" in terminal.text
        assert "Traceback" not in terminal.text
        assert "\nstarted" not in terminal.text

"""``safeconnect connect``: one connect as a race in time, or many as percentiles."""

import json
import re
import socket

import pytest

from safeconnect import cli, testing
from safeconnect.cli._connect import Span, lines, spans
from safeconnect.events import Abandon, Connected, Failed, Keep, Resolve, Resolved, ResolveFailed, Start, Tick

from ..support import linux_only
from .terminal import PROGRAM, UNMEASURED, WITHOUT_EXTRAS, Terminal, call, run, written

V6, V4 = ("::1", 80, 0, 0), ("127.0.0.1", 80)
CANDIDATES = tuple((family, socket.SOCK_STREAM, 6, "", name) for family, name in ((10, V6), (2, V4)))
REFUSED = ConnectionRefusedError(111, "Connection refused")


class TestSpans:
    def test_a_race_with_a_winner(self):
        moments = [
            (0.0, Resolve("both")),
            (0.1, Resolved("both", CANDIDATES)),
            (0.1, Start(1, CANDIDATES[0])),
            (0.35, Tick()),
            (0.35, Start(2, CANDIDATES[1])),
            (0.4, Connected(2, ("127.0.0.1", 5), V4)),
            (0.4, Abandon(1)),
            (0.4, Keep(2)),
        ]
        assert spans(moments, 0.5) == [
            Span("lookup", 0.0, 0.1, "2 addresses", "looked up"),
            Span("[::1]:80", 0.1, 0.4, "given up: another was faster", "left"),
            Span("127.0.0.1:80", 0.35, 0.4, "connected from 127.0.0.1:5", "won"),
        ]

    def test_what_failed_and_what_met_itself(self):
        moments = [
            (0.0, Start(1, CANDIDATES[0])),
            (0.1, Failed(1, REFUSED)),
            (0.1, Start(2, CANDIDATES[1])),
            (0.2, Connected(2, V4, V4)),
            (0.2, Abandon(2, reset=True)),
        ]
        assert [(span.outcome, span.kind) for span in spans(moments, 0.5)] == [
            (str(REFUSED), "lost"),
            ("met itself", "lost"),
        ]

    def test_second_attempts_and_what_took_their_place(self):
        moments = [
            (0.0, Start(1, CANDIDATES[1])),
            (6.0, Start(2, CANDIDATES[1], beside=1)),
            (12.0, Abandon(2, replaced=True)),
            (12.0, Start(3, CANDIDATES[1], beside=1)),
            (12.1, Connected(3, ("127.0.0.1", 5), V4)),
            (12.1, Abandon(1)),
            (12.1, Keep(3)),
        ]
        second = "127.0.0.1:80, second attempt"
        assert spans(moments, 12.1) == [
            Span("127.0.0.1:80", 0.0, 12.1, "given up: another was faster", "left"),
            Span(second, 6.0, 12.0, "unanswered, and replaced by another", "left"),
            Span(second, 12.0, 12.1, "connected from 127.0.0.1:5", "won"),
        ]

    def test_what_has_no_end_lasts_until_it_is_over(self):
        moments = [(0.0, Resolve("AAAA")), (0.0, Resolve("A")), (0.2, ResolveFailed("A", OSError("no name server")))]
        first, second = spans([*moments, (0.3, Start(1, CANDIDATES[0]))], 0.5)[:2]
        assert (first.label, first.ended, first.outcome) == ("lookup of IPv6", 0.5, "unanswered when it was over")
        assert (second.label, second.ended, second.outcome) == ("lookup of IPv4", 0.2, "no name server")


class TestLines:
    def test_bars_lie_where_their_time_was(self):
        drawn = lines([Span("a", 0.0, 0.25, "x"), Span("bb", 0.25, 1.0, "y"), Span("c", 1.0, 1.0, "z")], 20)
        bars = [line[1][0] for line in drawn[:-1]]
        assert bars == ["━━━━━               ", "     ━━━━━━━━━━━━━━━", "                   ━"]
        assert {len(bar) for bar in bars} == {20}
        assert drawn[1][0] == "bb │"
        assert drawn[0][2] == "│ x, 250 ms"
        assert drawn[-1] == ["   0                  1 s"]

    def test_nothing_took_time(self):
        assert lines([], 12) == [[" 0         0 ms"]]
        ((_, (bar, _), _), _) = lines([Span("a", 0.0, 0.0)], 12)
        assert bar == "━" + " " * 11


class TestOnce:
    def test_connected(self, up):
        done = call("connect", up)
        assert (done.returncode, done.stderr) == (0, "")
        first, second, scale, connected, *facts, ended = done.stdout.splitlines()
        assert re.match(r"lookup +│ *━+ *│ 1 address, ", first)
        assert re.match(rf"{up} +│ *━+ *│ connected from 127.0.0.1:\d+, ", second)
        assert re.fullmatch(r" +0 +[\d.]+ ms", scale)
        assert re.fullmatch(rf"connected after [\d.]+ ms, 127.0.0.1:\d+ to {up}", connected)
        assert ended == "ended: clean"
        assert len(facts) > 5 or not facts

    @linux_only
    def test_what_the_kernel_knows_of_it(self, up):
        assert re.search(r"^  state +ESTABLISHED$", call("connect", up).stdout, re.MULTILINE)

    def test_what_the_server_had_to_say_is_counted(self):
        with testing.serve(lambda peer: (peer.sendall(b"220 ready"), peer.recv())) as server:
            printed = call("connect", written(server.address)).stdout
        assert printed.endswith("ended: clean, 9 bytes not read\n")

    def test_refused(self, down):
        done = run("connect", down)
        assert done.returncode == 1
        assert re.search(r"^not connected after [\d.]+ ms: \[Errno 111\] ", done.stdout, re.MULTILINE)

    def test_not_in_time(self, hole):
        done = call("connect", written(hole), "--timeout", "0.2")
        assert done.returncode == 124
        assert "unanswered when it was over" in done.stdout

    def test_json(self, up, down):
        result = json.loads(call("connect", up, "--json").stdout)
        assert list(result) == [
            *("target", "connected", "seconds", "local", "peer", "error", "notes", "race", "tcp_info", "exit_status")
        ]
        assert (result["target"], result["peer"], result["connected"], result["exit_status"]) == (up, up, True, 0)
        assert [each["kind"] for each in result["race"]] == ["looked up", "won"]
        failed = json.loads(call("connect", down, "--json").stdout)
        assert (failed["connected"], failed["exit_status"], failed["tcp_info"]) == (False, 1, None)
        assert failed["error"] == "[Errno 111] Connection refused"

    def test_a_race_that_the_second_address_wins(self, capsys, hole):
        with testing.dual_stack(v6=testing.blackhole, v4=testing.echo) as host:
            assert cli.main(["connect", f"{host.name}:{host.port}", "--happy-eyeballs-delay", "0.05"]) == 0
        first, second, third, *_ = capsys.readouterr().out.splitlines()
        assert "2 addresses" in first
        assert re.match(r"\[::1\]:\d+ +│ *━+ *│ given up: another was faster, ", second)
        assert re.match(r"127.0.0.1:\d+ +│ +━+ *│ connected from ", third)


class TestOften:
    def test_percentiles(self, up):
        done = call("connect", up, "--repeat", "20")
        assert (done.returncode, done.stderr) == (0, "")
        title, names, figures = done.stdout.splitlines()
        assert title == f"{up}: 20 of 20 connected"
        assert names.split() == ["min", "p50", "p90", "p99", "max", "mean"]
        assert len(re.findall(r"[\d.]+ (?:ms|s)\b", figures)) == 6

    def test_json(self, up, down):
        result = json.loads(call("connect", up, "--repeat", "3", "--json").stdout)
        order = [result[f"{name}_seconds"] for name in ("min", "p50", "p90", "p99", "max")]
        assert order == sorted(order)
        assert (result["tries"], result["connected"], result["failures"]) == (3, 3, {})
        failed = json.loads(call("connect", down, "--repeat", "3", "--json").stdout)
        assert (failed["connected"], failed["exit_status"]) == (0, 1)
        assert failed["failures"] == {"[Errno 111] Connection refused": 3}

    def test_once_is_enough_for_percentiles(self, up):
        result = json.loads(call("connect", up, "--repeat", "1", "--json").stdout)
        assert result["min_seconds"] == result["p99_seconds"] == result["max_seconds"]

    def test_some_fail(self, down):
        done = call("connect", down, "--repeat", "7")
        assert done.returncode == 1
        assert done.stdout == f"{down}: 0 of 7 connected\n7 x [Errno 111] Connection refused\n"


class TestInATerminal:
    @pytest.mark.parametrize("program", [PROGRAM, WITHOUT_EXTRAS])
    def test_the_same_words(self, up, program):
        with Terminal("connect", up, program=program) as terminal:
            assert terminal.end() == 0
        assert re.search(r"│ connected from 127.0.0.1:\d+, ", terminal.text)
        assert terminal.text.endswith("ended: clean\n")

    def test_how_far_it_is(self, up):
        pytest.importorskip("rich", reason="the bar is rich's")
        with Terminal("connect", up, "--repeat", "200") as terminal:
            terminal.see(f"connecting to {up}")
            assert terminal.end() == 0
        assert "200 of 200 connected" in terminal.text

    def test_ctrl_c_tells_the_figures_so_far(self, up):
        pytest.importorskip("rich", reason="without it nothing is shown before the end")
        with Terminal("connect", up, "--repeat", "1000000", **UNMEASURED) as terminal:
            terminal.see("connecting to")
            terminal.see("0:0")  # what is left of the time: it is under way, and loads no more modules
            terminal.press(b"\x03")
            assert terminal.end() == 130
        assert re.search(rf"{up}: ([\d,]+) of \1 connected\n", terminal.text)
        assert "Traceback" not in terminal.text

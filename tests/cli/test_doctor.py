"""``safeconnect doctor``: the facts and findings as a person and a program get them."""

import json
import re

import pytest

from safeconnect import testing
from safeconnect.cli._doctor import UNKNOWN, sections
from safeconnect.doctor.facts import Host, Listening, Names, Snapshot, SourcePorts, SourceUse, Table, Timers

from .. import namespace, support
from ..support import linux_only, wait_until
from .terminal import UNMEASURED, Terminal, call, run, written

pytestmark = linux_only

HEADINGS = ["machine", "source ports", "names", "timers", "servers here", "connections", "findings"]


def headings(text):
    return re.findall(r"^(\w.*)$", text, re.MULTILINE)


def without_figures(text):
    return re.sub(r"[\d.,]+", "n", text)


class TestWhatItPrints:
    def test_facts_and_findings(self):
        done = run("doctor")
        assert done.stderr == ""
        assert headings(done.stdout) == HEADINGS
        assert done.returncode == int("  error: " in done.stdout)

    def test_a_server_that_answers(self):
        with testing.echo() as server:
            address = written(server.address)
            done = call("doctor", address)
        assert headings(done.stdout) == [*HEADINGS[:-1], f"target {address}", "findings"]
        assert re.search(rf"^  {address} +connected after ", done.stdout, re.MULTILINE)
        assert re.search(rf"^  listens here +{address}, .*process", done.stdout, re.MULTILINE)
        assert "[target-answers]" in done.stdout

    def test_nobody_answers(self):
        with testing.refused() as closed:
            done = call("doctor", written(closed.address))
        assert done.returncode == 1
        assert "  error: The target refuses connects [target-refused]\n" in done.stdout
        assert re.search(r"^  listens here +nobody$", done.stdout, re.MULTILINE)

    def test_silence(self):
        with testing.blackhole() as hole:
            done = call("doctor", written(hole.address), "--timeout", "0.3")
        assert done.returncode == 1
        assert re.search(rf"^  {written(hole.address)} +silent after ", done.stdout, re.MULTILINE)

    def test_json(self):
        with testing.refused() as closed:
            done = call("doctor", written(closed.address), "--json")
        report = json.loads(done.stdout)
        assert list(report) == ["worst", "findings", "snapshot", "exit_status"]
        assert (report["worst"], report["exit_status"], done.returncode) == ("error", 1, 1)
        assert report["findings"][0]["code"] == "target-refused"
        assert report["snapshot"]["target"]["attempts"][0]["outcome"] == "refused"

    def test_without_the_extras_it_says_the_same(self):
        code = """
            from tests.cli.terminal import WITHOUT_EXTRAS, call, run
            print(run("doctor", program=WITHOUT_EXTRAS).stdout, "---", call("doctor").stdout, sep="\\n")
        """
        plain, _, rich = namespace.run(code).partition("---\n")
        assert without_figures(plain) == without_figures(rich)
        assert headings(plain) == HEADINGS


class TestBrokenMachines:
    def test_a_tiny_range(self):
        code = """
            from tests.cli.terminal import call
            done = call("doctor")
            print(done.returncode)
            print(done.stdout)
        """
        status, *lines = namespace.run(code, ports="40000 40003").splitlines()
        assert status == "1"
        assert "  ip_local_port_range" in {line[:21] for line in lines}
        assert any(re.fullmatch(r"  error: .*\[range-tiny\]", line) for line in lines), lines


class TestInATerminal:
    def test_colours(self):
        pytest.importorskip("rich", reason="the colours are rich's")
        with testing.refused() as closed, Terminal("doctor", written(closed.address)) as terminal:
            assert terminal.end() == 1
        assert "\x1b[1;31merror\x1b[0m" in terminal.shown
        assert "target-refused" in terminal.text

    def test_ctrl_c(self):
        pytest.importorskip("rich", reason="without it nothing is shown before the end")
        with testing.blackhole() as hole:
            target = written(hole.address)
            there = len(support.tcp_sockets(hole.port, remote=True))
            with Terminal("doctor", target, "--timeout", "50", **UNMEASURED) as terminal:
                terminal.see(f"examining {target}")
                # The doctor is at the target now, and loads no more modules: an interrupted import prints its own line.
                wait_until(lambda: len(support.tcp_sockets(hole.port, remote=True)) > there)
                terminal.press(b"\x03")
                assert terminal.end() == 130
        assert "Traceback" not in terminal.text


class TestFacts:
    def test_a_platform_that_tells_nothing(self):
        bare = Snapshot(Host("plan9", "4"), SourcePorts(), Timers(), Listening(), Names(), None, "there is no table")
        found = dict(sections(bare))
        assert list(found) == HEADINGS[:-1]
        assert ("all", f"{UNKNOWN}: there is no table") in found["connections"]
        assert {text for title in ("source ports", "timers", "servers here") for _, text in found[title]} == {UNKNOWN}

    def test_the_busiest_destinations(self):
        uses = tuple(SourceUse("127.0.0.1", ("127.0.0.1", port), 9000, 10, 28232) for port in range(1, 9))
        table = Table({"TIME_WAIT": 10, "ESTABLISHED": 1234}, (), uses)
        snapshot = Snapshot(Host("linux", "6"), SourcePorts(), Timers(), Listening(), Names(), table)
        first, *others = dict(sections(snapshot))["connections"]
        assert first == ("all", "1,234 ESTABLISHED, 10 TIME_WAIT")
        assert others[0] == ("127.0.0.1 to 127.0.0.1:1", "9,000 of 28,232 source ports, 32 %")
        assert len(others) == 5

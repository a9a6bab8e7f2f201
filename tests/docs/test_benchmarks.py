"""The command that runs the benchmarks, and the comparison of counts in the gate."""

import copy
import importlib
import re
import subprocess
import sys

import pytest

from ..namespace import ROOT

BENCHMARKS = ROOT / "benchmarks"
MODULES = ("counts", "count_cases", "measure")

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="the benchmarks are not beside these tests")


@pytest.fixture(scope="module")
def counts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("counts")
    for name in MODULES:
        sys.modules.pop(name, None)


def case(instructions, calls, futex=0.0):
    return {"instructions": instructions, "system_calls": calls, "futex": futex}


@pytest.fixture
def written():
    cases = {
        "127.0.0.1": {"safeconnect": case(70, 4.02), "stdlib": case(100, 2.0)},
        "trio: a stream": {"safeconnect": case(200, 10.0, 2.0), "trio.open_tcp_stream": case(1000, 13.0)},
    }
    return {"packages": {"trio": "0.35.0"}, "results": {"build": "3.13.0, GCC", "cases": cases}}


def ours(written, name):
    return next(iter(written["results"]["cases"][name].values()))


class TestCounts:
    def test_the_same_is_no_fault(self, counts, written):
        assert list(counts.faults(written, written)) == []

    def test_three_per_cent_more_instructions(self, counts, written):
        now = copy.deepcopy(written)
        ours(now, "127.0.0.1")["instructions"] = 72.05
        assert list(counts.faults(written, now)) == []
        ours(now, "127.0.0.1")["instructions"] = 72.2
        (fault,) = counts.faults(written, now)
        assert fault == "127.0.0.1, stdlib: 0.722 x the instructions, was 0.700 (+3.1%)"

    def test_what_slows_both_is_no_fault(self, counts, written):
        now = copy.deepcopy(written)
        for each in now["results"]["cases"]["127.0.0.1"].values():
            each["instructions"] *= 2
            each["system_calls"] += 1
        assert list(counts.faults(written, now)) == []

    @pytest.mark.parametrize(("where", "what"), [("results", "build"), ("packages", "trio")])
    def test_another_build_has_ten_per_cent(self, counts, written, where, what):
        now = copy.deepcopy(written)
        now[where][what] = "another"
        ours(now, "trio: a stream")["instructions"] *= 1.09
        assert list(counts.faults(written, now)) == []
        ours(now, "trio: a stream")["instructions"] *= 1.02
        assert len(list(counts.faults(written, now))) == 1

    def test_another_trio_does_not_excuse_a_plain_connect(self, counts, written):
        now = copy.deepcopy(written)
        now["packages"]["trio"] = "0.36.0"
        ours(now, "127.0.0.1")["instructions"] *= 1.05
        assert len(list(counts.faults(written, now))) == 1

    def test_one_system_call_more(self, counts, written):
        now = copy.deepcopy(written)
        ours(now, "127.0.0.1")["system_calls"] += 1
        (fault,) = counts.faults(written, now)
        assert fault == "127.0.0.1, stdlib: +3.02 system calls beside its peer, was +2.02"

    def test_more_wakes_than_chance_makes(self, counts, written):
        now = copy.deepcopy(written)
        ours(now, "trio: a stream")["futex"] += counts.WAKES
        assert list(counts.faults(written, now)) == []
        ours(now, "trio: a stream")["futex"] += 1
        assert len(list(counts.faults(written, now))) == 1

    def test_a_case_that_was_not_committed(self, counts, written):
        now = copy.deepcopy(written)
        now["results"]["cases"]["new"] = now["results"]["cases"]["127.0.0.1"]
        assert list(counts.faults(written, now)) == ["new, stdlib: not in the committed counts"]

    @pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
    def test_the_committed_ones_can_be_compared(self, counts, version):
        committed = counts.json.loads((BENCHMARKS / f"results/counts-{version}.json").read_text())
        assert list(counts.faults(committed, committed)) == []
        assert "127.0.0.1, stdlib" in dict(counts.compared(committed["results"]["cases"]))


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_readme_names_each_benchmark():
    told = re.findall(r"^\| `(\w+)\.py` \|", (BENCHMARKS / "README.md").read_text(), re.MULTILINE)
    names = re.search(r"one of ([\w\s,]+?)\s+options:", run("--help").stdout)[1]
    assert sorted(told) == re.split(r",\s+", names.strip())


def test_an_unknown_one_is_refused():
    done = run("conect")
    assert done.returncode == 2
    assert "no such benchmark: conect; there are asynchronous, " in done.stderr

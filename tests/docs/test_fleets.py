"""The page on fleets shows what its programs do, and what the simulation with their settings gives."""

import importlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from ..namespace import ROOT
from ..support import linux_only

EXAMPLES = ROOT / "docs/examples"
PAGE = ROOT / "docs/fleets.md"

pytestmark = pytest.mark.skipif(
    not (PAGE.exists() and (ROOT / "benchmarks").exists()), reason="docs and benchmarks are not beside these tests"
)


@pytest.fixture(scope="module")
def fleet():
    before = sys.path.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("fleet")
    sys.path[:] = before
    for name in ("fleet", "fleet_settings", "storm_model"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


@pytest.fixture(scope="module")
def celery_table(fleet):
    return fleet.celery_table()


class TestSimulation:
    def test_of_celery(self, celery_table, page):
        assert celery_table in page, "python benchmarks/fleet.py prints it"

    def test_of_dask(self, fleet, page):
        assert fleet.dask_table() in page, "python benchmarks/fleet.py prints it"

    def test_the_text_repeats_the_table(self, celery_table, page):
        endless, ours = (line.split(" | ") for line in celery_table.splitlines()[-2:])
        text = " ".join(page.split())
        assert f"{float(endless[3]) / float(ours[3]):.1f} times the attempts" in text
        assert f"{int(ours[1].replace(',', '')) / 10_000:.1f} attempts per worker" in text

    def test_everybody_comes_back_once(self, fleet):
        scene = replace(fleet.SCENE, clients=300, rate=100, queue=10, outage=20)
        for connector in (None, fleet.fleet_settings.for_celery(), fleet.fleet_settings.for_dask()):
            for has_tasks in (False, True):
                figures = fleet.Fleet(scene, connector, has_tasks=has_tasks).run().figures()
                assert figures["back"] == 300
                assert figures["most_accepted_per_s"] <= 100

    def test_celery_pauses_for_two_seconds_more_each_time(self, fleet):
        scene = replace(fleet.SCENE, clients=1, outage=60, noticed=0)
        storm = fleet.Fleet(scene, None, has_tasks=False).run()
        assert [second for second, count in storm.attempts.items() if count] == [0, 2, 6, 12, 20, 30, 42, 56, 72]

    def test_dask_runs_a_task_again_at_once(self, fleet):
        scene = replace(fleet.SCENE, clients=1, outage=100, noticed=0)
        storm = fleet.Fleet(scene, None, has_tasks=True).run()
        assert storm.lost > 3
        assert storm.figures()["failed"] == 4 * storm.lost, "a task is tried once, and three times again"

    def test_each_process_has_a_budget(self, fleet):
        connector = fleet.fleet_settings.for_celery()
        storm = fleet.Fleet(replace(fleet.SCENE, clients=20), connector, has_tasks=False)
        assert len(set(storm._budgets)) == 20
        assert connector.retry.budget not in storm._budgets

    def test_a_budget_ends_the_retries_of_a_connect(self, fleet):
        scene = replace(fleet.SCENE, clients=1, outage=3600, noticed=0)
        storm = fleet.Fleet(scene, fleet.fleet_settings.for_celery(), has_tasks=False).run()
        late = sum(count for second, count in storm.attempts.items() if 1800 <= second < 3600)
        assert late == 60, "an attempt each 30 s, which is Celery's pause"

    def test_tasks_survive_two_minutes(self, fleet):
        scene = replace(fleet.SCENE, clients=1000, rate=100, queue=51, outage=120)
        assert fleet.Fleet(scene, fleet.fleet_settings.for_dask(), has_tasks=True).run().lost == 0


class TestSettings:
    def test_the_page_shows_the_file(self, page):
        (shown,) = re.findall(r"^```python\n(from safeconnect import Backoff.*?)^```$", page, re.MULTILINE | re.DOTALL)
        assert (EXAMPLES / "fleet_settings.py").read_text().endswith(shown)

    @pytest.mark.parametrize("name", ["for_celery", "for_dask"])
    def test_nobody_shares_a_budget(self, fleet, name):
        make = getattr(fleet.fleet_settings, name)
        first, second = make(), make()
        first.retry.budget.failed()
        sent = pickle.loads(pickle.dumps(first))
        budgets = [connector.retry.budget for connector in (first, second, sent)]
        assert len(set(budgets)) == 3
        assert budgets[0].level < budgets[1].level == budgets[2].level


def needs(*packages, program=None):
    missing = [package for package in packages if find_spec(package) is None]
    missing += [program] if program and shutil.which(program) is None else []
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize(
    ("program", "names"),
    [
        pytest.param(
            "celery_workers.py", ["first", "second", "third"], marks=needs("celery", "redis", program="redis-server")
        ),
        pytest.param("dask_workers.py", ["0", "1", "2"], marks=needs("distributed")),
    ],
)
def test_workers_come_back(program, names, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, str(EXAMPLES / program)]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    before, *refused, after = done.stdout.splitlines()
    assert sorted(refused) == [f"{name} refused" for name in names]
    assert before.removeprefix("before ") == after.removeprefix("after ")
    assert sorted(re.findall(r"'(\w+)':", before)) == names

"""docs/testing-recipes.md: its tests pass, and its tables are what clients really do."""

import inspect
import os
import re

import pytest

from safeconnect import pytest_plugin, testing

from .. import support

outcomes = pytest.importorskip(
    "tests.testing.outcomes",
    reason="the recipes try httpx, redis-py, requests and trio, which are not all installed",
    exc_type=ImportError,
)
pytest_plugins = "pytester"
pytestmark = pytest.mark.skipif(not outcomes.PAGE.exists(), reason="the documentation is not beside these tests")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"dual_stack": support.needs_ipv6}


def marks(name):
    slow = [pytest.mark.slow] if outcomes.SCENES[name].timeout > 1 else []
    return [*slow, *([NEEDS[name]] if name in NEEDS else [])]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in outcomes.SCENES])
def test_the_page_says_what_clients_do(name, request):
    if isinstance(outcomes.SCENES[name], outcomes.Inside):
        request.getfixturevalue("available")
    expected = outcomes.tables()[name]
    assert set(expected) == set(outcomes.SCENES[name].clients)
    assert outcomes.outcomes_in_a_process(name, expected) == expected


def test_another_outcome_is_noticed():
    expected = outcomes.tables()["refused"]
    assert outcomes.outcomes_in_a_process("silent", None) != expected


@pytest.mark.slow
def test_its_tests_pass(pytester, monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    blocks = BLOCK.findall(outcomes.PAGE.read_text())
    (pytester.path / "test_recipes.py").write_text("\n\n".join(blocks))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    found = done.parseoutcomes()
    wanted = sum(block.count("\ndef test_") + block.startswith("def test_") for block in blocks)
    assert found.get("passed", 0) + found.get("skipped", 0) == wanted
    if testing.namespaces_unavailable() is None and support.has_ipv6():
        assert "skipped" not in found


def test_each_fault_has_a_recipe():
    headings = re.findall(r"^## .*: `(\w+)`$", outcomes.PAGE.read_text(), re.MULTILINE)
    faults = set(pytest_plugin._FAULTS) - {"echo"} | {"serve", "names", "guard"}
    assert faults <= set(headings)
    assert all(inspect.isroutine(getattr(testing, name)) for name in headings)

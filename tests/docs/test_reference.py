"""The reference has every public name, once."""

import importlib
import inspect
import pkgutil
import re
from collections import Counter

import pytest

import safeconnect.integrations
import safeconnect.typing
from safeconnect import pytest_plugin

from ..namespace import ROOT

PAGES = sorted((ROOT / "docs/reference").glob("*.md"))
NAMED = Counter(
    name
    for page in PAGES
    for name in re.findall(r"^\.\. auto(?:class|exception|function|data):: ([\w.]+)", page.read_text(), re.MULTILINE)
)
INTEGRATIONS = [name for _, name, _ in pkgutil.iter_modules(safeconnect.integrations.__path__) if name[0] != "_"]

pytestmark = pytest.mark.skipif(not PAGES, reason="the documentation is not beside these tests")


@pytest.mark.parametrize("name", ["", ".asyncio", ".trio", ".anyio", ".testing", ".integrations", ".doctor", ".events"])
def test_all_names_of_a_module_are_there(name):
    module = importlib.import_module(f"safeconnect{name}")
    assert missing(f"safeconnect{name}", module.__all__) == []


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_all_names_of_an_integration_are_there(name):
    module = pytest.importorskip(f"safeconnect.integrations.{name}", reason="it needs a client that is not installed")
    own = [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and callable(value) and inspect.getmodule(value) is module
    ]
    assert own
    assert missing(module.__name__, own) == []


def test_all_fixtures_are_there():
    fixtures = [name for name in vars(pytest_plugin) if name.startswith("safeconnect_")]
    assert fixtures
    assert missing("safeconnect.pytest_plugin", fixtures) == []


def test_the_types_there_are_those_of_the_module():
    page = (ROOT / "docs/reference/types.md").read_text()
    documented = re.findall(r"^\.\. py:type:: (\w+)", page, re.MULTILINE)
    assert sorted(documented) == safeconnect.typing.__all__ == sorted(safeconnect.typing.__all__)


def test_no_name_is_there_twice():
    assert {name for name, count in NAMED.items() if count > 1} == set()


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_name_there_exists(name):
    if name.startswith("safeconnect.integrations."):
        pytest.importorskip(name.rpartition(".")[0], reason="it needs a client that is not installed")
    assert pkgutil.resolve_name(name).__doc__


def missing(module, names):
    return [name for name in names if NAMED[f"{module}.{name}"] != 1]

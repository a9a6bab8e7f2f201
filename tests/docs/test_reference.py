"""The reference has every public name, once, as its docstring is now."""

import importlib
import inspect
import pkgutil
import re
import runpy
from collections import Counter

import pytest

import safeconnect.integrations
import safeconnect.typing
from safeconnect import pytest_plugin

from ..namespace import ROOT
from .test_links import anchors_of

SCRIPT = ROOT / "docs/_reference.py"
Reference = runpy.run_path(str(SCRIPT))["Reference"] if SCRIPT.exists() else None
WRITTEN = Reference() if Reference else None
PAGES = WRITTEN.pages if WRITTEN else {}
NAMED = Counter(WRITTEN.names if WRITTEN else ())
INTEGRATIONS = [name for _, name, _ in pkgutil.iter_modules(safeconnect.integrations.__path__) if name[0] != "_"]

pytestmark = pytest.mark.skipif(not PAGES, reason="the documentation is not beside these tests")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_as_the_docstrings_are(page):
    for name in INTEGRATIONS if page == "integrations.md" else ():
        pytest.importorskip(f"safeconnect.integrations.{name}", reason="it needs a client that is not installed")
    assert WRITTEN.renewed(page) == PAGES[page], "python docs/_reference.py renews the pages"


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


def test_all_types_are_there():
    assert missing("safeconnect.typing", safeconnect.typing.__all__) == []


def test_no_name_is_there_twice():
    assert {name for name, count in NAMED.items() if count > 1} == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_link_to_a_name_leads_to_its_heading(page):
    """`names` and `Names` have one anchor but for a number, which depends on what stands first."""
    found = dict(anchors_of(PAGES[page]))
    links = {name: link.partition("#")[2] for name, link in WRITTEN.links.items() if link.startswith(f"{page}#")}
    short = {name: name.rpartition(".")[2] for name in links}
    assert {name: found[links[name]] for name in links if not re.search(rf"\b{short[name]}`", found[links[name]])} == {}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_name_there_exists(name):
    if name.startswith("safeconnect.integrations."):
        pytest.importorskip(name.rpartition(".")[0], reason="it needs a client that is not installed")
    pkgutil.resolve_name(name)


def test_an_entry_has_all_that_a_reader_looks_for():
    text = PAGES["connect.md"]
    entry = text[text.index("### `create_connection`") : text.index("### `Connector`")]
    for part in (
        "    timeout: float | None = ...,\n",
        "[`Address`](types.md#address)",
        "**Parameters**\n\n- `address`: ",
        "**Raises**\n\n- `ConnectionRefusedError`: ",
        "[`SelfConnectError`](errors.md#selfconnecterror)",
        "(https://docs.python.org/3/library/socket.html#socket.create_connection)",
        "```pycon\n>>> with socket.create_server(",
    ):
        assert part in entry


class Documented:
    """Refers to `nothing_that_exists`."""


def test_a_reference_to_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(safeconnect, "Connector", Documented)
    with pytest.raises(LookupError, match="refers to `nothing_that_exists`, which is neither documented nor known"):
        Reference().renewed("connect.md")


def missing(module, names):
    return [name for name in names if NAMED[f"{module}.{name}"] != 1]

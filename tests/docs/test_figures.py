"""The figures in README and docs are those that the benchmarks have written; README and docs/speed.md have no more."""

import importlib.util
import re

import pytest

from ..namespace import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="the benchmarks are not beside these tests")

# Times and ratios that are no results: settings of a benchmark, and orders of magnitude.
NOT_MEASURED = {
    "README.md": {"250 ms"},
    "docs/speed.md": {
        "20 microseconds",  # roughly, as the next two
        "100 microseconds",
        "100\nmilliseconds",
        "2 s",  # timeouts
        "0.5 s",
        "625 ms",  # computed, as the next two: one race on a simulated clock
        "45 ms",
        "80 ms",
        "0.01",  # how far the ratios of a control lie apart
        "0.07",
    },
}
MEASURED = re.compile(r"\d[\d.,]*\s(?:µs|ms|s|kB|MB|microseconds|milliseconds)\b|(?<![\d.])[01]\.\d\d\b")


@pytest.fixture
def figures():
    spec = importlib.util.spec_from_file_location("_figures", ROOT / "docs/_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_show_them(figures):
    for page in {passage.page for passage in figures.passages()}:
        text = (ROOT / page).read_text()
        assert figures.renewed(page, text) == text, f"{page} is renewed by: python docs/_figures.py"


@pytest.mark.parametrize("page", NOT_MEASURED)
def test_there_are_no_others(figures, page):
    text = (ROOT / page).read_text()
    for passage in figures.passages():
        if passage.page == page:
            found = figures.place(passage, text)
            text = text[: found.start()] + re.sub(r"[\d.]", "#", found[0]) + text[found.end() :]
    assert set(MEASURED.findall(text)) - NOT_MEASURED[page] == set()


def test_another_figure_is_noticed(figures, monkeypatch):
    before = figures.written

    def changed(name, version="3.13"):
        found = before(name, version)
        if name == "many":
            return found | {"results": found["results"] | {"safeconnect": found["results"]["stdlib"]}}
        return found

    page = "docs/speed.md"
    text = (ROOT / page).read_text()
    monkeypatch.setattr(figures, "written", changed)
    new = figures.renewed(page, text)
    assert "| time for all | 31 s | 31 s |" in new
    assert new.count("\n") == text.count("\n")


def test_a_passage_that_is_gone_is_named(figures):
    text = (ROOT / "README.md").read_text()
    with pytest.raises(LookupError, match=r"README\.md has no such passage: .*on trio"):
        figures.renewed("README.md", text.replace("on trio", "under trio"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("takes 1.02 to\n1.07. In", "takes 1.1 to 1.25. In"),
        ("takes 3.13.0. In", "takes 1.1 to 1.25. In"),
        ("takes 28,232. In", "takes 1.1 to 1.25. In"),
        ("takes 1.1\nto 1.25. In", "takes 1.1\nto 1.25. In"),
    ],
)
def test_a_figure_is_found_whole(figures, monkeypatch, old, new):
    passage = figures.Passage("page", "takes {}. In", ("1.1 to 1.25",))
    monkeypatch.setattr(figures, "passages", lambda: [passage])
    assert figures.renewed("page", old) == new


def test_rounding(figures):
    assert [figures.rounded(each, 2) for each in (1.045, 0.7, 2.0)] == ["1.05", "0.70", "2.00"]
    assert [figures.rounded(642, digits) for digits in (0, -1, -2)] == ["642", "640", "600"]
    assert figures.span([1.024, 1.016]) == "1.02"

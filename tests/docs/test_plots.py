"""The plots of the documentation show the figures that the benchmarks have written."""

import importlib
import re
import subprocess
import sys

import pytest

from ..namespace import ROOT

BENCHMARKS = ROOT / "benchmarks"
MODULES = ("plots", "plot_looks")

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="the benchmarks are not beside these tests")


@pytest.fixture
def plots():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("plots")
    for name in MODULES:
        sys.modules.pop(name, None)


def test_they_are_up_to_date(plots):
    assert list(plots.stale()) == []


def test_other_figures_are_noticed(plots, monkeypatch):
    before = plots.results

    def changed(name):
        figures = before(name)
        if name == "failover":
            figures["trio"]["dead"]["median_s"] += 0.001
        return figures

    monkeypatch.setattr(plots, "results", changed)
    assert list(plots.stale()) == [
        f"failover-{version}.svg shows other figures than results/ has"
        for version in ("light", "dark", "narrow-light", "narrow-dark")
    ]


def test_a_missing_one_is_noticed(plots, monkeypatch, tmp_path):
    monkeypatch.setattr(plots, "PLOTS", tmp_path)
    complaints = list(plots.stale())
    assert len(complaints) == 4 * len(plots.KINDS)
    assert "race-dark.svg is missing" in complaints


def test_checking_needs_no_matplotlib(tmp_path):
    code = f"""
import sys
sys.modules["matplotlib"] = None
sys.path[:0] = {[str(ROOT), str(BENCHMARKS), *sys.path]!r}
sys.argv = ["plots.py", "--check"]
import plots
sys.exit(plots.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "all plots are up to date"), done.stderr


def test_the_race_is_the_dials(plots):
    # 45 ms after its start the refusal lets the next one start at once; the one after that waits its 250 ms.
    assert plots.race_data() == [
        ("2001:db8::1", 0.0, 0.625, "abandoned"),
        ("192.0.2.1", 0.25, 0.295, "refused"),
        ("2001:db8::2", 0.295, 0.625, "abandoned"),
        ("192.0.2.2", 0.545, 0.625, "connected"),
    ]


def test_they_are_small_and_their_text_is_text(plots):
    for path in (ROOT / "docs/plots").glob("*.svg"):
        text = path.read_text()
        assert len(text) < 60_000
        assert "<text" in text
        assert "font-family: sans-serif" in text
        assert "DejaVu" not in text


def test_narrow_ones_are_readable_on_a_phone():
    narrow = list((ROOT / "docs/plots").glob("*-narrow-*.svg"))
    assert narrow
    for path in narrow:
        text = path.read_text()
        assert (
            float(re.search(r'<svg .*?width="([\d.]+)pt"', text, re.DOTALL)[1]) <= 270
        )  # 360 px: it is not scaled down
        assert min(float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)) >= 8  # units of the plot: points


def test_each_is_shown_in_all_versions():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    pictures = [
        picture for page in pages for picture in re.findall(r"<picture>.*?</picture>", page.read_text(), re.DOTALL)
    ]
    assert len(pictures) > 5
    for picture in pictures:
        shown = re.findall(r"plots/(\w+)-([\w-]+)\.svg", picture)
        assert len({name for name, _ in shown}) == 1
        assert [version for _, version in shown] == ["narrow-dark", "narrow-light", "dark", "light"]

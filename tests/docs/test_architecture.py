"""The page on the architecture names files that exist."""

import re
from pathlib import Path

import pytest

import safeconnect

from ..namespace import ROOT

PAGE = ROOT / "docs/architecture.md"
PACKAGE = Path(safeconnect.__file__).parent

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


def files_named():
    """Each file that the page names, with the folder it may be in: the row's own, or that of its path."""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else ():
        row = re.match(r"\| [^|]+ \| `(\w+/)` \| (.*)", line)
        for name in re.findall(r"`([\w/]+\.py)`", row[2] if row else ""):
            yield (row[1] + name) if "/" not in name else name


def test_where_a_change_goes():
    names = list(files_named())
    assert len(names) >= 20
    names.remove("cli/_NAME.py")  # stands for a new one
    missing = [name for name in names if not (PACKAGE / name).exists() and not (PACKAGE.parent / name).exists()]
    assert missing == []


def test_every_file_of_the_connect_has_its_line():
    text = PAGE.read_text(encoding="utf-8")
    modules = [path.stem for path in (PACKAGE / "_connect").glob("*.py") if path.stem != "__init__"]
    assert [name for name in modules if f"`{name}`" not in text and f"`{name}.py`" not in text] == []

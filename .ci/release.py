"""Check that a tag names the version of the tree, and that the changelog describes it: ``release.py v1.2.3``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

TREE = Path(__file__).parent.parent


def faults(tag: str) -> list[str]:
    source = (TREE / "safeconnect" / "__init__.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    found = [] if tag == f"v{version}" else [f"the tag is {tag}, and __version__ is {version}"]
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (TREE / "CHANGELOG.md").read_text(), re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'")
    return found


if __name__ == "__main__":
    told = faults(sys.argv[1])
    print(*told, sep="\n", end="\n" if told else "")
    sys.exit(bool(told))

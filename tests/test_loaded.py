"""A plain connect loads little: README.md and docs/architecture.md say how much."""

import re
import subprocess
import sys

import pytest

from .namespace import ROOT

MODULES, LINES = 18, 3_000  # at most

CODE = """
import socket, sys
from pathlib import Path
import safeconnect
with socket.create_server(("127.0.0.1", 0)) as server:
    safeconnect.create_connection(server.getsockname(), timeout=5).close()
unwanted = {"asyncio", "dataclasses", "inspect", "logging", "pytest", "ssl", "subprocess", "trio", "typing"}
print(sorted((unwanted | {"safeconnect.options"}) & sys.modules.keys()))
own = [module for name, module in sys.modules.items() if name.partition(".")[0] == "safeconnect"]
own = [module for module in own if module.__name__ != "safeconnect._uninterrupted"]  # for Python 3.14 alone
print(len(own), sum(len(Path(module.__file__).read_text(encoding="utf-8").splitlines()) for module in own))
"""


def test_a_plain_connect_loads_few_modules_and_lines():
    # -S and -I: site-packages' own start-up files may import anything.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{CODE}"]
    unwanted, figures = subprocess.check_output(command, cwd=ROOT, timeout=60, text=True).splitlines()
    assert unwanted == "[]"
    modules, lines = map(int, figures.split())
    assert modules <= MODULES
    assert lines <= LINES


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_documentation_says_so(page):
    path = ROOT / page
    if not path.exists():
        pytest.skip("the documentation is not beside these tests")
    assert re.search(rf"at\s+most\s+{MODULES}\s+modules,\s+{LINES:,}\s+lines", path.read_text(encoding="utf-8"))

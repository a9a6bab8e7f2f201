"""A plain connect loads little: README.md and docs/architecture.md say how much."""

import re
import subprocess
import sys

import pytest

from .namespace import ROOT

MODULES, LINES = 19, 3_100  # at most

CODE = """
import socket, sys
from pathlib import Path
import safeconnect
with socket.create_server(("127.0.0.1", 0)) as server:
    safeconnect.create_connection(server.getsockname(), timeout=5).close()
own = [module for name, module in sys.modules.items() if name.partition(".")[0] == "safeconnect"]
print(len(own), sum(len(Path(module.__file__).read_text(encoding="utf-8").splitlines()) for module in own))
"""


def test_a_plain_connect_loads_few_modules_and_lines():
    modules, lines = map(int, subprocess.check_output([sys.executable, "-c", CODE], cwd=ROOT, timeout=60).split())
    assert modules <= MODULES
    assert lines <= LINES


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_documentation_says_so(page):
    path = ROOT / page
    if not path.exists():
        pytest.skip("the documentation is not beside these tests")
    assert re.search(rf"at\s+most\s+{MODULES}\s+modules,\s+{LINES:,}\s+lines", path.read_text(encoding="utf-8"))

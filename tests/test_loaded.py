"""A plain connect loads little, and so does pytest for the plugin: README.md and docs/architecture.md say how much."""

import ast
import re
import subprocess
import sys

import pytest

from .namespace import ROOT

MODULES, LINES = 17, 2_900  # at most

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


SESSION = """
import pytest
class Loaded:
    def pytest_collection_finish(self):
        print(sorted(sys.modules))
ended = pytest.main(["-q", "-s", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Loaded()])
sys.exit(ended != pytest.ExitCode.NO_TESTS_COLLECTED)
"""


def loaded_by_pytest(folder, *arguments):
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{SESSION}", *arguments]
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # only ours, whether it is installed or not
    output = subprocess.check_output(command, cwd=folder, timeout=60, text=True, env=env)
    return set(ast.literal_eval(output.partition("\n")[0]))


def test_a_session_that_does_not_use_the_plugin_loads_nothing_else(tmp_path):
    """pytest looks at every name in the plugin, with its attributes: none may load its module for that."""
    more = loaded_by_pytest(tmp_path, "-p", "safeconnect.pytest_plugin") - loaded_by_pytest(tmp_path)
    more.discard("safeconnect._uninterrupted")  # for Python 3.14 alone
    assert more == {"safeconnect", "safeconnect._fork", "safeconnect._lazy", "safeconnect.pytest_plugin"}


DATACLASSES = """
import safeconnect.events, safeconnect.retry, safeconnect.doctor.facts, safeconnect._connect.state_machine
from safeconnect._lazy import typing
def trace(module):
    names = {"__name__": module, "typing": typing}
    exec("trace = getattr(typing, 'Trace', None)", names)
    return names["trace"]
print(trace("dataclasses"), "safeconnect.typing" in sys.modules)
print(trace("anywhere") is safeconnect.typing.Trace)
"""


def test_a_dataclass_does_not_load_what_its_annotations_name():
    """Python 3.15's dataclasses look up the first name of each: it would load asyncio for a connect that uses none."""
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{DATACLASSES}"]
    assert subprocess.check_output(command, cwd=ROOT, timeout=60, text=True) == "None False\nTrue\n"


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_documentation_says_so(page):
    path = ROOT / page
    if not path.exists():
        pytest.skip("the documentation is not beside these tests")
    assert re.search(rf"at\s+most\s+{MODULES}\s+modules,\s+{LINES:,}\s+lines", path.read_text(encoding="utf-8"))

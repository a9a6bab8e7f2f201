"""A client that is missing is named; nothing is loaded that was not asked for."""

import importlib
import subprocess
import sys

import pytest

from ..namespace import ROOT

MODULES = {
    "httpcore": "httpcore",
    "httpx": "httpx",
    "pymysql": "PyMySQL",
    "redis": "redis",
    "requests": "requests",
    "urllib3": "urllib3",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_client_is_named_with_what_to_install(module, monkeypatch):
    name = f"safeconnect.integrations.{module}"
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    package = MODULES[module]
    with pytest.raises(ImportError, match=f'{name} needs {package} >= .*: pip install "{package}>=') as caught:
        importlib.import_module(name)
    assert caught.value.name == package


def test_the_package_loads_no_client():
    code = f"import sys, safeconnect.integrations; print(sorted(set({list(MODULES)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"

"""A client that is missing is named; nothing is loaded that was not asked for."""

import importlib
import subprocess
import sys

import pytest

from ..namespace import ROOT

# The module here, the one that is missing, and what to install.
MODULES = [
    ("httpcore", "httpcore", "httpcore"),
    ("httpx", "httpx", "httpx"),
    ("pymysql", "pymysql", "PyMySQL"),
    ("redis", "redis", "redis"),
    ("requests", "requests", "requests"),
    ("urllib3", "urllib3", "urllib3"),
    ("aiohttp", "aiohttp", "aiohttp"),
    ("redis_asyncio", "redis", "redis"),
    ("httpcore_async", "httpcore", "httpcore[asyncio]"),
    ("httpx_async", "httpx", "httpx"),
    ("trio", "trio", "trio"),
]


@pytest.mark.parametrize(("module", "missing", "package"), MODULES)
def test_a_missing_client_is_named_with_what_to_install(module, missing, package, monkeypatch):
    name = f"safeconnect.integrations.{module}"
    for loaded in [each for each in sys.modules if each == missing or each.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(name)
    assert str(caught.value).startswith(f"{name} needs {package} >= ")
    assert f': pip install "{package}>=' in str(caught.value)
    assert caught.value.name == package


def test_the_package_loads_no_client():
    clients = sorted({missing for _, missing, _ in MODULES})
    code = f"import sys, safeconnect.integrations; print(sorted(set({clients}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"

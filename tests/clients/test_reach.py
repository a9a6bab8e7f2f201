"""By which ways each client connects safely; results.json has it, and the table in docs/clients.md is made of that.

With ``SAFECONNECT_ALL_CLIENTS`` in the environment no client may be missing.
"""

import os

import pytest

from safeconnect._install.clients import NAMES

from . import results
from .catalog import CLIENTS
from .client import PYTHON, Client

# For each function that `install` replaces, beside the standard library's, a client that connects by it.
REPLACED = {
    "asyncio": "asyncio: open_connection",
    "aiohappyeyeballs": "aiohttp",
    "anyio": "anyio",
    "trio": "trio",
    "urllib3": "urllib3",
    "redis": "redis-py",
    "websocket": "websocket-client",
    "amqp": "amqp",
    "pymongo": "pymongo",
}
INSTALLED = [name for name, client in CLIENTS.items() if not client.missing]


def check(name, *, imported_before):
    found = results.of(name, imported_before=imported_before)
    known = results.committed()[name]
    tested = [key for key, value in found.items() if value is not None]  # not what this kernel lacks
    assert {key: found[key] for key in tested} == {key: known.get(key) for key in tested}, CLIENTS[name].version
    assert all(value is not False for key, value in found.items() if key != "install"), "a way that does nothing"


def test_every_client_is_here():
    missing = sorted({package for client in CLIENTS.values() for package in client.missing})
    if missing:
        told = f"not installed: {', '.join(missing)}; pip install '.[clients]' has all"
        (pytest.fail if "SAFECONNECT_ALL_CLIENTS" in os.environ else pytest.skip)(told)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_client_that_is_imported_after_install(name):
    check(name, imported_before=False)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in REPLACED.values() else pytest.mark.slow) for name in INSTALLED]
)
def test_a_client_that_is_imported_before_install(name):
    check(name, imported_before=True)


def test_each_function_that_install_replaces_has_a_client():
    assert set(REPLACED) == set(NAMES)
    assert set(REPLACED.values()) <= set(CLIENTS)


def test_a_client_that_is_not_there_is_told():
    assert Client("a", "no-such-package", print, needs=("pytest", "nor-this")).missing == [
        "no-such-package",
        "nor-this",
    ]
    assert Client("a", PYTHON, print).missing == []

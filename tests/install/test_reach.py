"""`install` reaches clients that know nothing of it, whether they are imported before or after."""

import json
import socket
import subprocess
import sys
import textwrap
import threading
from importlib.util import find_spec

import pytest

from ..namespace import ROOT
from .clients import CLIENTS, PACKAGES

REACH = """
    import importlib, json, sys
    from tests.install import clients
    if {before}:
        for name in clients.packages():
            importlib.import_module(name)
    import safeconnect
    traced = []
    safeconnect.install(connector=safeconnect.Connector(trace=traced.append), clients={clients})
    port, names = json.loads(sys.stdin.read())
    found = {{name: clients.connected_by_us(name, port, traced) for name in names}}
    covered = {{name: each.is_covered for name, each in safeconnect.installed().items()}}
    safeconnect.uninstall()
    after = {{name: clients.connected_by_us(name, port, traced) for name in names}}
    print(json.dumps([found, covered, after, safeconnect.installed()]))
"""


@pytest.fixture(scope="module")
def closing_port():
    """Whoever connects there is accepted, and the connection closed."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        is_over = threading.Event()

        def serve():
            while not is_over.is_set():
                server.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        is_over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


def reach(port, *, before, clients=None):
    names = [name for name in CLIENTS if find_spec(PACKAGES.get(name, name).partition(".")[0])]
    code = textwrap.dedent(REACH.format(before=before, clients=clients))
    asked = json.dumps([port, names])
    done = subprocess.run(
        [sys.executable, "-c", code], input=asked, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("before", [True, False], ids=["imported before", "imported after"])
def test_every_client_connects_by_us_until_uninstall(closing_port, before):
    found, covered, after, nothing = reach(closing_port, before=before)
    assert len(found) >= 8
    assert {name: starts for name, (starts, _) in found.items() if not starts} == {}, found
    assert {name for name, is_covered in covered.items() if not is_covered} <= {"uvloop"}
    assert {name: starts for name, (starts, _) in after.items() if starts} == {}
    assert nothing == {}

"""Every test leaves the process as it found it: no descriptor, no thread, nothing patched."""

import contextlib
import gc
import os
import signal
import socket
import sys
import threading

import hypothesis
import pytest

from safeconnect import ephemeral_ports
from safeconnect._sockets import kernel, lookups

from . import namespace, support

# Who starts the tests in the background of a script has them ignore Ctrl-C, and so would all that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Give a worker of xdist a network of its own, where it may have one: no port is taken by a neighbour's test."""
    if hasattr(config, "workerinput") and sys.platform == "linux" and os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            namespace.unshare_net_for_tests()


def pytest_collection_modifyitems(items):
    """Skip elsewhere what is marked as needing Linux, with the reason that the marker gives."""
    if sys.platform == "linux":
        return
    for item in items:
        for mark in item.iter_markers("linux"):
            item.add_marker(pytest.mark.skip(reason=f"it needs Linux: {mark.args[0]}"))


# A busy machine is no reason for a property to fail.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")


# A lookup thread that has nothing to do ends soon: tests that count threads need not wait for a neighbour's.
lookups.IDLE_SECONDS = 0.05


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    threads = set(threading.enumerate())
    before = support.descriptors() if sys.platform == "linux" else {}
    create_connection = socket.create_connection
    yield
    assert socket.create_connection is create_connection
    # The threads for lookups are the process's: they wait for the next name, and end when none comes.
    # One whose start was interrupted is listed as well, and will never run.
    alive = {thread for thread in threading.enumerate() if thread.is_alive()}
    left = {thread for thread in alive if thread.name != "safeconnect lookup"}
    assert left <= threads
    # A later test would look for its ports in the wrong place.
    assert ephemeral_ports() == ephemeral_ports(refresh=True), "what was pretended of the kernel is still remembered"
    if sys.platform == "linux" and support.opened_since(before):
        gc.collect()  # what is closed only now warns of it; a collection after each test would double their time
        assert support.opened_since(before) == {}, "descriptors left open"


@pytest.fixture
def on_platform(monkeypatch):
    """Pretend to be on another platform; what was read of this kernel, or is read of that one, is forgotten."""

    def pretend(name):
        monkeypatch.setattr(sys, "platform", name)
        kernel.forget()

    yield pretend
    monkeypatch.undo()
    kernel.forget()


@pytest.fixture
def server():
    with support.listening() as listener:
        yield listener


@pytest.fixture
def hole():
    with support.black_hole() as address:
        yield address


@pytest.fixture
def address(server):
    return server.getsockname()

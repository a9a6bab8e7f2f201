"""Which clients `install` reaches, by which settings, and what it leaves alone."""

import importlib
import inspect
import socket
import sys
import threading
import types

import pytest

from safeconnect import Connector, create_connection, install, installed, patched, uninstall
from safeconnect._install import installing
from safeconnect._install.clients import Client
from safeconnect._install.hook import ImportHook
from safeconnect._install.replacement import Replacement

from .. import interrupting, support

trio = pytest.importorskip("trio", reason="trio is not installed")
OWN = trio.open_tcp_stream
STANDARD = socket.create_connection


@pytest.fixture(autouse=True)
def always_undone():
    yield
    uninstall()
    assert (socket.create_connection, trio.open_tcp_stream) == (STANDARD, OWN)
    assert not any(isinstance(finder, ImportHook) for finder in sys.meta_path)


@pytest.fixture
def package(monkeypatch):
    """A package that is a client: ``package.connect(address)``."""
    module = types.ModuleType("a_client")
    module.__version__ = "1.5"
    module.connect = connect = _a_connect
    monkeypatch.setitem(sys.modules, "a_client", module)
    yield module
    assert module.connect is connect


def _a_connect(address):
    raise NotImplementedError


def ours(address, source=None):
    """What is put in its place."""


def client_of(versions=((1,), (2,)), ours="tests.install.test_clients:ours"):
    return Client("a_client", [(Replacement("a_client", "connect"), ours)], versions)


class TestClients:
    def test_all_of_them(self):
        install()
        assert trio.open_tcp_stream is not OWN
        uninstall()
        assert trio.open_tcp_stream is OWN

    def test_those_that_are_chosen(self):
        install(clients=["redis"])
        assert trio.open_tcp_stream is OWN
        assert installed()["trio"] == (False, "it is not among the clients that were chosen")
        install(clients=["trio"])
        assert trio.open_tcp_stream is not OWN
        install(clients=())
        assert trio.open_tcp_stream is OWN
        assert installed()["socket"].is_covered

    def test_those_of_every_block(self):
        with patched(clients=["redis"]):
            with patched(clients=["trio"]):
                assert trio.open_tcp_stream is not OWN
            assert trio.open_tcp_stream is OWN

    @pytest.mark.parametrize("start", [install, patched])
    def test_wrong_arguments(self, start):
        with pytest.raises(TypeError, match=r"clients must be several names, as in clients=\['redis'\]"):
            start(clients="redis")
        with pytest.raises(ValueError, match=r"clients must be among asyncio, .*, redis, .*, not 'rediss'"):
            start(clients=["rediss"])
        with pytest.raises(TypeError, match="connector must be a Connector, not int"):
            start(connector=5)
        assert installed() == {}


class TestSettings:
    def test_of_install_apply_to_what_says_nothing(self):
        events = []
        install(connector=Connector(trace=events.append, timeout=5))
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as sock:
                assert sock.gettimeout() is None
            assert events
            with socket.create_connection(server.getsockname(), 7) as sock:
                assert sock.gettimeout() == 7

    def test_of_the_call_come_first(self):
        install(connector=Connector(source_address=("127.0.0.2", 0)))
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname(), source_address=("127.0.0.3", 0)) as sock:
                assert sock.getsockname()[0] == "127.0.0.3"
            with socket.create_connection(server.getsockname()) as sock:
                assert sock.getsockname()[0] == "127.0.0.2"

    def test_all_errors(self):
        install(connector=Connector(timeout=5))
        with pytest.raises(ExceptionGroup):
            socket.create_connection(("127.0.0.1", 1), all_errors=True)

    def test_without_any_it_is_create_connection_itself(self):
        install(connector=Connector(timeout=5))
        assert socket.create_connection is not create_connection
        install()
        assert socket.create_connection is create_connection

    def test_of_the_latest_block_that_has_some(self):
        first, second = Connector(timeout=1), Connector(timeout=2)
        install(connector=first)
        with patched(connector=second), patched():
            assert installing.chosen.connector is second
        assert installing.chosen.connector is first


class TestWhatIsLeftAlone:
    def test_a_version_that_is_not_known(self, package):
        client = client_of(versions=((2,), (3,)))
        client.check()
        assert client.why_not == "version 1.5 is not between 2 and 3, which are known"

    @pytest.mark.parametrize("version", [None, "", "unknown"])
    def test_no_version(self, package, version):
        package.__version__ = version
        client = client_of()
        client.check()
        assert "PackageNotFoundError" in client.why_not or "version unknown" in client.why_not

    @pytest.mark.parametrize(
        ("function", "strange"), [(lambda address, new: None, "new"), (len, "what a compiled function takes")]
    )
    def test_a_function_that_is_not_the_one_known(self, package, function, strange):
        own, package.connect = package.connect, function
        client = client_of()
        client.check()
        package.connect = own
        assert client.why_not == f"a_client.connect() takes {strange}, which is not known"

    def test_a_function_that_is_gone(self, package):
        client = Client(
            "a_client", [(Replacement("a_client", "open"), ""), (Replacement("a_client", "connect"), "")], ((1,), (2,))
        )
        client.check()
        assert client.why_not == "it has no a_client.open()"

    def test_what_ours_use_is_gone(self, package):
        functions = [(Replacement("a_client", "connect"), "tests.install.test_clients:ours")]
        client = Client("a_client", functions, ((1,), (2,)), uses=["connect", "helper"])
        client.check()
        assert client.why_not == "it has no a_client.helper"

    def test_one_of_two_functions_that_is_not_known_leaves_both(self, package):
        package.other, package_connect = (lambda strange: None), package.connect
        found = [Replacement("a_client", name) for name in ("connect", "other")]
        client = Client("a_client", [(each, "tests.install.test_clients:ours") for each in found], ((1,), (2,)))
        client.check()
        client.settle(wanted=True)
        assert client.why_not == "a_client.other() takes strange, which is not known"
        assert package.connect is package_connect
        assert not client.is_in_place

    def test_what_is_being_imported_is_checked_later(self, package):
        package.__spec__ = types.SimpleNamespace(_initializing=True)
        del package.connect
        client = client_of()
        client.check()
        assert not client.is_checked
        package.connect = _a_connect
        client.check()
        assert (client.is_checked, client.why_not) == (True, "")

    def test_ours_cannot_be_loaded(self, package):
        client = client_of(ours="tests.install.nothing:ours")
        client.check()
        assert client.why_not.startswith("ModuleNotFoundError: ")

    def test_is_reported(self, monkeypatch, package):
        unknown = client_of(versions=((2,), (3,)))
        monkeypatch.setattr(installing, "CLIENTS", (unknown,))
        monkeypatch.setattr(installing, "NAMES", ("a_client",))
        install()
        assert installed()["a_client"] == (False, "version 1.5 is not between 2 and 3, which are known")

    def test_a_function_of_another_tool_that_came_later(self, monkeypatch):
        install()
        monkeypatch.setattr(trio, "open_tcp_stream", _a_connect)
        assert installed()["trio"] == (False, "another tool has put its own function in place")
        uninstall()
        assert trio.open_tcp_stream is _a_connect
        monkeypatch.undo()
        uninstall()


class TestHook:
    @pytest.fixture
    def source(self, tmp_path, monkeypatch):
        (tmp_path / "a_package.py").write_text("LOADER = __spec__.loader\ndef connect(address):\n    return 'theirs'\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield tmp_path
        sys.modules.pop("a_package", None)

    def test_calls_after_the_import_and_leaves_no_trace(self, source):
        calls = []
        hook = ImportHook(["a_package"], lambda: calls.append("a_package" in sys.modules))
        hook.settle(wanted=True)
        module = importlib.import_module("a_package")
        hook.settle(wanted=False)
        assert calls == [True]
        assert module.__loader__ is module.__spec__.loader is module.LOADER
        assert type(module.__loader__).__module__ != "safeconnect._install.hook"
        assert "theirs" in inspect.getsource(module.connect)

    def test_an_import_that_fails_is_tried_again(self, source):
        (source / "a_package.py").write_text("raise ImportError('broken')")
        calls = []
        hook = ImportHook(["a_package"], lambda: calls.append(1))
        hook.settle(wanted=True)
        for _ in range(2):
            with pytest.raises(ImportError, match="broken"):
                importlib.import_module("a_package")
        hook.settle(wanted=False)
        assert calls == []

    def test_a_package_that_is_not_there(self):
        hook = ImportHook(["a_package"], list)
        hook.settle(wanted=True)
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("a_package")
        hook.settle(wanted=False)


@pytest.mark.parametrize("kind", ["lines", "calls"])
def test_an_interrupt_anywhere_leaves_nothing_that_uninstall_does_not_undo(kind):
    def both():
        install(connector=Connector(timeout=1))
        uninstall()

    def check(where):
        took.clear()
        support.in_threads(lambda lock: took.append(lock.acquire(blocking=False) and not lock.release()), [guard.lock])
        assert took == [True], "the lock is free for other threads"
        uninstall()
        assert (socket.create_connection, trio.open_tcp_stream, installed()) == (STANDARD, OWN, {})
        install()
        assert socket.create_connection is create_connection
        assert trio.open_tcp_stream is not OWN
        uninstall()

    guard, took = installing._guard, []
    install()  # what is loaded at first is not the subject
    uninstall()
    assert interrupting.at_every_point(both, check, kind=kind) > 50


def test_blocks_in_many_threads_never_leave_half():
    wrong = []

    def work(start):
        start.wait()
        for _ in range(50):
            with patched(clients=["trio"]):
                if trio.open_tcp_stream is OWN or socket.create_connection is STANDARD:
                    wrong.append("not in force inside of a block")

    support.in_threads(work, [threading.Barrier(8)] * 8)
    assert not wrong

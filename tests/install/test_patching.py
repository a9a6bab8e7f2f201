"""install, uninstall and patched: for the whole process, idempotent, and everything put back."""

import http.client
import http.server
import socket
import threading

import pytest

import safeconnect
from safeconnect import create_connection, install, patched, uninstall

from ..support import in_threads, linux_only, python

STANDARD = socket.create_connection


@pytest.fixture(autouse=True)
def always_undone():
    yield
    uninstall()


def test_install_and_uninstall_can_be_repeated():
    for _ in range(2):
        install()
        assert socket.create_connection is create_connection
    for _ in range(2):
        uninstall()
        assert socket.create_connection is STANDARD


def test_patched_blocks_nest():
    with patched():
        with patched():
            assert socket.create_connection is create_connection
        assert socket.create_connection is create_connection
    assert socket.create_connection is STANDARD


def test_one_instance_can_be_used_again_and_inside_itself():
    block = patched()
    for _ in range(2):
        with block, block:
            assert socket.create_connection is create_connection
        assert socket.create_connection is STANDARD


def test_an_error_in_the_block_undoes_it():
    with pytest.raises(KeyError), patched():
        raise KeyError
    assert socket.create_connection is STANDARD


def test_install_outlives_a_block_and_a_block_outlives_uninstall():
    with patched():
        install()
    assert socket.create_connection is create_connection
    with patched():
        uninstall()
        assert socket.create_connection is create_connection
    assert socket.create_connection is STANDARD


def test_puts_back_what_was_there_even_if_not_the_standard_librarys(monkeypatch):
    def other(*args):
        raise NotImplementedError

    monkeypatch.setattr(socket, "create_connection", other)
    with patched():
        assert socket.create_connection is create_connection
    assert socket.create_connection is other


def test_leaves_a_later_patch_of_somebody_else_alone(monkeypatch):
    def later(*args):
        raise NotImplementedError

    install()
    monkeypatch.setattr(socket, "create_connection", later)
    uninstall()
    assert socket.create_connection is later
    monkeypatch.undo()
    socket.create_connection = STANDARD  # monkeypatch has put ours back, which was there when it came


def test_ours_can_be_taken_away_after_somebody_elses_patch_has_gone(monkeypatch):
    def later(*args):
        raise NotImplementedError

    block = patched()
    block.__enter__()
    monkeypatch.setattr(socket, "create_connection", later)
    block.__exit__(None, None, None)
    monkeypatch.undo()
    assert socket.create_connection is create_connection, "the other tool puts back what it found"
    uninstall()
    assert socket.create_connection is STANDARD


def test_an_end_without_a_beginning_ends_nothing():
    patched().__exit__(None, None, None)
    assert socket.create_connection is STANDARD
    with patched():
        assert socket.create_connection is create_connection
    assert socket.create_connection is STANDARD


@linux_only
def test_a_child_forked_while_the_lock_is_held_can_install():
    code = """
        import os, socket, safeconnect
        from safeconnect._install import installing
        with installing._guard.lock:
            child = os.fork()
            if not child:
                safeconnect.install()
                os._exit(0 if socket.create_connection is safeconnect.create_connection else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(code) == "0\n"


def test_overlapping_blocks_in_many_threads():
    start = threading.Barrier(16)
    wrong = []

    def work(_):
        start.wait()
        for _ in range(200):
            with patched():
                if socket.create_connection is not create_connection:
                    wrong.append("not in force inside a block")

    in_threads(work, range(16))
    assert not wrong
    assert socket.create_connection is STANDARD


def test_a_client_of_the_standard_library_goes_through_it(monkeypatch):
    came = []
    monkeypatch.setattr(safeconnect._sockets.lifecycle, "is_self_connected", lambda sock: came.append(sock) or False)
    monkeypatch.setattr(safeconnect._sockets.port_window, "choose", lambda _, sockaddr: came.append(sockaddr))
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        client.connect()
        assert came == []
        client.close()
        with patched():
            client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
            client.connect()
        assert came == [("127.0.0.1", server.server_port)]
        assert client.sock.gettimeout() == 5
        client.close()

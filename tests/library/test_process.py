"""Threads, forks, interrupts, and the end of the interpreter."""

import gc
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from safeconnect import create_connection
from safeconnect._sockets import lifecycle

from .. import support
from ..namespace import ROOT
from ..support import linux_only, python


def test_64_threads_at_once():
    start = threading.Barrier(64)
    results = []

    def work(address):
        start.wait()
        for _ in range(10):
            with create_connection(address, 20) as sock:
                results.append(sock.getpeername() == address)
                lifecycle.reset(sock)

    with support.listening(backlog=1024) as server:  # the queue holds them all
        threads = [threading.Thread(target=work, args=[server.getsockname()]) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [True] * 640


@linux_only
def test_forked_children_connect_and_leave_nothing():
    code = """
        import os, socket, safeconnect
        server = socket.create_server(("127.0.0.1", 0), backlog=64)
        safeconnect.create_connection(server.getsockname(), 5).close()
        children = []
        for _ in range(8):
            child = os.fork()
            if not child:
                before = os.listdir("/proc/self/fd")
                for _ in range(20):
                    safeconnect.create_connection(server.getsockname(), 5).close()
                os._exit(0 if os.listdir("/proc/self/fd") == before else 1)
            children.append(child)
        for _ in range(161):
            server.accept()[0].close()
        print([os.waitpid(child, 0)[1] for child in children])
        server.close()
    """
    assert python(code) == f"{[0] * 8}\n"


@linux_only
def test_an_interrupt_in_the_middle_of_a_connect_leaves_no_descriptor():
    # A full queue of a listener that never accepts keeps the connect waiting.
    with support.listening(backlog=0) as server:
        fillers = []
        try:
            while True:
                filler = socket.socket()
                filler.settimeout(0.1)
                fillers.append(filler)
                filler.connect(server.getsockname())
        except TimeoutError:
            before = support.descriptors().keys()
        interrupter = threading.Thread(target=interrupt_once_connecting, args=[server.getsockname()[1]])
        # Where SIGINT is ignored (under nohup, say), there would be no interrupt.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            interrupter.start()
            with pytest.raises(KeyboardInterrupt):
                create_connection(server.getsockname(), 30)
            interrupter.join()
            gc.collect()
            assert support.descriptors().keys() == before
        finally:
            signal.signal(signal.SIGINT, handler)
            for filler in fillers:
                filler.close()


def interrupt_once_connecting(port):
    """Interrupt the main thread when one SYN more than the fillers' last is on its way."""
    syn_sent = 0x02
    end = time.monotonic() + 20
    while support.tcp_sockets(port, remote=True).count(syn_sent) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.mark.parametrize("step", ["settimeout", "setsockopt", "bind", "connect", "getsockname"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_the_socket_is_closed_whatever_interrupts_it(monkeypatch, server, step, error):
    made = []

    class Interrupted(socket.socket):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    def interrupt(self, *args):
        delattr(Interrupted, step)  # once: the clean-up may use the same call
        raise error

    setattr(Interrupted, step, interrupt)
    monkeypatch.setattr(socket, "socket", Interrupted)
    with pytest.raises(error):
        create_connection(
            server.getsockname(), 5, ("127.0.0.1", 0), options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        )
    assert [sock.fileno() for sock in made] == [-1]


def test_the_interpreter_ends_while_threads_connect():
    code = """
        import socket, threading, time, safeconnect
        server = socket.create_server(("127.0.0.1", 0), backlog=16)
        safeconnect.install()
        connected = threading.Event()
        def forever():
            while True:
                try:
                    socket.create_connection(server.getsockname(), 5).close()
                    connected.set()
                    server.accept()[0].close()
                except OSError:
                    pass
        for _ in range(4):
            threading.Thread(target=forever, daemon=True).start()
        connected.wait()
        print("ends")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


def test_connects_while_the_interpreter_ends():
    code = """
        import atexit, socket, safeconnect
        server = socket.create_server(("127.0.0.1", 0))
        def last():
            with safeconnect.create_connection(server.getsockname(), 5) as sock:
                print(sock.getpeername() == server.getsockname())
            server.close()
        atexit.register(last)
    """
    assert python(code) == "True\n"

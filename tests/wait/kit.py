"""wait_for_port of each driver as a plain function, its policy, servers to wait for, and what is left of a try."""

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import threading
from functools import partial
from types import SimpleNamespace

import pytest
import trio

import safeconnect._wait.asyncio
import safeconnect._wait.trio
from safeconnect import PortSet, PortsExhaustedError, SelfConnectError
from safeconnect._wait import shared
from safeconnect._wait.blocking import wait_for_port
from safeconnect._wait.policy import Waiting

from .. import support
from ..drivers import uvloop


def blocking(address, timeout=5.0, **settings):
    return wait_for_port(address, timeout, **settings)


def on_asyncio(address, timeout=5.0, *, loop_factory=None, **settings):
    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(safeconnect._wait.asyncio.wait_for_port(address, timeout, **settings))


def on_uvloop(address, timeout=5.0, **settings):
    return on_asyncio(address, timeout, loop_factory=uvloop.new_event_loop, **settings)


def on_trio(address, timeout=5.0, **settings):
    return trio.run(partial(safeconnect._wait.trio.wait_for_port, address, timeout, **settings))


needs_uvloop = pytest.mark.skipif(uvloop is None, reason="there is no uvloop for Windows")
DRIVERS = [blocking, on_asyncio, pytest.param(on_uvloop, marks=needs_uvloop), on_trio]
each_driver = pytest.mark.parametrize("wait", DRIVERS)


def at_first_pause(monkeypatch, action):
    """Have a function called between the first try and the second; gives a list with an entry for each pause."""
    pauses = []

    def chance():
        pauses.append(None if pauses else action())
        return 0.5

    # The wait's own chance: a connect has other uses for it.
    monkeypatch.setattr(shared, "port_window", SimpleNamespace(chance=chance))
    return pauses


def fail_with(error, *_):
    raise type(error)(*error.args)


@contextlib.contextmanager
def serving(*greetings):
    """A server that says these, one to each connection and the last to all others; None: it closes. Its address."""

    def serve():
        with contextlib.suppress(OSError):  # shut down
            for greeting in itertools.chain(greetings, itertools.repeat(greetings[-1])):
                with listener.accept()[0] as peer, contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    greet(peer, greeting)

    with support.listening() as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def greet(peer, greeting):
    """Byte by byte; then the connection must end in a reset."""
    if greeting is not None:
        peer.settimeout(10)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in greeting:
            peer.sendall(bytes([number]))
        while peer.recv(100):
            pass
        pytest.fail("it was closed in order")


def assert_all_reset(server):
    """Every connection that nobody has accepted was reset, so there is none in TIME_WAIT."""
    server.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            with server.accept()[0] as peer, pytest.raises(ConnectionResetError):
                peer.recv(1)


def note_of(wait, *arguments, **settings):
    """The first note of the error that a wait ends in."""
    error = support.ran_into(TimeoutError, wait, *arguments, **settings)
    assert (str(error), error.errno) == ("timed out", None)
    return error.__notes__[0]


def os_error(number):
    return OSError(number, os.strerror(number))


ADDRESS = ("127.0.0.1", 8000)
SELF_CONNECTED = SelfConnectError(errno.ECONNREFUSED, "nobody listens")
EXHAUSTED = PortsExhaustedError(errno.EADDRNOTAVAIL, "there is no source port")
REFUSED = os_error(errno.ECONNREFUSED)


def a_wait(timeout=5.0, *, draw=lambda: 0.5, now=0.0, spare="", **settings):
    defaults = {"interval": 0.1, "attempt_timeout": 1.0, "check": None, "gone": False}
    return Waiting(
        ADDRESS, timeout, draw=draw, now=now, spare_ports=lambda: PortSet.parse(spare), **{**defaults, **settings}
    )

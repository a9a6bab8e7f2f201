"""Waits for a port, simultaneous opens and closes, in every driver."""

import asyncio
import socket
import ssl
from contextlib import ExitStack

import pytest

import safeconnect
import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Connector, SelfConnectError
from safeconnect._local.binding import reserve_port

from ..simultaneous.kit import A, B
from ..support import held_port, linux_only, listening, meanwhile, resolver
from .kit import drops, on_asyncio, on_trio, with_asyncio

pytestmark = linux_only

DRIVERS = [
    pytest.param(None, safeconnect, id="blocking"),
    *with_asyncio(safeconnect.asyncio),
    pytest.param(on_trio, safeconnect.trio, id="trio"),
]
each_driver = pytest.mark.parametrize(("run", "module"), DRIVERS)


def fails(run, module, name, kind, *arguments, **settings):
    """The function of that name must fail, and its error hold nothing."""
    function = getattr(module, name)
    if run is None:
        drops(lambda: function(*arguments, **settings), kind)
        return

    async def call():
        await function(*arguments, **settings)

    run(call, kind)


def raising(kind):
    def check(_):
        raise kind

    return check


def fault(*_):
    raise LookupError


def no_such_name(*_):
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


WAITS = {
    "refused": (TimeoutError, {"timeout": 0.05, "interval": 0.01}),
    "refused once": (TimeoutError, {"timeout": 0}),
    "connector": (TimeoutError, {"timeout": 0.05, "connector": Connector(all_errors=True)}),
    "no such name": (socket.gaierror, {"connector": Connector(resolver=no_such_name)}),
    "negative": (ValueError, {"timeout": -1}),
    "text": (TypeError, {"timeout": "5"}),
    "a check that is none": (TypeError, {"check": 5}),
    "check and gone": (ValueError, {"check": b"x", "gone": True}),
    "a connector that is none": (TypeError, {"connector": 5}),
}


@each_driver
@pytest.mark.parametrize("name", list(WAITS))
def test_wait_for_port(run, module, name):
    kind, settings = WAITS[name]
    with held_port() as held:
        fails(run, module, "wait_for_port", kind, held.getsockname(), **{"timeout": 5, **settings})


@each_driver
def test_wait_for_a_name_with_a_fault(run, module):
    connector = Connector(resolver=fault)
    fails(run, module, "wait_for_port", LookupError, ("name.test", 80), timeout=5, connector=connector)


@each_driver
def test_wait_for_one_of_two(run, module):
    with held_port() as held:
        two = resolver(held.getsockname(), ("127.0.0.2", held.getsockname()[1]))
        connector = Connector(resolver=two)
        fails(run, module, "wait_for_port", TimeoutError, ("name.test", 80), timeout=0.05, connector=connector)


CHECKS = {
    "a check that raises": (LookupError, {"check": raising(LookupError)}),
    "a check that fails": (TimeoutError, {"timeout": 0.05, "check": raising(ConnectionResetError)}),
    "a check that says no": (TimeoutError, {"timeout": 0.05, "check": lambda _: False}),
    "a greeting that does not come": (TimeoutError, {"timeout": 0.1, "attempt_timeout": 0.03, "check": b"220 "}),
    "not gone": (TimeoutError, {"timeout": 0.05, "gone": True}),
}


@each_driver
@pytest.mark.parametrize("name", list(CHECKS))
def test_wait_for_a_server(run, module, name, server):
    kind, settings = CHECKS[name]
    fails(run, module, "wait_for_port", kind, server.getsockname(), **{"timeout": 5, **settings})


@each_driver
def test_wait_for_a_black_hole(run, module, hole):
    fails(run, module, "wait_for_port", TimeoutError, hole, timeout=0.05)
    fails(run, module, "wait_for_port", TimeoutError, hole, timeout=0.05, gone=True)


@each_driver
def test_nobody_comes_to_the_meeting(run, module):
    fails(run, module, "simultaneous_open", TimeoutError, A, B, timeout=0.05)


@each_driver
def test_a_meeting_that_cannot_be(run, module):
    with listening() as server:
        taken = server.getsockname()
        fails(run, module, "simultaneous_open", OSError, taken, B, timeout=5)
    fails(run, module, "simultaneous_open", SelfConnectError, A, A, timeout=5)
    fails(run, module, "simultaneous_open", OSError, ("192.0.2.1", A[1]), B, timeout=5)
    fails(run, module, "simultaneous_open", ValueError, A, ("::1", 80), timeout=5)
    fails(run, module, "simultaneous_open", TypeError, A, 80, timeout=5)
    fails(run, module, "simultaneous_open", ValueError, A, B, timeout=-1)


@each_driver
def test_close_gracefully(run, module):
    made = socket.socket()
    made.close()
    fails(run, module, "close_gracefully", OSError, made)
    fails(run, module, "close_gracefully", ValueError, made, timeout=-1)
    fails(run, module, "close_gracefully", TypeError, made, limit="x")


CALLS = ["reset", "is_self_connected", "peer_closed", "tcp_info", "tcp_state", "unread_bytes", "quick_ack"]


@pytest.mark.parametrize("name", CALLS)
def test_calls_on_a_closed_socket(name):
    sock = socket.socket()
    sock.close()
    drops(lambda: getattr(safeconnect, name)(sock), OSError)


def test_reservations(server):
    taken = server.getsockname()[1]
    with reserve_port() as reserved, ExitStack() as stack:
        drops(lambda: reserve_port(port=taken), OSError)
        drops(lambda: reserve_port(port=f"{taken},{reserved.port}"), OSError)
        drops(lambda: reserve_port("192.0.2.1"), OSError)
        drops(lambda: reserve_port(port=-1), ValueError)
        drops(lambda: reserve_port(5), TypeError)
        for settings in ({}, {"device": "nowhere"}, {"options": [(1, 9999, 1)]}):
            drops(lambda: stack.enter_context(safeconnect.bind_socket(server.getsockname(), **settings)), OSError)  # noqa: B023 - called at once
        ports = f"{taken},{reserved.port}"
        drops(lambda: safeconnect.bind_socket(("127.0.0.1", 0), ports=ports), OSError)
        drops(lambda: safeconnect.bind_socket(("127.0.0.1", 1), ports=ports), ValueError)
        drops(lambda: safeconnect.bind_socket(5), TypeError)
    drops(reserved.listen, OSError)


async def _tls(name, address, timeout=0.05):
    context = ssl.create_default_context()
    if name == "open_connection":
        await safeconnect.asyncio.open_connection(address, timeout, ssl=context, server_hostname="x.test")
    elif name == "connect_transport":
        await safeconnect.asyncio.connect_transport(
            asyncio.Protocol, address, timeout, ssl=context, server_hostname="x.test"
        )
    else:
        await safeconnect.anyio.connect_tcp(*address, tls=True, ssl_context=context, timeout=timeout)


# Not here: what asyncio makes of bytes that are no TLS, and anyio on trio of a handshake that is broken off. Both
# errors are in a cycle without this library, too.
@pytest.mark.parametrize(
    ("name", "run"), [("open_connection", on_asyncio), ("connect_transport", on_asyncio), ("connect_tcp", on_asyncio)]
)
def test_a_handshake_that_is_not_done_in_time(name, run, server):
    run(lambda: _tls(name, server.getsockname()), TimeoutError)


@pytest.mark.parametrize("run", [on_asyncio, on_trio])
def test_a_peer_that_does_not_speak_tls(run, server):
    def say_no():
        with server.accept()[0] as peer:
            peer.sendall(b"220 this is no TLS\r\n" * 20)
            peer.recv(10000)

    with meanwhile(say_no):
        run(lambda: _tls("connect_tcp", server.getsockname(), timeout=5))


def test_a_protocol_that_cannot_be_made(server):
    def factory():
        raise LookupError

    on_asyncio(lambda: safeconnect.asyncio.connect_transport(factory, server.getsockname(), 5), LookupError)


def test_trio_stream_that_is_closed(server):
    async def call():
        stream = await safeconnect.trio.open_tcp_stream(*server.getsockname(), timeout=5)
        await stream.aclose()
        await safeconnect.trio.close_gracefully(stream)

    on_trio(call, OSError)

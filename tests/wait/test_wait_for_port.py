"""wait_for_port in every driver: up, gone, silent, itself, checked; one suite for all of them."""

import asyncio
import contextlib
import errno
import re
import socket
import threading
import time
from functools import partial

import pytest
import trio

import safeconnect._wait.asyncio
import safeconnect._wait.trio
from safeconnect import Connector, Retry

from .. import namespace, support
from ..drivers import uvloop
from ..support import both_families, linux_only
from .kit import (
    assert_all_reset,
    at_first_pause,
    blocking,
    each_driver,
    fail_with,
    needs_uvloop,
    note_of,
    on_trio,
    serving,
)

pytestmark = linux_only


@each_driver
@both_families
def test_up_at_once_and_gone_later(wait, family, monkeypatch):
    with support.listening(family) as server:
        pauses = at_first_pause(monkeypatch, server.close)
        address = server.getsockname()
        assert wait(address) is None
        assert pauses == []
        with server.accept()[0] as peer, pytest.raises(ConnectionResetError):
            peer.recv(1)
        assert wait(address, gone=True) is wait(address, gone=True) is None  # the second time at once
        assert len(pauses) == 1


@each_driver
@pytest.mark.parametrize("timeout", [None, 5])
def test_comes_up_later(wait, monkeypatch, timeout):
    refused = threading.Event()
    at_first_pause(monkeypatch, refused.set)
    with support.held_port() as held:
        server = threading.Thread(target=lambda: refused.wait(10) and held.listen())
        server.start()
        wait(held.getsockname(), timeout, interval=0.001)
        assert refused.is_set(), "it was up already"
        server.join()


@each_driver
def test_never_up(wait):
    with support.held_port() as held:
        began = time.monotonic()
        note = note_of(wait, held.getsockname(), 0.1, interval=0.02)
        assert 0.08 < time.monotonic() - began < support.SOON
        seen = r"refused (?:(\d+) times|once)(?:, cut short once)?"
        last = r"the last after [\d.]+ m?s: \[Errno 111\] Connection refused"
        told = re.fullmatch(rf"127.0.0.1:{held.getsockname()[1]} was not up within 100 ms: {seen}; {last}", note)
        assert int(told[1] or 1) <= 16  # pauses of 1.25, 2.5 and 5 ms, then of 10 ms, at least
        assert " was not up at the only try: refused once; " in note_of(wait, held.getsockname(), 0)


@each_driver
def test_silence_is_neither_and_a_connection_not_gone(wait, hole, server):
    for gone in (False, True):
        note = note_of(wait, hole, 0.2, attempt_timeout=0.05, interval=0.01, gone=gone)
        assert re.search(r": timed out (once|\d times)(, cut short once)?; the last after .*: timed out$", note)
    note = note_of(wait, server.getsockname(), 0.05, gone=True)
    assert re.search(r" was not gone within 50 ms: connected (once|\d+ times); the last after .*: connected$", note)
    assert_all_reset(server)


@each_driver
def test_a_black_hole_that_heals(wait, monkeypatch):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(support.listening(backlog=0))
        stack.enter_context(socket.create_connection(listener.getsockname()))  # the queue has one place

        def heal():
            listener.listen(128)
            stack.enter_context(listener.accept()[0])

        pauses = at_first_pause(monkeypatch, heal)
        wait(listener.getsockname(), attempt_timeout=0.1)
        assert pauses, "it was no black hole"


@each_driver
def test_a_name_with_two_addresses(wait, server, monkeypatch):
    pauses = at_first_pause(monkeypatch, server.close)
    with support.held_port() as held:
        connector = Connector(resolver=support.resolver(held.getsockname(), server.getsockname()), retry=Retry())
        wait(("name", 1), connector=connector)
        assert pauses == []
        wait(("name", 1), connector=connector, gone=True)
        assert len(pauses) == 1
        assert "name:1 was not up at the only try: refused once; " in note_of(wait, ("name", 1), 0, connector=connector)


@each_driver
@pytest.mark.parametrize("delay", [0.01, None])
def test_one_silent_address_is_not_gone(wait, hole, delay):
    with support.held_port() as held:
        connector = Connector(resolver=support.resolver(held.getsockname(), hole), happy_eyeballs_delay=delay)
        note = note_of(wait, ("name", 1), 0.05, connector=connector, gone=True)
        assert note.startswith("name:1 was not gone within 50 ms: timed out once; ")


@each_driver
@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), PermissionError(errno.EACCES, "no")])
def test_what_waiting_does_not_mend_is_raised_at_once(wait, error):
    connector = Connector(resolver=partial(fail_with, error))
    for gone in (False, True):
        support.ran_into(type(error), wait, ("name", 1), None, connector=connector, gone=gone)


@each_driver
def test_a_name_server_that_comes_up(wait, server):
    late = partial(fail_with, socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    answers = [late, late, support.resolver(server.getsockname())]

    def getaddrinfo(*arguments):
        return answers.pop(0)(*arguments)

    wait(("name", 1), connector=Connector(resolver=getaddrinfo))
    assert answers == []


async def ask_on_asyncio(sock):
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"PING")
    return await loop.sock_recv(sock, 1) == b"P"


async def ask_on_trio(sock):
    await sock.send(b"PING")
    return await sock.recv(1) == b"P"


ASK = {blocking: lambda sock: sock.send(b"PING") and sock.recv(1) == b"P", on_trio: ask_on_trio}


@each_driver
@pytest.mark.parametrize("check", [b"PONG", "ask"])
def test_wrong_answers_then_the_right_one(wait, check):
    if check == "ask":
        check = ASK.get(wait, ask_on_asyncio)
    with serving(None, b"WHAT?", b"", b"PONG\n") as address:
        wait(address, interval=0.01, attempt_timeout=0.2, check=check)


@each_driver
@pytest.mark.parametrize(
    ("greeting", "check", "text"),
    [
        (b"HTTP/1.1", b"HTTP/2", r"wrong answer once; .*: it sent b'HTTP/1' in the place of b'HTTP/2'"),
        (None, b"220 ", r"wrong answer once; .*: it sent b'' in the place of b'220 '"),
        (b"", lambda _: None, r"wrong answer once; .*: the check said no"),
        (b"22", b"220 ", r"connected, then timed out once; .*: timed out"),
        (b"", partial(fail_with, ConnectionResetError("by peer")), r"connected, then reset once; .*: by peer"),
        (b"", partial(fail_with, PermissionError("denied")), r"connected, then PermissionError once; .*: denied"),
    ],
)
def test_wrong_answers(wait, greeting, check, text):
    with serving(greeting) as address:
        note = note_of(wait, address, 0, attempt_timeout=0.05 if "timed out" in text else 5, check=check)
    assert re.search(rf" at the only try: {text}$", note)


@each_driver
def test_what_a_callable_gets(wait, server):
    seen = []

    def check(sock):
        assert sock.getpeername() == server.getsockname()
        seconds = 0 if wait is on_trio else sock.gettimeout()
        assert 0 < seconds < 0.5 if wait is blocking else seconds == 0
        seen.append(sock)
        if len(seen) == 2:
            sock.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "not yet")
        return len(seen) == 3

    wait(server.getsockname(), interval=0.01, attempt_timeout=0.5, check=check)
    assert [sock.fileno() for sock in seen] == [-1, -1, -1]
    assert_all_reset(server)


@pytest.mark.parametrize(("error", "kind"), [(trio.TooSlowError, "timed out"), (trio.BrokenResourceError, "reset")])
def test_what_trio_makes_of_an_error_is_a_failed_try_too(server, error, kind):
    async def check(sock):
        raise error from ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    assert f": connected, then {kind} once; " in note_of(on_trio, server.getsockname(), 0, check=check)


@each_driver
@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
def test_anything_else_is_raised(wait, server, kind):
    with pytest.raises(kind):
        wait(server.getsockname(), check=partial(fail_with, kind()))
    assert_all_reset(server)


ALONE = """
    import socket
    from pathlib import Path
    from safeconnect import Connector, FastOpenConnect
    from safeconnect._sockets import port_window
    from tests import support
    from tests.wait import kit as waits

    wait, address, servers = waits.{name}, ("127.0.0.1", 40000), []
    print(waits.note_of(wait, address, 0.2))
    assert support.tcp_sockets(40000) == []
    support.serve_plainly(40000)
    wait(address, gone=True)

    def chance():
        servers or servers.append(socket.create_server(address))  # it takes the only port that the kernel has
        return 0.5
    port_window.chance = chance
    wait(address)
    servers[0].close()

    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40999")
    with waits.serving(b"220 ready") as address:
        for check in (None, b"220 ", b"220 ready", lambda sock: True, lambda sock: sock.close() is None) * 5:
            wait(address, check=check)
            assert support.tcp_sockets(address[1], remote=True) == []
    with socket.socket() as other:
        other.bind(address)  # without SO_REUSEADDR

    Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("3")
    connector = Connector(options=[FastOpenConnect()], timeout=5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        address = server.getsockname()
        with connector.connect(address) as sock:
            sock.send(b"x")
            server.accept()[0].close()
    connector.connect(address).close()  # it is fooled
    wait(address, connector=connector, gone=True)
"""


@pytest.mark.parametrize("name", ["blocking", "on_asyncio", "on_trio"])
def test_alone_in_a_network(name):
    """With one source port every connect to that port meets itself; and where nobody else is, nothing must be left."""
    printed = namespace.run(ALONE.format(name=name), ports="40000 40000")
    assert re.match(r"127.0.0.1:40000 was not up within 200 ms: met itself (once|\d+ times)[;,] ", printed)


@pytest.fixture(params=["a pause", "an attempt", "bytes", "a callable"])
def endless(request, server, hole):
    """What takes long, as arguments; gets what a callable sleeps with."""
    with support.held_port() as held:
        yield lambda sleep: {
            "a pause": {"address": held.getsockname(), "interval": 1000},
            "an attempt": {"address": hole, "attempt_timeout": 20},
            "bytes": {"address": server.getsockname(), "attempt_timeout": 20, "check": b"220 "},
            "a callable": {"address": server.getsockname(), "attempt_timeout": 20, "check": lambda _: sleep(20)},
        }[request.param]
    assert_all_reset(server)


each_moment = pytest.mark.parametrize("turns", [0, 1, 2, 3, 10])


@each_moment
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=needs_uvloop)])
def test_cancelled_on_asyncio(endless, turns, loop):
    async def main():
        task = asyncio.create_task(safeconnect._wait.asyncio.wait_for_port(timeout=30, **endless(asyncio.sleep)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(main())


@each_moment
def test_cancelled_on_trio(endless, turns):
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(safeconnect._wait.trio.wait_for_port, timeout=30, **endless(trio.sleep)))
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            assert nursery.child_tasks
            nursery.cancel_scope.cancel()

    trio.run(main)


@each_driver
def test_wrong_arguments(wait):
    for kind, text, changes in (
        (ValueError, "port must be 0-65535, not 70000", {"address": ("127.0.0.1", 70_000)}),
        (TypeError, "port must be an int", {"address": ("127.0.0.1", 1.5)}),
        (ValueError, "check is not allowed with gone", {"check": b"220 ", "gone": True}),
        (TypeError, "connector must be a Connector", {"connector": "none"}),
    ):
        with pytest.raises(kind, match=text):
            wait(**{"address": ("127.0.0.1", 80), **changes})
    if wait is blocking:
        with pytest.raises(TypeError, match="check must not be async"):
            wait(("127.0.0.1", 80), check=ask_on_asyncio)

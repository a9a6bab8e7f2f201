"""Simultaneous open, where both sides connect: in threads, processes, event loops and over a wire."""

import asyncio
import datetime
import errno
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import trio

import safeconnect.asyncio
import safeconnect.trio
from safeconnect import SelfConnectError, is_self_connected, simultaneous_open
from safeconnect._simultaneous import blocking, policy, shared
from safeconnect._sockets.lifecycle import reset

from .. import namespace, support
from ..drivers import LoopWithoutWriters, uvloop
from ..support import linux_only, needs_ipv6
from .kit import A, B, check_and_reset, free_addresses, meet


@linux_only
class TestMeeting:
    def test_200_of_200_and_nothing_is_left(self):
        one, other = free_addresses()
        began = time.monotonic()
        for _ in range(200):
            check_and_reset(*meet(one, other))
        assert time.monotonic() - began < 60
        assert [support.tcp_sockets(port) for _, port in (one, other)] == [[], []]

    @needs_ipv6
    def test_over_ipv6(self):
        one, other = free_addresses("::1")
        check_and_reset(*meet(one, (*other, 0, 0)))

    def test_two_processes(self):
        code = """
            import sys
            from safeconnect import simultaneous_open
            local, peer = (("127.0.0.1", int(port)) for port in sys.argv[1:])
            with simultaneous_open(local, peer, timeout=20) as sock:
                sock.sendall(b"%d" % local[1])
                print(sock.recv(100).decode())
        """
        code = "\n".join(line[12:] for line in code.splitlines())
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, *ports],
                stdout=subprocess.PIPE,
                text=True,
                env=namespace.surroundings(),
            )
            for ports in ((str(A[1]), str(B[1])), (str(B[1]), str(A[1])))
        ]
        assert [child.communicate(timeout=60)[0] for child in children] == [f"{B[1]}\n", f"{A[1]}\n"]

    @pytest.mark.parametrize("late", [0.0, 0.3, 1.0])
    def test_one_side_comes_later(self, late):
        both = {}

        def second():
            both[B] = simultaneous_open(B, A, timeout=10)

        timer = threading.Timer(late, second)
        timer.start()
        both[A] = simultaneous_open(A, B, timeout=10)
        timer.join()
        check_and_reset(both[A], both[B])

    @pytest.mark.parametrize("as_datetime", [True, False])
    def test_at_an_agreed_instant(self, as_datetime):
        at = time.time() + 0.4
        one, other = meet(at=datetime.datetime.fromtimestamp(at, datetime.UTC) if as_datetime else at)
        assert at - policy.EARLY <= time.time() < at + 3
        check_and_reset(one, other)

    def test_an_instant_in_the_past_is_now(self):
        check_and_reset(*meet(at=0))

    def test_where_a_server_listens(self, server):
        with simultaneous_open(A, server.getsockname(), timeout=5) as sock:
            assert sock.gettimeout() == 5
            reset(sock)


def test_two_namespaces_over_a_wire():
    if sys.platform != "linux" or not shutil.which("ip"):
        pytest.skip("needs Linux and ip (Debian: iproute2)")
    code = """
        import os, subprocess
        from tests import namespace
        from safeconnect import simultaneous_open
        from safeconnect._sockets.lifecycle import reset
        ready, go = os.pipe()
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            namespace.unshare_net()
            os.write(tell, b"x")
            os.read(ready, 1)
            subprocess.run("ip link set lo up; ip link set v1 up; ip addr add 192.0.2.2/24 dev v1",
                           shell=True, check=True)
            for number in range(20):
                sock = simultaneous_open(("192.0.2.2", 7000 + number), ("192.0.2.1", 7000 + number), timeout=20)
                sock.sendall(b"x")
                assert sock.recv(1) == b"y"
                sock.close()
            os._exit(0)
        os.read(told, 1)
        subprocess.run(f"ip link add v0 type veth peer name v1 netns {child}; ip link set v0 up; "
                       "ip addr add 192.0.2.1/24 dev v0", shell=True, check=True)
        os.write(go, b"x")
        for number in range(20):
            sock = simultaneous_open(("192.0.2.1", 7000 + number), ("192.0.2.2", 7000 + number), timeout=20)
            sock.sendall(b"y")
            assert sock.recv(1) == b"x"
            sock.close()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert namespace.run(code) == "0\n"


def test_without_a_route_no_driver_spins():
    """The kernel answers at once, thousands of times a second if it were asked."""
    code = """
        import asyncio, re, trio
        import safeconnect.asyncio, safeconnect.trio
        local, peer = ("0.0.0.0", 7001), ("192.0.2.1", 7002)
        def ask(module, run=lambda call: call()):
            try:
                run(lambda: module.simultaneous_open(local, peer, timeout=0.8))
            except TimeoutError as error:
                print(*re.search(r"in (\\d+) tries; .*(Network is unreachable)", error.__notes__[0]).groups())
        ask(safeconnect)
        ask(safeconnect.asyncio, lambda call: asyncio.run(call()))
        ask(safeconnect.trio, trio.run)
    """
    told = namespace.run(code).splitlines()
    assert [line.partition(" ")[2] for line in told] == ["Network is unreachable"] * 3
    assert all(int(line.split()[0]) < 60 for line in told), told


@linux_only
class TestHalfOpen:
    def test_a_handshake_that_is_not_over_is_no_connection(self, monkeypatch):
        """In SYN_RECV there is a peer already; only another connect() tells."""

        class HalfOpen(socket.socket):
            def connect_ex(self, address):
                return errno.EALREADY

            def getpeername(self):
                return B

        with HalfOpen() as sock:
            assert not shared._is_connected(sock, B)

    def test_one_that_is_reset_meanwhile_is_tried_again(self, monkeypatch, server):
        names = shared.attempt.names
        calls = []

        def reset_once(sock, peer):
            calls.append(sock)
            if len(calls) == 1:
                raise ConnectionResetError(errno.ECONNRESET, "reset")
            return names(sock, peer)

        monkeypatch.setattr(shared.attempt, "names", reset_once)
        with simultaneous_open(A, server.getsockname(), timeout=5) as sock:
            assert sock is calls[1]
            reset(sock)
        assert calls[0].fileno() == -1


@linux_only
class TestOtherDrivers:
    @pytest.mark.parametrize("factory", [None, uvloop and uvloop.new_event_loop, LoopWithoutWriters])
    def test_asyncio(self, factory):
        async def main():
            for _ in range(10):
                both = await asyncio.gather(
                    safeconnect.asyncio.simultaneous_open(A, B, timeout=5),
                    safeconnect.asyncio.simultaneous_open(B, A, timeout=5, at=time.time() + 0.15),
                )
                assert [sock.gettimeout() for sock in both] == [0, 0]
                check_and_reset(*both)

        with asyncio.Runner(debug=True, loop_factory=factory) as runner:
            runner.run(main())

    def test_trio(self):
        async def main():
            for _ in range(10):
                met = {}

                async def side(local, peer, met=met):
                    met[local] = await safeconnect.trio.simultaneous_open(local, peer, timeout=5)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(side, A, B)
                    nursery.start_soon(side, B, A)
                one, other = (
                    socket.socket(sock.family, sock.type, 0, fileno=sock.detach()) for sock in (met[A], met[B])
                )
                check_and_reset(one, other)

        trio.run(main)

    def test_asyncio_cancelled(self):
        async def main():
            for pause in (0, 0.02):
                task = asyncio.create_task(safeconnect.asyncio.simultaneous_open(A, B, timeout=None))
                await asyncio.sleep(pause)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            with shared.open_syn_filter(socket.AF_INET, B), pytest.raises(TimeoutError) as caught:
                await safeconnect.asyncio.simultaneous_open(A, B, timeout=0.05)
            assert caught.value.__notes__[0].endswith("did not meet in 1 try; the last is still unanswered")

        asyncio.run(main(), debug=True)

    def test_trio_cancelled(self):
        async def main():
            for blocked in (False, True):
                held = shared.open_syn_filter(socket.AF_INET, B) if blocked else None
                with trio.move_on_after(0.02) as scope:
                    await safeconnect.trio.simultaneous_open(A, B, timeout=None)
                assert scope.cancelled_caught
                if held:
                    held.close()

        trio.run(main)


class TestSelf:
    def test_is_not_met(self):
        with pytest.raises(SelfConnectError, match="its source address is the target"):
            simultaneous_open(A, A, timeout=5)

    @linux_only
    def test_not_even_by_another_name(self):
        address, _ = free_addresses()
        with pytest.raises(SelfConnectError):
            simultaneous_open(("0.0.0.0", address[1]), address, timeout=5)
        assert support.tcp_sockets(address[1]) == []

    def test_unless_it_is_allowed(self):
        with simultaneous_open(A, A, timeout=5, allow_self_connect=True) as sock:
            assert is_self_connected(sock)
            reset(sock)


class TestArguments:
    @pytest.mark.parametrize(
        ("local", "peer", "settings", "kind", "words"),
        [
            (A, ("name", 7), {}, ValueError, "peer must have a literal address"),
            (("", 7), B, {}, ValueError, "local must have a literal address"),
            (("127.0.0.1", 0), B, {}, ValueError, "the port of local must be 1-65535"),
            (A, ("127.0.0.1", 65536), {}, ValueError, "the port of peer must be 1-65535"),
            (A, ("127.0.0.1", "80"), {}, TypeError, "the port of peer must be an int"),
            (A, ["127.0.0.1", 80], {}, TypeError, r"peer must be \(host, port\)"),
            (A, ("::1", 80), {}, ValueError, "one family"),
            (A, B, {"timeout": -1}, ValueError, "timeout must be"),
            (A, B, {"interval": -1}, ValueError, "interval must be"),
            (A, B, {"at": "noon"}, TypeError, "at must be"),
            (A, B, {"at": datetime.datetime(2030, 1, 1)}, ValueError, "time zone"),
            (("192.0.2.1", 7), B, {}, OSError, "192.0.2.1:7 is not an address of this host"),
        ],
    )
    def test_wrong_ones(self, local, peer, settings, kind, words):
        with pytest.raises(kind, match=words):
            simultaneous_open(local, peer, **{"timeout": 5, **settings})

    def test_local_port_is_taken(self, server):
        with pytest.raises(OSError, match="in use"):
            simultaneous_open(server.getsockname(), B, timeout=5)

    def test_waits_for_sockets_without_poll(self, monkeypatch):
        monkeypatch.delattr(blocking.selectors, "PollSelector", raising=False)
        with socket.socket() as sock:
            blocking._wait(sock, 0.01)
            blocking._wait(sock, None)

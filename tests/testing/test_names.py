"""Names for a block: what is looked up, by whom, and what is not."""

import asyncio
import socket
import time

import pytest
import trio

import safeconnect
from safeconnect import testing

from .. import namespace, support
from ..support import needs_ipv6


class TestNames:
    def test_addresses(self):
        with testing.names({"Two.test": ["192.0.2.1", "192.0.2.2"], "one.test": "2001:db8::1"}) as block:
            found = socket.getaddrinfo("two.TEST", 80, type=socket.SOCK_STREAM)
            assert [each[4] for each in found] == [("192.0.2.1", 80), ("192.0.2.2", 80)]
            assert socket.getaddrinfo("one.test", 80)[0][0] == socket.AF_INET6
            with pytest.raises(socket.gaierror):
                socket.getaddrinfo("one.test", 80, socket.AF_INET)
            assert block.asked == ["two.TEST", "one.test", "one.test"]

    def test_others_do_not_exist(self):
        with testing.names({}), pytest.raises(socket.gaierror, match="not known"):
            socket.getaddrinfo("example.org", 80)

    def test_literals_and_localhost_stay(self):
        with testing.names({}):
            assert socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)
            assert socket.getaddrinfo("localhost", 80)

    def test_errors_and_delays(self):
        answers = {
            "later.test": socket.gaierror(socket.EAI_AGAIN, "try again"),
            "slow.test": testing.Lookup(["127.0.0.1"], delay=0.05),
            "slower.test": testing.Lookup(["127.0.0.1"], delay=1),
        }
        with testing.names(answers):
            with pytest.raises(socket.gaierror, match="try again"):
                socket.getaddrinfo("later.test", 80)
            began = time.monotonic()
            socket.getaddrinfo("slow.test", 80)
            assert time.monotonic() - began >= 0.05
            support.ran_into(TimeoutError, safeconnect.create_connection, ("slower.test", 80), 0.01)

    def test_asyncio_and_trio(self):
        with testing.names({"one.test": "192.0.2.1"}):
            loop_found = asyncio.run(loop_lookup("one.test"))
            assert loop_found[0][4] == ("192.0.2.1", 80)
            assert trio.run(trio.socket.getaddrinfo, "one.test", 80)[0][4] == ("192.0.2.1", 80)

    @needs_ipv6
    def test_dual_stack(self):
        with testing.dual_stack() as both:
            with safeconnect.create_connection(both.address, 5) as sock:
                assert sock.getpeername() == ("127.0.0.1", both.port)
            assert both.v4.wait_for_connections(1)
            assert not both.v6.connections
        with testing.dual_stack(testing.echo, "refused", name="other.test") as both, connect_to_name(both) as sock:
            assert sock.family == socket.AF_INET6

    def test_dual_stack_without_ipv6(self):
        code = """
            import pytest
            from pathlib import Path
            from safeconnect import pytest_plugin, testing
            Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
            reason = "dual_stack needs IPv6, and this host has no address ::1: Cannot assign requested address"
            with pytest.raises(OSError) as caught, testing.dual_stack():
                pass
            assert caught.value.strerror == reason, caught.value
            with pytest.raises(pytest.skip.Exception) as caught:
                pytest_plugin._make("dual_stack")
            print(caught.value.msg == reason)
        """
        assert namespace.run(code) == "True\n"

    @pytest.mark.parametrize("answer", ["nonsense", ["192.0.2.1", "x"]])
    def test_wrong_answers(self, answer):
        with pytest.raises(ValueError, match="does not appear to be"), testing.names({"one.test": answer}):
            pass


def connect_to_name(both):
    return socket.create_connection(both.address, 5)


async def loop_lookup(name):
    return await asyncio.get_running_loop().getaddrinfo(name, 80)

"""The settings ``family`` and ``allow``: which addresses a connect may go to, on every driver."""

import asyncio
import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
import trio

import safeconnect.anyio
import safeconnect.asyncio
import safeconnect.trio
from safeconnect import AddressNotAllowedError, ConnectMemory, Connector, Retry, is_global_address
from safeconnect.events import Failed, GiveUp
from safeconnect.testing import dual_stack, names

from .. import support
from ..drivers import each_driver
from ..support import listening, needs_ipv6, resolver

NO_LOOPBACK = ["0.0.0.0/0", "::/0"]


def not_loopback(address):
    return not address.is_loopback


def port_of(listener):
    return listener.getsockname()[1]


def was_left_alone(listener):
    """Whether nobody has connected to it."""
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()
    return True


@each_driver
class TestAllow:
    @pytest.mark.parametrize("timeout", [None, 5])
    @pytest.mark.parametrize(
        "allow",
        [
            ["127.0.0.0/8"],
            ("10.0.0.0/8", ip_network("127.0.0.1")),
            {"::1": 1, "127.0.0.1/32": 2}.keys(),
            lambda _: True,
        ],
        ids=["text", "networks", "keys", "callable"],
    )
    def test_what_is_permitted_is_connected_to(self, connect, server, allow, timeout):
        with connect(server.getsockname(), timeout, allow=allow) as sock:
            assert sock.getpeername() == server.getsockname()

    @pytest.mark.parametrize("timeout", [None, 5])
    @pytest.mark.parametrize("allow", [["10.0.0.0/8", "::/0"], not_loopback, is_global_address])
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.5.6.7", "0.0.0.0", "localhost", "127.1"])
    def test_what_is_not_is_refused_before_anything_is_sent(self, connect, server, allow, host, timeout):
        if host == "localhost" and allow == ["10.0.0.0/8", "::/0"]:
            allow = ["10.0.0.0/8"]  # it is ::1, too
        error = support.ran_into(AddressNotAllowedError, connect, (host, port_of(server)), timeout, allow=allow)
        assert isinstance(error, PermissionError)
        assert error.errno == errno.EACCES
        assert str(error).startswith("[Errno 13] allow does not permit ")
        assert all("failed after" in note or "allow does not permit" in note for note in error.__notes__)
        assert was_left_alone(server)

    @needs_ipv6
    @pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "::", "::ffff:0.0.0.0", "::ffff:7f00:1"])
    @pytest.mark.parametrize("allow", [not_loopback, is_global_address, ["0.0.0.0/1", "::/127"]])
    def test_ipv6(self, connect, server, host, allow):
        with listening(socket.AF_INET6) as other:
            if allow == ["0.0.0.0/1", "::/127"]:  # these permit all of them
                allow = ["128.0.0.0/1", "2000::/3"]
            for target in (server, other):
                support.ran_into(AddressNotAllowedError, connect, (host, port_of(target)), 5, allow=allow)
                assert was_left_alone(target)

    @needs_ipv6
    def test_a_predicate_is_given_what_is_reached(self, connect, server):
        asked = []

        def allow(address):
            asked.append(address)
            return True

        connect(("::ffff:127.0.0.1", port_of(server)), 5, allow=allow).close()
        connect(("0.0.0.0", port_of(server)), 5, allow=allow).close()
        assert asked == [ip_address("127.0.0.1"), ip_address("0.0.0.0"), ip_address("127.0.0.1")]
        with listening(socket.AF_INET6) as other:
            connect(("::1", port_of(other), 0, 0), 5, allow=allow).close()
        assert [type(each) for each in asked] == 3 * [IPv4Address] + [IPv6Address]

    def test_of_several_addresses_the_others_are_tried(self, connect, server):
        answer = resolver(("127.0.0.2", port_of(server)), server.getsockname())
        trace = []
        settings = {"resolver": answer, "allow": ["127.0.0.1"], "trace": trace.append}
        with connect(("rebinding.test", port_of(server)), 5, **settings) as sock:
            assert sock.getpeername() == server.getsockname()
        failed = [event.error for event in trace if isinstance(event, Failed)]
        assert [str(error) for error in failed] == ["[Errno 13] allow does not permit 127.0.0.2"]

    def test_an_answer_says_more_than_a_refusal_of_ours(self, connect, server):
        with support.held_port() as closed:
            answer = resolver(closed.getsockname(), ("127.0.0.2", port_of(server)))
            error = support.ran_into(
                ConnectionRefusedError, connect, ("a.test", 1), 5, resolver=answer, allow=["127.0.0.1"]
            )
        assert ["does not permit 127.0.0.2" in note for note in error.__notes__] == [False, True]

    def test_each_address_has_its_note_or_its_error(self, connect, server):
        answer = resolver(("127.0.0.2", 1), ("10.0.0.1", 2))
        error = support.ran_into(
            AddressNotAllowedError, connect, ("a.test", 1), 5, resolver=answer, allow=is_global_address
        )
        assert [note.split(": ")[0] for note in error.__notes__] == ["127.0.0.2:1", "10.0.0.1:2"]
        group = support.ran_into(
            ExceptionGroup, connect, ("a.test", 1), 5, resolver=answer, allow=is_global_address, all_errors=True
        )
        assert [type(each) for each in group.exceptions] == 2 * [AddressNotAllowedError]

    def test_a_name_that_changes_its_address(self, connect, server):
        """DNS rebinding: checked once, and another address at the next connect; also with a memory and a retry."""
        answers = [server.getsockname(), ("127.0.0.2", port_of(server))]
        connector = Connector(
            resolver=lambda *_: resolver(answers.pop(0))("rebinding.test", 1),
            allow=["127.0.0.1"],
            memory=ConnectMemory(),
            retry=Retry(attempts=5),
        )
        connect(("rebinding.test", 1), 5, connector=connector).close()
        support.ran_into(AddressNotAllowedError, connect, ("rebinding.test", 1), 5, connector=connector)
        assert answers == []  # and there was no retry: it is permanent

    @pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433", "", "127.0.0.1.", 5, None])
    def test_an_answer_that_is_no_address(self, connect, server, host):
        """connect() would look it up once more."""
        answer = resolver((host, port_of(server)))
        error = support.ran_into(
            AddressNotAllowedError, connect, ("a.test", 1), 5, resolver=answer, allow=lambda _: True
        )
        assert "is none" in str(error)
        assert was_left_alone(server)

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no sockets of AF_UNIX")
    def test_an_answer_of_another_kind(self, connect, tmp_path):
        path = str(tmp_path / "socket")

        def answer(*_):
            return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            support.ran_into(AddressNotAllowedError, connect, ("a.test", 1), 5, resolver=answer, allow=lambda _: True)
            assert was_left_alone(listener)

    @pytest.mark.parametrize("where", ["literal", "name"])
    @pytest.mark.parametrize("answer", [None, 1, "no", ()], ids=repr)
    def test_a_predicate_that_says_neither(self, connect, server, where, answer):
        settings = {"resolver": resolver(server.getsockname())} if where == "name" else {}
        with pytest.raises(TypeError, match=f"allow must return a bool, not {type(answer).__name__}"):
            connect(server.getsockname(), 5, allow=lambda _: answer, **settings)
        assert was_left_alone(server)

    @pytest.mark.parametrize("where", ["literal", "name"])
    def test_a_predicate_that_raises(self, connect, server, where):
        def allow(_):
            raise LookupError

        settings = {"resolver": resolver(server.getsockname())} if where == "name" else {}
        support.ran_into(LookupError, connect, server.getsockname(), 5, allow=allow, **settings)
        assert was_left_alone(server)

    def test_with_a_source(self, connect, server):
        settings = {"source_address": ["127.0.0.1"]}
        support.ran_into(AddressNotAllowedError, connect, server.getsockname(), 5, allow=["::1"], **settings)
        connect(server.getsockname(), 5, allow=["127.0.0.1"], **settings).close()

    def test_the_last_word_of_the_trace(self, connect):
        trace = []
        error = support.ran_into(
            AddressNotAllowedError, connect, ("127.0.0.1", 1), 5, allow=["::1"], trace=trace.append
        )
        assert trace[-1] == GiveUp(error)


@each_driver
class TestFamily:
    @needs_ipv6
    @pytest.mark.parametrize("timeout", [None, 5])
    @support.both_families
    def test_is_what_a_name_is_looked_up_for(self, connect, family, timeout):
        with dual_stack(v6="echo", v4="echo") as both, connect(both.address, timeout, family=family) as sock:
            assert sock.family == family
        with names({"both.test": ["::1", "127.0.0.1"]}), support.held_port() as closed:
            error = support.ran_into(
                ConnectionRefusedError, connect, ("both.test", closed.getsockname()[1]), timeout, family=family
            )
        assert len(error.__notes__) == 1

    @pytest.mark.parametrize("timeout", [None, 5])
    def test_the_resolver_is_told(self, connect, server, timeout):
        asked = []

        def answer(host, port, family=0, *_):
            asked.append(family)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]

        settings = {"resolver": answer, "family": socket.AF_INET}
        connect(("a.test", 1), timeout, **settings).close()
        connect(("a.test", 1), timeout, resolution_delay=0.05, **settings).close()  # there is nothing to wait for
        assert asked == [socket.AF_INET, socket.AF_INET]

    @pytest.mark.parametrize("timeout", [None, 5])
    def test_a_resolver_that_does_not_listen(self, connect, server, timeout):
        def answer(*_):
            other = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port_of(server), 0, 0))
            return [other, (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]

        with connect(("a.test", 1), timeout, resolver=answer, family=socket.AF_INET) as sock:
            assert sock.getpeername() == server.getsockname()

    @pytest.mark.parametrize("timeout", [None, 5])
    @pytest.mark.parametrize("where", ["literal", "resolver", "localhost"])
    def test_an_address_of_the_other_one(self, connect, server, where, timeout):
        def answer(*_):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]

        settings = {"family": socket.AF_INET6} | ({"resolver": answer} if where != "literal" else {})
        host = {"literal": "127.0.0.1", "resolver": "a.test"}.get(where, where)
        error = support.ran_into(socket.gaierror, connect, (host, port_of(server)), timeout, **settings)
        assert f"127.0.0.1:{port_of(server)} is no address of the family AF_INET6" in str(error)
        assert was_left_alone(server)

    def test_unspecified_is_both(self, connect, server):
        connect(server.getsockname(), 5, family=socket.AF_UNSPEC).close()


@pytest.mark.parametrize("timeout", [0, 0.0])
def test_no_time_to_wait(server, timeout):
    """The blocking driver does not wait then, and builds no machine."""
    connector = Connector(timeout=timeout, allow=["127.0.0.2"])
    support.ran_into(AddressNotAllowedError, connector.connect, server.getsockname())
    support.ran_into(AddressNotAllowedError, connector.replace(trace=print).connect, server.getsockname())
    connector = Connector(timeout=timeout, family=socket.AF_INET6)
    support.ran_into(socket.gaierror, connector.connect, server.getsockname())


OTHERS = {
    "open_connection": lambda address, **settings: asyncio.run(
        safeconnect.asyncio.open_connection(address, 5, **settings)
    ),
    "connect_transport": lambda address, **settings: asyncio.run(
        safeconnect.asyncio.connect_transport(asyncio.Protocol, address, 5, **settings)
    ),
    "open_tcp_stream": lambda address, **settings: trio.run(
        lambda: safeconnect.trio.open_tcp_stream(*address, timeout=5, **settings)
    ),
    "connect_tcp": lambda address, **settings: asyncio.run(
        safeconnect.anyio.connect_tcp(*address, timeout=5, **settings)
    ),
    "connect_tcp on trio": lambda address, **settings: trio.run(
        lambda: safeconnect.anyio.connect_tcp(*address, timeout=5, **settings)
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_ways_to_connect(name, server):
    support.ran_into(AddressNotAllowedError, OTHERS[name], server.getsockname(), allow=is_global_address)
    support.ran_into(socket.gaierror, OTHERS[name], server.getsockname(), family=socket.AF_INET6)
    assert was_left_alone(server)


WAITS = {
    "blocking": safeconnect.wait_for_port,
    "asyncio": lambda *arguments, **settings: asyncio.run(safeconnect.asyncio.wait_for_port(*arguments, **settings)),
    "trio": lambda *arguments, **settings: trio.run(lambda: safeconnect.trio.wait_for_port(*arguments, **settings)),
}


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("name", WAITS)
def test_a_wait_ends_at_once(name, server, gone):
    for settings, kind in (
        ({"allow": ["::1"]}, AddressNotAllowedError),
        ({"family": socket.AF_INET6}, socket.gaierror),
    ):
        connector = Connector(**settings)
        support.ran_into(kind, WAITS[name], server.getsockname(), 60, gone=gone, connector=connector)
    assert was_left_alone(server)

"""``share_source``: beside whom a source port may be shared, on the real kernel, against what the docs promise."""

import contextlib
import errno
import os
import socket
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeconnect import SelfConnectError, create_connection, is_self_connected
from safeconnect._connect import source_search
from safeconnect._local.binding import bind_socket, reserve_port
from safeconnect._local.source_pool import SourcePool
from safeconnect._sockets import option_numbers

from .. import namespace, support
from ..drivers import each_driver
from ..support import linux_only, needs_ipv6
from .sharing import ADDR, BOTH, FLAGS, HOME, NONE, PORT, STATES, fresh, gets_in, neighbour, sharing

pytestmark = linux_only

each_flag = pytest.mark.parametrize("flags", FLAGS)
each_state = pytest.mark.parametrize("state", STATES)


@pytest.fixture(scope="module")
def there():
    """Where the neighbours connect to."""
    with support.listening(host="0.0.0.0", backlog=1000) as server:
        yield "127.0.0.1", server.getsockname()[1]


def fails_unless(may):
    return contextlib.nullcontext() if may else pytest.raises(OSError, match="in use")


def shared(connect, target, address, **settings):
    return connect(target, 5, source_address=address, share_source=True, **settings)


def check_shared(connect, server, address, *, expected):
    """A connect from the address succeeds or finds it in use, as expected."""
    if expected:
        with shared(connect, server.getsockname(), address) as ours:
            assert ours.getsockname() == address
            support.reset(ours)
    else:
        error = support.ran_into(OSError, shared, connect, server.getsockname(), address)
        assert error.errno == errno.EADDRINUSE


@each_driver
@each_flag
@each_state
class TestNeighbours:
    def test_that_are_there_before(self, connect, flags, state, server, there):
        address = fresh()
        with neighbour(flags, state, address, there):
            check_shared(connect, server, address, expected=gets_in(flags, state))

    def test_that_come_later(self, connect, flags, state, server, there):
        address = fresh()
        with shared(connect, server.getsockname(), address) as ours:
            with fails_unless(flags != NONE), neighbour(flags, state, address, there) as other:
                assert other.getsockname() == address
            support.reset(ours)


@each_flag
@each_state
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
@needs_ipv6
def test_neighbours_at_every_address(flags, state, host, server, there):
    """A wildcard address counts as ours, and that of a dual-stack socket, too."""
    address = fresh()
    target = there if "." in host and ":" not in host else (f"::ffff:{there[0]}", there[1])
    with neighbour(flags, state, (host, address[1]), target):
        # Once it is connected, the other one has an address of its own, which is not ours.
        may = gets_in(flags, state) or state == "connected"
        with fails_unless(may), shared(create_connection, server.getsockname(), address) as ours:
            assert ours.getsockname() == address
            support.reset(ours)


@needs_ipv6
def test_a_neighbour_for_ipv6_alone_does_not_count(server):
    address = fresh()
    with (
        socket.create_server(("::", address[1]), family=socket.AF_INET6),
        shared(create_connection, server.getsockname(), address) as ours,
    ):
        support.reset(ours)


@needs_ipv6
def test_over_ipv6():
    with (
        support.listening(socket.AF_INET6) as server,
        bind_socket(("::1", 0), reuse_port=True) as listener,
    ):
        listener.listen()
        address = listener.getsockname()
        with shared(create_connection, server.getsockname(), address[:2]) as ours:
            assert ours.getsockname() == address
            support.reset(ours)
        support.ran_into(SelfConnectError, shared, create_connection, address, address)


class TestOrder:
    """The kernel remembers of a port what its sockets had in common (fastreuse): whoever came first must not count."""

    @pytest.mark.slow
    @given(st.lists(st.tuples(st.sampled_from(FLAGS), st.sampled_from(STATES), st.booleans()), max_size=5))
    @settings(max_examples=150)
    def test_only_those_that_are_there_count(self, there, history):
        address = fresh()
        alive = []
        with support.listening() as server, contextlib.ExitStack() as stack:
            for number, (flags, state, stays) in enumerate(history):
                destination = (f"127.0.0.{10 + number}", there[1])
                with contextlib.suppress(OSError), contextlib.ExitStack() as own:
                    own.enter_context(neighbour(flags, state, address, destination))
                    if stays:
                        alive.append((flags, state))
                        stack.push(own.pop_all())
            check_shared(create_connection, server, address, expected=all(gets_in(*each) for each in alive))


@each_driver
class TestHolePunching:
    """Connecting from the port on which one listens, as libp2p does."""

    def test_from_the_port_of_a_listener(self, connect, server):
        with bind_socket((HOME, 0), reuse_port=True) as listener:
            listener.listen()
            with shared(connect, server.getsockname(), listener.getsockname()) as ours:
                assert ours.getsockname() == listener.getsockname()
                with socket.create_connection(listener.getsockname(), 5) as caller:
                    listener.settimeout(5)
                    incoming, who = listener.accept()  # the listener still gets what is its own
                    assert who == caller.getsockname()
                    support.reset(incoming)
                support.reset(ours)

    @pytest.mark.parametrize(
        ("host", "target"), [(HOME, HOME), ("0.0.0.0", "127.0.0.1")], ids=["one address", "any address"]
    )
    def test_never_to_that_very_listener(self, connect, host, target):
        """The listener is not asked: the socket's SYN finds the socket itself. So it meets itself, each time."""
        with bind_socket((host, 0), reuse_port=True) as listener:
            listener.listen()
            port = listener.getsockname()[1]
            before = Counter(support.tcp_sockets(port))  # the port may have been an earlier connection's
            for _ in range(5):
                support.ran_into(SelfConnectError, shared, connect, (target, port), (host, port))
            assert not Counter(support.tcp_sockets(port)) - before, "nothing stays behind"
            with socket.create_connection((target, port), 5) as caller:
                listener.settimeout(5)
                listener.accept()[0].close()
                support.reset(caller)

    def test_unless_it_is_allowed(self, connect):
        with bind_socket((HOME, 0), reuse_port=True) as listener:
            listener.listen()
            with shared(connect, listener.getsockname(), listener.getsockname(), allow_self_connect=True) as ours:
                assert is_self_connected(ours)
                support.reset(ours)


_LISTEN = 0x0A


@each_driver
class TestSources:
    @pytest.mark.parametrize("flags", [ADDR, PORT, BOTH])
    def test_source_ports(self, connect, flags, server, there):
        host, port = fresh()
        for only in (str(port), f"40000,{port}"):
            with neighbour(flags, "connected", (host, port), there), sharing(NONE) as other:
                other.bind((host, 40000))  # not to be shared
                with connect(
                    server.getsockname(), 5, source_address=host, source_ports=only, share_source=True
                ) as ours:
                    assert ours.getsockname() == (host, port)
                    support.reset(ours)

    def test_source_ports_pass_over_the_target(self, connect):
        with bind_socket((HOME, 0), reuse_port=True) as listener:
            listener.listen()
            port = listener.getsockname()[1]
            other = fresh()[1]
            settings = {"source_address": HOME, "source_ports": f"{port},{other}", "share_source": True}
            with connect(listener.getsockname(), 5, **settings) as ours:
                assert ours.getsockname()[1] == other
                support.reset(ours)

    def test_source_ports_alone_do_not_join_a_listener(self, connect, server):
        with bind_socket((HOME, 0), ports="20000-29999", reuse_port=True) as listener:
            listener.listen()
            port = str(listener.getsockname()[1])
            with pytest.raises(OSError, match=f"source port {port} from {HOME} toward .* is taken") as caught:
                connect(server.getsockname(), 5, source_address=HOME, source_ports=port)
            assert caught.value.errno == errno.EADDRNOTAVAIL

    def test_a_pool(self, connect, server):
        with bind_socket((HOME, 0), ports="20000-29999", reuse_port=True) as listener:
            listener.listen()
            pool = SourcePool([HOME], str(listener.getsockname()[1]))
            with connect(server.getsockname(), 5, source_address=pool, share_source=True) as ours:
                assert ours.getsockname() == listener.getsockname()
                support.reset(ours)

    @pytest.mark.parametrize("reuse_port", [False, True])
    def test_a_reserved_port(self, connect, reuse_port, server, there):
        with (
            reserve_port(HOME, reuse_port=reuse_port) as reserved,
            shared(connect, server.getsockname(), reserved.address) as one,
            shared(connect, there, reserved.address) as two,
        ):
            assert one.getsockname() == two.getsockname() == reserved.address
            support.reset(two)
            support.reset(one)

    def test_a_port_of_the_kernels_choice_can_be_shared_later(self, connect, server, there):
        for source in (None, (HOME, 0)):
            with shared(connect, server.getsockname(), source) as one:
                with shared(connect, there, one.getsockname()) as two:
                    assert two.getsockname() == one.getsockname()
                    support.reset(two)
                support.reset(one)

    def test_the_same_two_ends_are_refused_with_the_reason(self, connect, server):
        address = fresh()
        with neighbour(PORT, "connected", address, server.getsockname()):
            error = support.ran_into(OSError, shared, connect, server.getsockname(), address)
            assert error.errno == errno.EADDRNOTAVAIL
            note = f"there is a connection from {HOME}:{address[1]} to 127.0.0.1:{server.getsockname()[1]} already"
            assert any(each.startswith(note) for each in error.__notes__), error.__notes__

    def test_who_does_not_share_is_named(self, connect, server):
        address = fresh()
        with neighbour(ADDR, "listening", address, None):
            error = support.ran_into(OSError, shared, connect, server.getsockname(), address)
        story = "\n".join(error.__notes__)
        assert story.count(f"{HOME}:{address[1]} is held by ") == 1
        assert story.count(f"share_source: {HOME}:{address[1]} is not shared") == 1
        assert "SO_REUSEPORT" in story


@support.needs_port_range
class TestWindow:
    def test_the_kernel_never_chooses_the_target(self):
        """Every port of the range but one other is the target's: whoever asks the kernel for one meets itself."""
        code = """
            import safeconnect, socket
            from tests.support import reset
            for bound in (None, ("127.0.0.1", 0)):
                for _ in range(20):
                    try:
                        safeconnect.create_connection(("127.0.0.1", 40000), 5, bound, share_source=True)
                    except OSError as error:
                        print(type(error).__name__)
            with socket.create_server(("127.0.0.1", 40000), reuse_port=True) as server:
                for bound in (None, ("127.0.0.1", 0)):
                    sock = safeconnect.create_connection(("127.0.0.1", 40000), 5, bound, share_source=True)
                    print(sock.getsockname()[1])
                    reset(sock)
        """
        assert namespace.run(code, ports="40000 40001").split() == ["ConnectionRefusedError"] * 40 + ["40001"] * 2


@pytest.fixture
def other_user(monkeypatch):
    """What makes sockets of another user: who made a socket counts, not who has it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a socket of another user")

    @contextlib.contextmanager
    def become():
        try:
            os.seteuid(65534)
        except OSError as error:
            pytest.skip(f"no other user is to be had: {error}")
        try:
            yield
        finally:
            os.seteuid(0)

    return become


@each_flag
@each_state
def test_a_neighbour_of_another_user(flags, state, server, there, other_user):
    """SO_REUSEPORT is for sockets of one user; SO_REUSEADDR for all, and never beside a listener."""
    address = fresh()
    may = flags in (ADDR, BOTH) and state != "listening"
    with contextlib.ExitStack() as stack:
        with other_user():
            stack.enter_context(neighbour(flags, state, address, there))
        with fails_unless(may), shared(create_connection, server.getsockname(), address) as ours:
            support.reset(ours)


@pytest.mark.parametrize(
    ("platform", "without", "flags"),
    [
        ("linux", False, ["SO_REUSEADDR", "SO_REUSEPORT"]),
        ("darwin", False, ["SO_REUSEPORT"]),
        ("sunos5", True, None),
        ("win32", False, None),
    ],
)
def test_flags_by_platform(monkeypatch, platform, without, flags):
    monkeypatch.setattr(source_search.sys, "platform", platform)
    if without:
        monkeypatch.delattr(socket, "SO_REUSEPORT")
    if flags is None:
        with pytest.raises(OSError, match="no safe way to share") as caught:
            source_search._sharing()
        assert caught.value.errno == errno.ENOPROTOOPT
    else:
        assert [option_numbers.option_name(option).split(", ")[1] for option in source_search._sharing()] == flags

"""The looks between two tries: whether a socket of this host listens at the target."""

import errno
import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import Connector
from safeconnect._connect.settings import Settings
from safeconnect._host import sock_diag
from safeconnect._wait import policy
from safeconnect._wait.policy import LONGEST_LOOK, LOOK
from safeconnect._wait.shared import Watch

from .. import support
from ..support import linux_only, needs_ipv6
from .kit import REFUSED, SELF_CONNECTED, a_wait, at_first_pause, each_driver, os_error

SILENCE = TimeoutError("timed out")
RESET = os_error(errno.ECONNRESET)
# Longer than any test: what ends before has been seen by a look.
NEVER = 10_000.0


def refused(now=0.0, **settings):
    """A wait whose last try was refused."""
    wait = a_wait(None, now=now, **settings)
    wait.begin(now)
    assert not wait.failed(REFUSED, now)
    return wait


class TestPolicy:
    @pytest.mark.parametrize(
        ("waited", "pause"),
        [(0.0, LOOK), (0.5, LOOK), (0.999, LOOK), (1.0, 0.01), (2.0, 0.02), (2.5, 0.025), (1e6, LONGEST_LOOK)],
    )
    def test_every_few_milliseconds_and_later_after_a_hundredth_of_the_wait(self, waited, pause):
        now = 50.0 + waited
        assert refused(now=50.0).until_look(now, now + NEVER) == pytest.approx(pause)

    def test_not_beyond_the_end_of_the_pause(self):
        wait = refused()
        assert wait.until_look(1.0, 1.001) == pytest.approx(0.001)
        assert wait.until_look(1.001, 1.001) == 0

    @pytest.mark.parametrize(
        ("error", "looks"), [(REFUSED, True), (SELF_CONNECTED, True), (SILENCE, False), (RESET, False)]
    )
    def test_only_after_a_refusal(self, error, looks):
        wait = refused()
        wait.begin(1.0)
        assert not wait.looks
        wait.failed(error, 1.1)
        assert wait.looks is looks
        assert wait.until_look(1.1, 9.1) == pytest.approx(0.011 if looks else 8.0)

    def test_not_after_a_connection_nor_for_one_that_is_to_be_gone(self):
        wait = refused(check=b"220 ")
        wait.begin(1.0)
        wait.checked(None, "the check said no", 1.1)
        assert not wait.looks
        wait = a_wait(gone=True)
        wait.begin(0.0)
        wait.connected(0.1)
        assert not wait.looks

    def test_a_listener_ends_the_pause_when_it_is_new(self):
        wait = refused()
        assert [wait.looked(found) for found in (False, True, True, False, True)] == [False, True, False, False, True]

    def test_a_listener_that_a_try_does_not_reach_is_not_new_in_the_next_pause(self):
        wait = refused()
        assert wait.looked(found=True)
        wait.begin(0.1)
        wait.failed(REFUSED, 0.1)
        assert wait.looks
        assert not wait.looked(found=True)

    def test_no_more_where_it_cannot_be_seen(self):
        wait = refused()
        assert not wait.looked(None)
        assert not wait.looks
        wait.begin(0.1)
        wait.failed(REFUSED, 0.1)
        assert not wait.looks

    @given(
        up=st.integers(1, 20 * 1024).map(lambda n: n / 1024),
        interval=st.integers(10, 3 * 1024).map(lambda n: n / 1024),
        reached=st.booleans(),
        draws=st.lists(st.integers(0, 63).map(lambda n: n / 64), min_size=1, max_size=20),
    )
    def test_as_a_naive_model_does(self, *, up, interval, reached, draws):
        """The listener is there from ``up`` on; tries take no time and reach it or never do, until 25 s."""
        tries, ends = played(up, interval, draws, looks=True, reached=reached)
        plain, plain_ends = played(up, interval, draws, looks=False, reached=reached)
        if reached:
            late = tries[-1] - up
            assert 0 <= late <= LOOK if up < 1 - LOOK else late <= max(LOOK, min(up / 100 + 1e-3, LONGEST_LOOK)) + 1e-9
            assert tries[-1] <= plain[-1] + 1e-9
        # Up to then all tries are as without looks, and one at most is earlier than it would be.
        before = [each for each in tries if each < up]
        assert before == pytest.approx(plain[: len(before)])
        # The rest comes earlier by one pause at most, in whose time two of the shortest fit: chance halves some.
        assert len(tries) <= len(plain) + 2 + (ends - plain_ends > 0)


def played(up, interval, draws, *, looks, reached):
    """When the tries of a wait begin, in virtual time, and when it is over."""
    wait = a_wait(25.0, interval=interval, draw=itertools.cycle(draws).__next__)
    now, tries = 0.0, []
    while True:
        tries.append(now)
        wait.begin(now)
        if now >= up and reached:
            return tries, now
        assert not wait.failed(REFUSED, now)
        try:
            ends = now + wait.pause(now)
        except TimeoutError:
            return tries, now
        if not looks:
            wait.looked(None)
        while (seconds := wait.until_look(now, ends)) > 1e-12:
            now += seconds
            if wait.looks and wait.looked(now >= up):
                break
        else:
            now = ends


@pytest.fixture
def patient(monkeypatch):
    """Without looks the second try would never come."""
    monkeypatch.setattr(policy, "_FIRST_PAUSE", NEVER)
    return {"interval": NEVER, "timeout": NEVER}


HOSTS = [
    (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    (socket.AF_INET, "0.0.0.0", "127.0.0.2"),
    (socket.AF_INET, "127.0.0.1", "0.0.0.0"),
    (socket.AF_INET, "127.0.0.1", "localhost"),
    pytest.param((socket.AF_INET6, "::1", "::1"), marks=needs_ipv6),
    pytest.param((socket.AF_INET6, "::1", "::"), marks=needs_ipv6),
    pytest.param((socket.AF_INET6, "::", "127.0.0.1"), marks=needs_ipv6),
    pytest.param((socket.AF_INET6, "::", "::ffff:127.0.0.1"), marks=needs_ipv6),
]


@linux_only
class TestDrivers:
    @each_driver
    @pytest.mark.parametrize("hosts", HOSTS)
    def test_a_server_is_seen_at_once(self, wait, patient, monkeypatch, hosts):
        family, listening, target = hosts
        with socket.socket(family) as server:
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind((listening, 0))
            pauses = at_first_pause(monkeypatch, server.listen)
            wait((target, server.getsockname()[1]), **patient)
            assert len(pauses) == 1

    @each_driver
    def test_where_the_kernel_does_not_tell_the_tries_go_on(self, wait, monkeypatch):
        monkeypatch.setattr(sock_diag, "_NETLINK_SOCK_DIAG", 31)  # there is no such family
        with support.held_port() as held:
            pauses = at_first_pause(monkeypatch, held.listen)
            wait(held.getsockname(), interval=0.01)
            assert len(pauses) == 1

    def test_which_targets_are_looked_at(self, server):
        port = server.getsockname()[1]
        for host, settings, found in (
            ("127.0.0.1", Settings(), True),
            ("localhost", Settings(), True),
            ("192.0.2.1", Settings(), None),
            ("name.test", Settings(), None),
            ("localhost", Connector(resolver=socket.getaddrinfo), None),
            ("::1", Settings(), False),
        ):
            with Watch((host, port), settings) as watch:
                assert watch.look() is found or (host == "::1" and not socket.has_ipv6)

    def test_a_port_that_is_held_or_connected_is_not_listened_at(self, server):
        with support.held_port() as held, socket.create_connection(server.getsockname()) as client:
            for sock in (held, client):
                with Watch(sock.getsockname(), Settings()) as watch:
                    assert watch.look() is False
            with Watch(held.getsockname(), Settings()) as watch:
                assert [watch.look(), held.listen(), watch.look()] == [False, None, True]

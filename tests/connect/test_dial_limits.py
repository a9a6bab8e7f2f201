"""Where a race has limits: 8 in flight, 64 candidates, 16 self-connects, and nothing after the end."""

import pytest

from safeconnect import SelfConnectError
from safeconnect._connect.state_machine import Dial, Rules
from safeconnect.events import Abandon, Connected, Failed, Keep, Resolved, Start, Tick

from .world import World, candidate, played, scripts, sockaddr

SELF_CONNECTS = """
self-connects once
    4.1 self@0.01 ok@0.1
    0: start 4.1; 0.01: reset 4.1, start 4.1; 0.11: keep 4.1
in the middle of a race
    6.1 silent, 4.1 self@0.01 ok@0.1, 4.2 silent
    0: start 6.1; 0.25: start 4.1; 0.26: reset 4.1, start 4.1; 0.36: abandon 6.1, keep 4.1
given port, one try
    4.1 self@0.1 | port_is_given=True
    0: start 4.1; 0.1: reset 4.1, give up: SelfConnectError
given port, next at once
    4.1 self@0.1, 6.1 ok@0.1 | port_is_given=True
    0: start 4.1; 0.1: reset 4.1, start 6.1; 0.2: keep 6.1
a self-connect is allowed
    4.1 self@0.1 | allow_self_connect=True
    0: start 4.1; 0.1: keep 4.1
allowed, and in a race
    6.1 silent, 4.1 self@0.1 | allow_self_connect=True
    0: start 6.1; 0.25: start 4.1; 0.35: abandon 6.1, keep 4.1
self-connects, then refused
    4.1 self@0.1 refused@0.1
    0: start 4.1; 0.1: reset 4.1, start 4.1; 0.2: give up: ConnectionRefusedError
self-connects until deadline
    4.1 self@0.3 | timeout=1
    0: start 4.1; 0.3: reset 4.1, start 4.1; 0.6: reset 4.1, start 4.1; 0.9: reset 4.1, start 4.1; 1: abandon 4.1,
        give up: TimeoutError
the next one need not wait longer for it
    4.1 self@0.2 silent, 4.2 ok@1
    0: start 4.1; 0.2: reset 4.1, start 4.1; 0.25: start 4.2; 1.25: abandon 4.1, keep 4.2
serial self-connects within its share
    4.1 self@1.5, 4.2 ok@0.1 | delay=None, timeout=5
    0: start 4.1; 1.5: reset 4.1, start 4.1; 2.5: abandon 4.1, start 4.2; 2.6: keep 4.2
deadline and self-connect at once
    4.1 self@1 | timeout=1
    0: start 4.1; 1: reset 4.1, start 4.1, abandon 4.1, give up: TimeoutError
in both families
    6.1 self, 4.1 self | port_is_given=True
    0: start 6.1, reset 6.1, start 4.1, reset 4.1, give up: SelfConnectError
"""

FULL = """
without a deadline the ninth waits for a failure
    4.1-7 timeout@127, 4.8 refused@3, 4.9 ok@0.1
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.75: start 4.4; 1: start 4.5; 1.25: start 4.6; 1.5: start 4.7;
        1.75: start 4.8; 4.75: start 4.9; 4.85: abandon 4.1-7, keep 4.9
however long that takes
    4.1-8 timeout@127, 4.9 ok@0.1
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.75: start 4.4; 1: start 4.5; 1.25: start 4.6; 1.5: start 4.7;
        1.75: start 4.8; 127: start 4.9; 127.1: abandon 4.2-8, keep 4.9
with a deadline the oldest makes room
    4.1-8 silent, 4.9 ok@0.1 | timeout=60
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.75: start 4.4; 1: start 4.5; 1.25: start 4.6; 1.5: start 4.7;
        1.75: start 4.8; 2: abandon 4.1, start 4.9; 2.1: abandon 4.2-8, keep 4.9
one place is free, nobody makes room
    4.1-7 silent, 4.8 refused@0.1, 4.9 ok@0.1 | timeout=60
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.75: start 4.4; 1: start 4.5; 1.25: start 4.6; 1.5: start 4.7;
        1.75: start 4.8; 1.85: start 4.9; 1.95: abandon 4.1-7, keep 4.9
a winner of the eight needs no room
    4.1 ok@1.9, 4.2-9 silent | timeout=60
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 0.75: start 4.4; 1: start 4.5; 1.25: start 4.6; 1.5: start 4.7;
        1.75: start 4.8; 1.9: abandon 4.2-8, keep 4.1
no delay does not mean no time
    4.1-9 silent, 4.10 ok@0.1 | timeout=60, delay=0
    0: start 4.1-8; 0.25: abandon 4.1, start 4.9; 0.5: abandon 4.2, start 4.10; 0.6: abandon 4.3-9, keep 4.10
no delay and little time: fair shares
    4.1-9 silent, 4.10 ok@0.1 | timeout=0.6, delay=0
    0: start 4.1-8; 0.2: abandon 4.1, start 4.9; 0.4: abandon 4.2, start 4.10; 0.5: abandon 4.3-9, keep 4.10
"""


@scripts(SELF_CONNECTS)
def test_self_connect(given, expected):
    assert played(given, expected) == expected


@scripts(FULL)
def test_full_house(given, expected):
    assert played(given, expected) == expected


def test_the_delay_is_never_shorter_than_10_ms():
    world = World("4.1-64 silent", timeout=0.3).run()
    assert [time for time, _ in world.starts()] == pytest.approx([0.01 * place for place in range(30)])


def test_a_kernel_that_has_one_port_left_is_asked_16_times():
    world = World("4.1 self@0.01, 4.2 ok@0.1").run()
    assert [host for _, host in world.starts()] == ["4.1"] * 16 + ["4.2"]
    assert len(world.met) == 16
    assert world.now == pytest.approx(0.26)
    error = World("4.1 self").run().error
    assert type(error) is SelfConnectError
    assert str(error).endswith("nobody listens on 192.0.2.1:80: the socket connected to itself (16 of 16 tries)")


def test_at_most_64_candidates_with_both_families_among_them():
    six = [f"6.{number}" for number in range(1, 101)]
    hosts = ", ".join(f"{host} refused" for host in [*six, "4.1", "4.2"])
    tried = [host for _, host in World(hosts).run().starts()]
    assert tried == ["6.1", "4.1", "6.2", "4.2", *six[2:62]]


def test_a_remembered_address_is_within_the_64():
    tried = [host for _, host in World("4.1-100 refused", first=sockaddr("4.90")).run().starts()]
    assert tried == ["4.90", *(f"4.{number}" for number in range(1, 64))]


class TestNewsOnItsWay:
    """A driver may learn of an attempt's end in the very moment in which it abandons it."""

    def dial(self, **settings):
        dial = Dial(Rules(**settings), lambda: 0.5)
        dial.begin(0.0)
        dial.receive(Resolved("both", tuple(map(candidate, ["4.1", "4.2"]))), 0.0)
        return dial

    def test_of_an_attempt_that_met_itself(self):
        dial = self.dial()
        peer = sockaddr("4.1")
        assert dial.receive(Connected(1, peer, peer), 0.1) == [Abandon(1, reset=True), Start(2, candidate("4.1"))]
        assert dial.receive(Failed(1, OSError()), 0.1) == []
        assert dial.receive(Connected(1, ("192.0.2.9", 9), peer), 0.1) == []
        assert dial.wake_at == 0.25

    def test_of_an_attempt_whose_share_is_over(self):
        dial = self.dial(delay=None, timeout=8.0)
        assert dial.wake_at == 4.0
        assert dial.receive(Tick(), 4.0) == [Abandon(1), Start(2, candidate("4.2"))]
        assert dial.receive(Connected(1, ("192.0.2.9", 9), sockaddr("4.1")), 4.0) == []
        assert dial.receive(Connected(2, ("192.0.2.9", 9), sockaddr("4.2")), 5.0) == [Keep(2)]

    def test_after_the_end(self):
        dial = self.dial()
        assert dial.receive(Connected(1, ("192.0.2.9", 9), sockaddr("4.1")), 0.1) == [Keep(1)]
        assert dial.over
        assert dial.wake_at is None
        for event in (Tick(), Failed(1, OSError()), Connected(1, ("192.0.2.9", 9), sockaddr("4.1"))):
            assert dial.receive(event, 0.2) == []

    def test_a_tick_too_early_changes_nothing(self):
        dial = self.dial()
        assert dial.receive(Tick(), 0.1) == []
        assert dial.wake_at == 0.25


def test_a_driver_that_overslept_the_deadline_gives_up():
    world = World("4.1 silent, 4.2 silent", timeout=1, late=0.125).run()
    assert (type(world.error), world.now) == (TimeoutError, 1.125)

"""Rounds: pauses, new lookups, budgets and what the deadline leaves of them."""

import errno

import pytest

from safeconnect._connect.state_machine import Dial, Rules
from safeconnect._connect.timing import CUT_SPREAD, LAST_ROUND
from safeconnect.events import Failed, Resolve, Resolved, Start, Tick
from safeconnect.retry import Backoff, Retry, RetryBudget

from .world import SECONDS, THRICE, World, candidate, played, said, script, scripts

ROUNDS = """
second round
    4.1 refused@0.1 ok@0.1 | retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, start 4.1; 1.2: keep 4.1
third round
    4.1 refused@0.1 refused@0.1 ok@0.1 | retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, start 4.1; 3.2: look up both, start 4.1; 3.3: keep 4.1
gives up
    4.1 refused@0.1 | retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, start 4.1; 3.2: look up both, start 4.1;
        3.3: give up: ConnectionRefusedError
only after all failed
    4.1 refused@0.1 ok@0.1, 6.1 refused@0.5 | retry=THRICE
    0: look up both, start 4.1; 0.1: start 6.1; 1.6: look up both, start 4.1; 1.7: keep 4.1
a permanent error
    4.1 denied@0.1 ok | retry=THRICE
    0: look up both, start 4.1; 0.1: give up: PermissionError
a permanent error beside a transient one
    4.1 denied@0.1 silent, 6.1 unreachable@0.1 ok@0.2 | retry=THRICE
    0: look up both, start 4.1; 0.1: start 6.1; 1.2: look up both, start 4.1; 1.45: start 6.1; 1.65: abandon 4.1,
        keep 6.1
pause would pass deadline
    4.1 refused@0.5 ok | retry=THRICE, timeout=1.5
    0: look up both, start 4.1; 0.88: look up both, start 4.1, keep 4.1
pause would leave less than the round before took
    4.1 refused@0.5 ok@0.05 | retry=THRICE, timeout=1.6
    0: look up both, start 4.1; 0.975: look up both, start 4.1; 1.025: keep 4.1
pause leaves as much and a tenth of a second
    4.1 refused@0.5 ok@0.05 | retry=THRICE, timeout=2.1
    0: look up both, start 4.1; 1.5: look up both, start 4.1; 1.55: keep 4.1
no pause is short enough
    4.1 refused@0.6 ok | retry=THRICE, timeout=1
    0: look up both, start 4.1; 0.6: give up: ConnectionRefusedError
too little time for a whole round is used
    4.1 refused@0.6 ok | retry=Retry(backoff=Backoff(0.2, jitter="none")), timeout=1
    0: look up both, start 4.1; 0.8: look up both, start 4.1, keep 4.1
no round follows a cut pause
    4.1 refused | retry=Retry(attempts=None, backoff=Backoff(2, 1, jitter="none")), timeout=1
    0: look up both, start 4.1; 0.855: look up both, start 4.1, give up: ConnectionRefusedError
deadline in second round
    4.1 refused@0.5 silent | retry=THRICE, timeout=2
    0: look up both, start 4.1; 1.355: look up both, start 4.1; 2: abandon 4.1, give up: TimeoutError
as many as deadline allows
    4.1 refused@0.1 | retry=Retry(attempts=None, backoff=SECONDS), timeout=10
    0: look up both, start 4.1; 1.1: look up both, start 4.1; 3.2: look up both, start 4.1; 7.3: look up both,
        start 4.1; 9.68: look up both, start 4.1; 9.78: give up: ConnectionRefusedError
lookup fails, retried
    4.1 ok@0.1 | names="both@0.1!EAI_AGAIN both@0.2=4.1", retry=THRICE
    0: look up both; 1.1: look up both; 1.3: start 4.1; 1.4: keep 4.1
no such name not retried
    4.1 ok@0.1 | names="both@0.1!EAI_NONAME both@0.2=4.1", retry=THRICE
    0: look up both; 0.1: give up: EAI_NONAME
each round looks up anew
    4.1 refused@0.1, 4.2 ok@0.1 | names="both=4.1 both=4.2", retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, start 4.2; 1.2: keep 4.2
the name is gone in the second round
    4.1 refused@0.1 | names="both=4.1 both!EAI_NONAME", retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, give up: EAI_NONAME
a permanent error in the second round
    4.1 refused@0.1 denied@0.1 | retry=THRICE
    0: look up both, start 4.1; 1.1: look up both, start 4.1; 1.2: give up: PermissionError
a given port waits a second
    4.1 taken ok | retry=Retry(backoff=Backoff(jitter="none")), port_is_given=True
    0: look up both, start 4.1; 1: look up both, start 4.1, keep 4.1
a free port does not
    4.1 taken ok | retry=Retry(backoff=Backoff(jitter="none"))
    0: look up both, start 4.1; 0.1: look up both, start 4.1, keep 4.1
jitter draws
    4.1 refused ok | retry=Retry(backoff=Backoff(1)), draw=0.25
    0: look up both, start 4.1; 0.25: look up both, start 4.1, keep 4.1
decorrelated
    4.1 refused refused ok | retry=Retry(backoff=Backoff(1, jitter="decorrelated")), draw=0.5
    0: look up both, start 4.1; 2: look up both, start 4.1; 5.5: look up both, start 4.1, keep 4.1
two families apart each round
    6.1 refused ok, 4.1 refused | names="AAAA@0.1=6.1 A=4.1", retry=THRICE, resolution_delay=0.05
    0: look up AAAA, look up A; 0.05: start 4.1; 0.1: start 6.1; 1.1: look up AAAA, look up A; 1.15: start 4.1;
        1.2: start 6.1, keep 6.1
families restart in 2nd round
    6.1 refused silent, 4.1 refused silent, 6.2 refused ok | retry=THRICE
    0: look up both, start 6.1, start 4.1, start 6.2; 1: look up both, start 6.1; 1.25: start 4.1; 1.5: start 6.2,
        abandon 6.1, abandon 4.1, keep 6.2
one round only
    4.1 refused | retry=Retry(attempts=1)
    0: look up both, start 4.1, give up: ConnectionRefusedError
a self-connect is retried
    4.1 self@0.1 ok | retry=THRICE, port_is_given=True
    0: look up both, start 4.1; 0.1: reset 4.1; 1.1: look up both, start 4.1, keep 4.1
all_errors once per address
    4.1 refused@0.1 reset@0.1, 6.1 unreachable | retry=Retry(attempts=2, backoff=SECONDS),
        all_errors=True
    0: look up both, start 4.1; 0.1: start 6.1; 1.1: look up both, start 4.1; 1.2: start 6.1,
        give up: [ConnectionResetError, OSError EHOSTUNREACH]
serial rounds
    4.1 refused@0.1, 4.2 refused@0.1 ok@0.1 | retry=THRICE, delay=None, timeout=10
    0: look up both, start 4.1; 0.1: start 4.2; 1.2: look up both, start 4.1; 1.3: start 4.2; 1.4: keep 4.2
"""


@scripts(ROUNDS)
def test_rounds(given, expected):
    assert played(given, expected) == expected


class TestBudget:
    def test_an_empty_one_stops_the_second_retry(self):
        retry = Retry(attempts=None, backoff=SECONDS, budget=RetryBudget(tokens=3))
        assert script("4.1 refused@0.1", retry=retry) == (
            "0: start 4.1; 1.1: start 4.1; 1.2: give up: ConnectionRefusedError"
        )
        assert retry.budget.level == 1

    def test_an_empty_one_stops_the_last_round_before_the_deadline(self):
        retry = Retry(backoff=SECONDS, budget=RetryBudget(tokens=1))
        assert script("4.1 refused ok", retry=retry, timeout=1) == "0: start 4.1, give up: ConnectionRefusedError"

    def test_is_given_back_by_a_success(self):
        budget = RetryBudget(tokens=10, ratio=0.5)
        World("4.1 refused ok", retry=Retry(budget=budget)).run()
        assert budget.level == 9.5

    def test_loses_one_token_at_the_deadline(self):
        budget = RetryBudget(tokens=10)
        World("4.1 silent, 4.2 silent", retry=Retry(budget=budget), timeout=1).run()
        assert budget.level == 9

    def test_loses_a_token_each_round_the_last_and_permanent_ones_included(self):
        budget = RetryBudget(tokens=10)
        World("4.1 refused, 4.2 refused", retry=Retry(attempts=2, budget=budget)).run()
        assert budget.level == 8
        World("4.1 denied", retry=Retry(budget=budget)).run()
        assert budget.level == 7

    def test_the_first_round_never_asks_it(self):
        budget = RetryBudget(tokens=1)
        budget.failed()
        assert World("4.1 ok", retry=Retry(budget=budget)).run().kept == "4.1"


class TestWhatRetryIsAsked:
    def asked(self, hosts, **settings):
        calls = []

        class Spy(Retry):
            def pause(self, n, error, draw, *, fixed_port=False, previous=None):
                calls.append((n, type(error), draw(), fixed_port, previous))
                return Retry.pause(self, n, error, draw, fixed_port=fixed_port, previous=previous)

        World(hosts, retry=Spy(attempts=3, backoff=SECONDS), draw=0.125, **settings).run()
        return calls

    def test_the_round_its_own_error_and_the_pause_before(self):
        assert self.asked("4.1 refused timeout@1 reset") == [
            (1, ConnectionRefusedError, 0.125, False, None),
            (2, TimeoutError, 0.125, False, 1.0),
            (3, ConnectionResetError, 0.125, False, 2.0),
        ]

    def test_whether_the_port_is_given(self):
        assert [call[3] for call in self.asked("4.1 refused ok", port_is_given=True)] == [True]

    def test_nothing_after_a_success(self):
        assert self.asked("4.1 ok") == []


def test_notes_count_the_rounds():
    error = World("4.1 refused@0.1, 6.1 unreachable@0.2", retry=THRICE).run().error
    assert type(error) is ConnectionRefusedError
    assert error.__notes__ == [
        f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 100 ms (3 times)",
        f"[2001:db8::1]:80: {said(errno.EHOSTUNREACH)} after 200 ms (3 times)",
    ]


def test_the_error_of_the_last_round_is_raised_with_the_story_of_all():
    error = World("4.1 refused@0.1 unreachable@0.2", retry=Retry(attempts=2, backoff=SECONDS)).run().error
    assert str(error) == said(errno.EHOSTUNREACH)
    assert error.__notes__ == [
        f"192.0.2.1:80: {said(errno.ECONNREFUSED)} after 100 ms",
        f"192.0.2.1:80: {said(errno.EHOSTUNREACH)} after 200 ms",
    ]


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("timeout", [0.11, 1.0, 1.11, 3.0, 7.5, 10])
def test_the_last_round_is_a_little_before_the_deadline(timeout, draw):
    world = World("4.1 refused", retry=Retry(attempts=None, backoff=SECONDS), timeout=timeout, draw=draw).run()
    *_, before, last = [time for time, _ in world.starts()]
    latest = timeout - LAST_ROUND
    assert latest - CUT_SPREAD * draw * (latest - before) == pytest.approx(last)
    assert world.now == last, "given up at once, not at the deadline"
    assert type(world.error) is ConnectionRefusedError


def test_no_pause_is_no_pause():
    world = World("4.1 refused@0.1", retry=Retry(attempts=3, backoff=Backoff(0))).run()
    assert [round(time, 6) for time, _ in world.starts()] == [0, 0.1, 0.2]


def test_candidates_of_earlier_rounds_do_not_count_against_the_64():
    hosts = ", ".join(f"4.{number} refused" for number in range(1, 71))
    world = World(hosts, retry=Retry(attempts=2, backoff=SECONDS)).run()
    assert len(world.starts()) == 128


def test_a_pause_ends_no_earlier_and_whenever_later():
    dial = Dial(Rules(retry=THRICE), lambda: 0.5)
    assert dial.begin(0.0) == [Resolve("both")]
    assert dial.receive(Resolved("both", (candidate("4.1"),)), 0.0) == [Start(1, candidate("4.1"))]
    assert dial.receive(Failed(1, ConnectionRefusedError(errno.ECONNREFUSED, "")), 0.5) == []
    assert dial.wake_at == 1.5
    assert dial.receive(Tick(), 1.25) == [], "a tick too early"
    assert dial.wake_at == 1.5
    assert dial.receive(Tick(), 1.75) == [Resolve("both")], "a driver that overslept"
    world = World("4.1 refused@0.1 ok@0.1", retry=THRICE, late=0.25).run()
    assert world.starts() == [(0.0, "4.1"), (pytest.approx(1.35), "4.1")]
    assert world.kept == "4.1"

"""``attempt_timeout``: how long one attempt may last, alone, in a race, and over the rounds of a retry."""

import pytest

from safeconnect._connect.state_machine import Dial, Rules
from safeconnect.events import Abandon, Connected, Resolved, Start, Tick
from safeconnect.retry import Retry, RetryBudget

from .world import AT_ONCE, World, candidate, played, scripts, sockaddr

ATTEMPTS = """
an answer in time
    4.1 ok@0.9 | attempt_timeout=1
    0: start 4.1; 0.9: keep 4.1
an answer at the last moment
    4.1 ok@1 | attempt_timeout=1
    0: start 4.1; 1: keep 4.1
silence
    4.1 silent | attempt_timeout=1
    0: start 4.1; 1: abandon 4.1, give up: TimeoutError
an answer too late
    4.1 ok@1.1 | attempt_timeout=1
    0: start 4.1; 1: abandon 4.1, give up: TimeoutError
in a race each has its own time
    4.1 silent, 4.2 silent, 4.3 ok@0.9 | attempt_timeout=1
    0: start 4.1; 0.25: start 4.2; 0.5: start 4.3; 1: abandon 4.1; 1.25: abandon 4.2; 1.4: keep 4.3
shorter than the delay, it starts the next
    4.1 silent, 4.2 ok@0.05 | attempt_timeout=0.1
    0: start 4.1; 0.1: abandon 4.1, start 4.2; 0.15: keep 4.2
longer than the deadline, it does nothing
    4.1 silent | attempt_timeout=3, timeout=2
    0: start 4.1; 2: abandon 4.1, give up: TimeoutError
in a row without a deadline
    4.1 silent, 4.2 ok@0.5 | attempt_timeout=1, delay=None
    0: start 4.1; 1: abandon 4.1, start 4.2; 1.5: keep 4.2
a self-connect gives no more time
    4.1 self@0.6 ok@0.6 | attempt_timeout=1
    0: start 4.1; 0.6: reset 4.1, start 4.1; 1: abandon 4.1, give up: TimeoutError
a refusal says more than silence
    4.1 refused@0.1, 4.2 silent | attempt_timeout=1
    0: start 4.1; 0.1: start 4.2; 1.1: abandon 4.2, give up: ConnectionRefusedError
all_errors
    4.1 refused@0.1, 4.2 silent | attempt_timeout=1, all_errors=True
    0: start 4.1; 0.1: start 4.2; 1.1: abandon 4.2, give up: [ConnectionRefusedError, TimeoutError]
two whose time ends at once make place for two
    4.1-9 silent, 4.10 ok@0.5 | attempt_timeout=1, delay=0
    0: start 4.1-8; 1: abandon 4.1, start 4.9, abandon 4.2, start 4.10, abandon 4.3-8; 1.5: abandon 4.9, keep 4.10
"""

ROUNDS = """
silence is tried again
    4.1 silent ok@0.1 | retry=Retry(backoff=SECONDS), attempt_timeout=1
    0: look up both, start 4.1; 1: abandon 4.1; 2: look up both, start 4.1; 2.1: keep 4.1
not without attempt_timeout
    4.1 silent ok@0.1 | retry=ON_AND_ON, timeout=5
    0: look up both, start 4.1; 5: abandon 4.1, give up: TimeoutError
no more often than attempts says
    4.1 silent | retry=Retry(attempts=2, backoff=AT_ONCE), attempt_timeout=1, timeout=9
    0: look up both, start 4.1; 1: abandon 4.1, look up both, start 4.1; 2: abandon 4.1, give up: TimeoutError
until the deadline, whose error is the last
    4.1 silent | retry=ON_AND_ON, attempt_timeout=1, timeout=2.5
    0: look up both, start 4.1; 1: abandon 4.1, look up both, start 4.1; 2: abandon 4.1, look up both, start 4.1;
        2.5: abandon 4.1, give up: TimeoutError
only when all are silent
    4.1 silent, 4.2 silent ok@0.1 | retry=Retry(backoff=SECONDS), attempt_timeout=1
    0: look up both, start 4.1; 0.25: start 4.2; 1: abandon 4.1; 1.25: abandon 4.2; 2.25: look up both, start 4.1;
        2.5: start 4.2; 2.6: abandon 4.1, keep 4.2
in a row with shares
    4.1 silent, 4.2 silent ok@0.1 | retry=Retry(backoff=SECONDS), attempt_timeout=1, timeout=9, delay=None
    0: look up both, start 4.1; 1: abandon 4.1, start 4.2; 2: abandon 4.2; 3: look up both, start 4.1; 4: abandon 4.1,
        start 4.2; 4.1: keep 4.2
a pause past the deadline is not begun
    4.1 silent ok | retry=Retry(backoff=SECONDS), attempt_timeout=1, timeout=1.5
    0: look up both, start 4.1; 1: abandon 4.1, give up: TimeoutError
where refusals are an answer, silence is still tried again
    4.1 silent refused | retry=Retry(backoff=SECONDS, on=lambda error: is_transient(error, refused=False)),
        attempt_timeout=1
    0: look up both, start 4.1; 1: abandon 4.1; 2: look up both, start 4.1, give up: ConnectionRefusedError
"""


@scripts(ATTEMPTS)
def test_attempt(given, expected):
    assert played(given, expected) == expected


@scripts(ROUNDS)
def test_round(given, expected):
    assert played(given, expected) == expected


@pytest.mark.parametrize("timeout", [None, 0.3])
def test_the_notes_tell_what_ended_it(timeout):
    error = World("4.1 silent, 4.2 silent", attempt_timeout=0.2, delay=None, timeout=timeout).run().error
    assert (type(error), error.errno) == (TimeoutError, None)
    first = "its share of the time) after 150 ms" if timeout else "attempt_timeout) after 200 ms"
    second = "timed out after 150 ms" if timeout else "timed out (attempt_timeout) after 200 ms"
    assert error.__notes__ == [f"192.0.2.1:80: timed out ({first}", f"192.0.2.2:80: {second}"]


def test_a_budget_loses_a_token_for_each_silent_round():
    budget = RetryBudget(tokens=10)
    retry = Retry(attempts=None, backoff=AT_ONCE, budget=budget)
    world = World("4.1 silent, 4.2 silent", retry=retry, attempt_timeout=1, timeout=100).run()
    assert budget.level == 5
    assert len(world.starts()) == 10, "five rounds of two: half of the tokens"


def test_retry_is_asked_with_the_attempts_error():
    asked = []
    retry = Retry(on=lambda error: asked.append((type(error), str(error), error.errno)))
    World("4.1 silent", retry=retry, attempt_timeout=1, timeout=5).run()
    assert asked == [(TimeoutError, "timed out (attempt_timeout)", None)]


def test_retry_is_never_asked_about_the_deadline():
    asked = []
    World("4.1 silent", retry=Retry(on=asked.append), attempt_timeout=5, timeout=5).run()
    assert asked == []


def test_news_of_an_attempt_whose_time_was_over_comes_too_late():
    dial = Dial(Rules(attempt_timeout=1.0), lambda: 0.5)
    dial.begin(0.0)
    two = tuple(map(candidate, ["4.1", "4.2"]))
    assert dial.receive(Resolved("both", two), 0.0) == [Start(1, two[0])]
    assert dial.receive(Tick(), 0.25) == [Start(2, two[1])]
    assert dial.wake_at == 1.0
    assert dial.receive(Tick(), 1.0) == [Abandon(1)]
    assert dial.wake_at == 1.25
    assert dial.receive(Connected(1, ("192.0.2.9", 9), sockaddr("4.1")), 1.1) == []

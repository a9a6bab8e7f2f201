"""Script: connects in virtual time, to the millisecond."""

import errno

import pytest

from safeconnect import Backoff, Retry, SelfConnectError
from safeconnect.testing import Script

SIX, FOUR = "2001:db8::1", "192.0.2.1"


def test_a_dead_first_address():
    result = Script({SIX: "silent", FOUR: "ok after 0.02"}).connect(timeout=5)
    assert result.timeline == [
        (0.0, f"start {SIX}"),
        (0.25, f"start {FOUR}"),
        (0.27, f"abandon {SIX}"),
        (0.27, f"keep {FOUR}"),
    ]
    assert (result.connected_to, result.error, result.seconds) == (FOUR, None, 0.27)
    assert result.starts() == [(0.0, SIX), (0.25, FOUR)]


def test_retries_with_pauses():
    script = Script({FOUR: ["refused after 0.1", "refused", "ok"]}, lookup=0.05)
    retry = Retry(attempts=5, backoff=Backoff(initial=1, jitter="none"))
    result = script.connect(timeout=10, retry=retry)
    assert [when for when, _ in result.starts()] == [0.05, 1.2, 3.25]
    assert result.connected_to == FOUR


def test_the_deadline():
    result = Script({FOUR: "silent", "192.0.2.2": "silent"}).connect(timeout=3)
    assert type(result.error) is TimeoutError
    assert result.seconds == 3
    assert result.connected_to is None
    assert result.timeline[-1] == (3.0, "give up")


def test_an_attempt_that_may_not_last():
    retry = Retry(backoff=Backoff(initial=1, jitter="none"))
    result = Script({FOUR: ["silent", "ok after 0.5"]}).connect(timeout=9, attempt_timeout=2, retry=retry)
    assert result.timeline == [
        (0.0, f"start {FOUR}"),
        (2.0, f"abandon {FOUR}"),
        (3.0, f"start {FOUR}"),
        (3.5, f"keep {FOUR}"),
    ]


@pytest.mark.parametrize(
    ("outcome", "number"),
    [
        ("refused", errno.ECONNREFUSED),
        ("reset", errno.ECONNRESET),
        ("timed out after 127", errno.ETIMEDOUT),
        ("unreachable", errno.EHOSTUNREACH),
        ("denied", errno.EACCES),
        ("exhausted", errno.EADDRNOTAVAIL),
    ],
)
def test_what_it_ends_with(outcome, number):
    assert Script({FOUR: outcome}).connect().error.errno == number


def test_itself():
    result = Script({FOUR: "itself"}).connect()
    assert type(result.error) is SelfConnectError
    assert {what for _, what in result.timeline} == {f"start {FOUR}", f"reset {FOUR}", "give up"}
    assert Script({FOUR: "itself"}).connect(allow_self_connect=True).connected_to == FOUR


def test_a_script_can_be_connected_twice():
    script = Script({FOUR: ["refused", "ok"]})
    assert script.connect().connected_to is None
    assert script.connect(retry=Retry(backoff=Backoff(initial=0))).connected_to == FOUR
    assert script.connect().connected_to is None


def test_all_errors():
    error = Script({SIX: "refused", FOUR: "unreachable"}).connect(all_errors=True).error
    assert [type(each) for each in error.exceptions] == [ConnectionRefusedError, OSError]


def test_jitter_is_the_callers():
    script = Script({FOUR: ["refused", "ok"]})
    retry = Retry(backoff=Backoff(initial=8, jitter="full"))
    assert script.connect(retry=retry, draw=lambda: 0.25).starts()[1][0] == 2.0


def test_for_ever():
    with pytest.raises(AssertionError, match="it would wait without a limit"):
        Script({FOUR: "silent"}).connect()


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        ({}, "addresses must have an address"),
        ({"example.org": "ok"}, "does not appear to be"),
        ({FOUR: "fine"}, "the outcome at 192.0.2.1 must be one of ok, silent, itself, refused"),
        ({FOUR: "silent after 1"}, "the outcome at"),
        ({FOUR: "ok after -1"}, "the seconds at 192.0.2.1 must be 0 or more"),
        ({FOUR: "ok after soon"}, "could not convert"),
        ({FOUR: []}, "there must be an outcome at 192.0.2.1"),
    ],
)
def test_arguments(addresses, text):
    with pytest.raises(ValueError, match=text):
        Script(addresses)

"""A silent address gets a second attempt beside the first: when, how many, and what ends them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeconnect._connect.state_machine import MOST_IN_FLIGHT
from safeconnect._connect.timing import SecondAttempts, second_attempts_note, times_of_syns
from safeconnect.events import Abandon, Start

from .test_dial_worlds import worlds
from .world import LINEAR, World, played, scripts, sockaddr

CASES = """
beside the first, and each in the place of the one before
    4.1 silent | timeout=19, second=LINEAR
    0: start 4.1; 6: start 4.1; 12: replace 4.1, start 4.1; 18: replace 4.1, start 4.1; 19: abandon 4.1, abandon 4.1,
        give up: TimeoutError
a kernel whose pauses double at once
    4.1 silent | timeout=5, second=DOUBLING
    0: start 4.1; 2: start 4.1; 4: replace 4.1, start 4.1; 5: abandon 4.1, abandon 4.1, give up: TimeoutError
the second one wins
    4.1 silent ok@0.1 | timeout=60, second=LINEAR
    0: start 4.1; 6: start 4.1; 6.1: abandon 4.1, keep 4.1
the first one wins
    4.1 ok@7 silent | timeout=60, second=LINEAR
    0: start 4.1; 6: start 4.1; 7: abandon 4.1, keep 4.1
none where it is answered in time
    4.1 ok@5.9 | timeout=60, second=LINEAR
    0: start 4.1; 5.9: keep 4.1
none without a deadline
    4.1 timeout@127 | second=LINEAR
    0: start 4.1; 127: give up: TimeoutError
none that is due with the deadline
    4.1 silent | timeout=6, second=LINEAR
    0: start 4.1; 6: abandon 4.1, give up: TimeoutError
a refusal of the second ends the first
    4.1 silent refused@0.5 | timeout=60, second=LINEAR
    0: start 4.1; 6: start 4.1; 6.5: abandon 4.1, give up: ConnectionRefusedError
so does a reset
    4.1 silent reset@0.5, 4.2 silent | timeout=6.75, second=LINEAR
    0: start 4.1; 0.25: start 4.2; 6: start 4.1; 6.25: start 4.2; 6.5: abandon 4.1; 6.75: abandon 4.2, abandon 4.2,
        give up: TimeoutError
what the first meets ends the second
    4.1 timeout@7 silent | timeout=60, second=LINEAR
    0: start 4.1; 6: start 4.1; 7: abandon 4.1, give up: TimeoutError
no port for the second, and another try a second later
    4.1 silent taken ok@0.1 | timeout=60, second=LINEAR
    0: start 4.1; 6: start 4.1; 7: start 4.1; 7.1: abandon 4.1, keep 4.1
a second one that connects to itself is reset
    4.1 silent self ok@0.1 | timeout=60, second=DOUBLING
    0: start 4.1; 2: start 4.1, reset 4.1, start 4.1; 2.1: abandon 4.1, keep 4.1
each address once all have been started
    6.1 silent, 4.1 silent | timeout=3, second=DOUBLING
    0: start 6.1; 0.25: start 4.1; 2: start 6.1; 2.25: start 4.1; 3: abandon 6.1, abandon 4.1, abandon 6.1,
        abandon 4.1, give up: TimeoutError
the last silent one of a race
    6.1 unreachable, 4.1 refused@0.1, 4.2 silent silent ok@0.1 | timeout=60, second=DOUBLING
    0: start 6.1, start 4.1; 0.1: start 4.2; 2.1: start 4.2; 4.1: replace 4.2, start 4.2; 4.2: abandon 4.2, keep 4.2
not while other addresses wait
    4.1 silent, 4.2 ok@0.1 | timeout=60, delay=5, second=DOUBLING
    0: start 4.1; 5: start 4.2, start 4.1; 5.1: abandon 4.1, abandon 4.1,
        keep 4.2
one after the other, within a share
    4.1 silent, 4.2 ok@0.1 | timeout=7, delay=None, second=DOUBLING
    0: start 4.1; 2: start 4.1; 3.5: abandon 4.1, abandon 4.1, start 4.2; 3.6: keep 4.2
attempt_timeout is for the address
    4.1 silent, 4.2 refused | timeout=60, attempt_timeout=3, second=DOUBLING
    0: start 4.1; 0.25: start 4.2; 2: start 4.1; 3: abandon 4.1, abandon 4.1, give up: ConnectionRefusedError
a retry begins with a first attempt
    4.1 silent silent ok@0.1 | timeout=60, attempt_timeout=3, second=DOUBLING, retry=Retry(backoff=AT_ONCE)
    0: start 4.1; 2: start 4.1; 3: abandon 4.1, abandon 4.1, start 4.1; 3.1: keep 4.1
eight in flight are the most
    4.1-8 silent | timeout=9, delay=0, second=DOUBLING
    0: start 4.1-8; 9: abandon 4.1-8, give up: TimeoutError
"""


@scripts(CASES)
def test_script(given, expected):
    assert played(given, expected) == expected


def test_the_trace_says_beside_which_and_what_was_replaced():
    stream = [each for _, each in World("4.1 silent", timeout=13, second=LINEAR).run().stream]
    assert [each.beside for each in stream if isinstance(each, Start)] == [None, 1, 1]
    assert [(each.attempt, each.replaced) for each in stream if isinstance(each, Abandon)] == [
        (2, True),
        (1, False),
        (3, False),
    ]


def test_the_notes_do_not_grow():
    error = World("4.1 silent, 4.2 silent", timeout=600, second=SecondAttempts()).run().error
    assert error.__notes__ == [
        "192.0.2.1:80: timed out after 10 min",
        "192.0.2.2:80: timed out after 10 min",
        "second attempts, beside a first one without an answer: 192.0.2.1:80 (299 times), 192.0.2.2:80 (299 times)",
    ]


def test_one_note_tells_of_eight_addresses():
    counts = {sockaddr(f"4.{number}"): number for number in range(1, 11)}
    assert second_attempts_note(counts).endswith("192.0.2.8:80 (8 times) and 2 more addresses")
    assert "192.0.2.1:80 (1 time)," in second_attempts_note(counts)


kernels = st.integers(0, 8).map(times_of_syns)
draws = st.floats(0, 1, exclude_max=True)


def syns(attempts, kernel, end):
    """When SYNs are sent, of attempts that each begin and are closed: the naive model of a kernel."""
    return sorted(
        began + later for began, closed in attempts for later in (0, *kernel) if began + later < min(closed, end)
    )


@settings(max_examples=200)
@given(kernels, draws, st.integers(2, 60))
def test_no_second_goes_without_a_syn_and_none_has_two_more(kernel, draw, timeout):
    """The naive model: count all SYNs, and those that the kernel would have sent for the first attempt alone."""
    world = World("4.1 silent", timeout=timeout, draw=draw, second=SecondAttempts(1.0, kernel)).run()
    began = {each.attempt: time for time, each in world.stream if isinstance(each, Start)}
    closed = {each.attempt: time for time, each in world.stream if isinstance(each, Abandon)}
    with_seconds = syns([(began[each], closed[each]) for each in began], kernel, timeout)
    without = syns([(0, timeout)], kernel, timeout)
    gaps = [later - sooner for sooner, later in zip(with_seconds, [*with_seconds[1:], timeout], strict=True)]
    assert max(gaps) <= 1.05 + 1e-9
    extra = len(with_seconds) - len(without)
    assert extra <= timeout / 0.95
    if draw >= 0.5:
        assert extra <= timeout


@settings(max_examples=300)
@given(worlds(), st.builds(SecondAttempts, st.sampled_from([0.1, 0.5, 1.0, 3.0]), kernels))
def test_every_world_keeps_the_promises(world, second):
    ended = World(**world, second=second).run()
    assert len(ended.seconds) == 0 or ended.rules.timeout is not None
    assert MOST_IN_FLIGHT == 8


@settings(max_examples=200)
@given(worlds())
def test_a_connect_that_is_over_sooner_is_as_without(world):
    """A second attempt that is never due changes nothing."""
    world["retry"] = None
    one, other = World(**world), World(**world, second=SecondAttempts(1000.0))
    assert [str(each) for each in one.run().stream] == [str(each) for each in other.run().stream]


@pytest.mark.parametrize(("linear", "first"), [(0, 2.0), (1, 3.0), (4, 6.0)])
def test_what_the_kernel_says_decides(linear, first):
    world = World("4.1 silent", timeout=60, second=SecondAttempts(1.0, times_of_syns(linear))).run()
    assert world.starts()[1][0] == first

"""One candidate after the other (``happy_eyeballs_delay=None``), with the time until the deadline shared out."""

import pytest

from safeconnect._connect.timing import partial_deadline
from safeconnect.retry import Backoff, Retry

from .world import World, played, scripts

IN_A_ROW = """
one candidate has all the time
    4.1 ok@1
    0: start 4.1; 1: keep 4.1
no deadline: one after the other
    4.1 refused@1, 4.2 timeout@127, 4.3 ok@1
    0: start 4.1; 1: start 4.2; 128: start 4.3; 129: keep 4.3
no deadline, all fail
    4.1 refused@1, 6.2 unreachable@2
    0: start 4.1; 1: start 6.2; 3: give up: ConnectionRefusedError
families still take turns
    6.1 refused, 6.2 ok@1, 4.1 refused
    0: start 6.1, start 4.1, start 6.2; 1: keep 6.2
fair shares
    4.1 silent, 4.2 silent, 4.3 silent | timeout=9
    0: start 4.1; 3: abandon 4.1, start 4.2; 6: abandon 4.2, start 4.3; 9: abandon 4.3, give up: TimeoutError
a quick failure leaves more to the others
    4.1 refused@0.5, 4.2 silent, 4.3 silent | timeout=9
    0: start 4.1; 0.5: start 4.2; 4.75: abandon 4.2, start 4.3; 9: abandon 4.3, give up: TimeoutError
a short deadline is shared out as well
    4.1 silent, 4.2 silent, 4.3 silent, 4.4 ok@0.1 | timeout=2
    0: start 4.1; 0.5: abandon 4.1, start 4.2; 1: abandon 4.2, start 4.3; 1.5: abandon 4.3, start 4.4; 1.6: keep 4.4
no share is below 10 ms
    4.1 silent, 4.2 silent, 4.3 silent, 4.4 ok | timeout=0.025
    0: start 4.1; 0.01: abandon 4.1, start 4.2; 0.02: abandon 4.2, start 4.3; 0.025: abandon 4.3, give up: TimeoutError
attempt_timeout cuts a share, and the others get the rest
    4.1 silent, 4.2 silent, 4.3 ok@3 | timeout=9, attempt_timeout=2
    0: start 4.1; 2: abandon 4.1, start 4.2; 4: abandon 4.2, start 4.3; 6: abandon 4.3, give up: TimeoutError
a share below attempt_timeout
    4.1 silent, 4.2 ok@0.1 | timeout=2, attempt_timeout=1.5
    0: start 4.1; 1: abandon 4.1, start 4.2; 1.1: keep 4.2
an answer at the end of its share
    4.1 ok@3, 4.2 ok@1 | timeout=6
    0: start 4.1; 3: keep 4.1
an answer after its share is too late
    4.1 ok@3.1, 4.2 ok@1 | timeout=6
    0: start 4.1; 3: abandon 4.1, start 4.2; 4: keep 4.2
the last gets the rest
    4.1 silent, 4.2 ok@4 | timeout=8
    0: start 4.1; 4: abandon 4.1, start 4.2; 8: keep 4.2
"""

# As in Go's TestDialerPartialDeadline: now, deadline, candidates left, until when the first of them may take.
PARTIAL_DEADLINES = [
    (0.0, 12.0, 1, 12.0),
    (0.0, 12.0, 2, 6.0),
    (0.0, 12.0, 3, 4.0),
    (0.0, 1.999, 1, 1.999),
    (0.0, 2.0, 2, 1.0),
    (0.0, 5.0, 10, 0.5),
    (0.0, 1.0, 1000, 0.01),
    (0.0, 0.005, 10, 0.005),
    (9.0, 12.0, 2, 10.5),
    (11.999, 12.0, 1, 12.0),
]


@scripts(IN_A_ROW)
def test_in_a_row(given, expected):
    assert played(given, expected, delay=None) == expected


@pytest.mark.parametrize(("now", "deadline", "left", "expected"), PARTIAL_DEADLINES)
def test_partial_deadline(now, deadline, left, expected):
    assert partial_deadline(now, deadline, left) == expected


def test_the_last_share_ends_at_the_deadline_to_the_bit():
    assert 0.1 + (0.45 - 0.1) < 0.45, "rounding would end the share before the deadline, and with another error"
    for now in range(1, 100):
        for deadline in range(now + 1, 200):
            assert partial_deadline(now / 20, deadline / 20, 1) == deadline / 20


def test_the_deadline_has_the_last_word():
    world = World("4.1 refused@0.1, 4.2 silent", delay=None, timeout=0.45).run()
    assert (type(world.error), world.now) == (TimeoutError, 0.45)


class TestNotTried:
    def test_a_row_that_is_cut_off(self):
        error = World("4.1 silent, 4.2 silent, 6.3 silent, 4.4 silent", delay=None, timeout=0.02).run().error
        assert error.__notes__ == [
            "192.0.2.1:80: timed out (its share of the time) after 10 ms",
            "[2001:db8::3]:80: timed out after 10 ms",
            "not tried: 192.0.2.2:80, 192.0.2.4:80",
        ]

    def test_many_are_counted(self):
        error = World("4.1-20 silent", delay=None, timeout=0.05).run().error
        assert error.__notes__[-1] == (
            f"not tried: {', '.join(f'192.0.2.{number}:80' for number in range(6, 14))} and 7 more"
        )
        error = World("4.1-13 silent", delay=None, timeout=0.05).run().error
        assert error.__notes__[-1].endswith(", 192.0.2.13:80"), "all of eight"

    def test_a_race_that_is_cut_off(self):
        error = World("4.1-4 silent", timeout=0.025).run().error
        assert error.__notes__[-1] == "not tried: 192.0.2.4:80"

    def test_of_a_later_round_those_that_no_round_has_tried(self):
        retry = Retry(attempts=2, backoff=Backoff(0.05, jitter="none"))
        hosts = "4.1 refused@0.95 silent, 4.2 silent, 4.3 silent"
        world = World(hosts, "both=4.1 both=4.2+4.1+4.3", retry=retry, timeout=1.01)
        assert world.run().error.__notes__[-1] == "not tried: 192.0.2.3:80"

    def test_beyond_the_64(self):
        error = World("4.1-66 refused").run().error
        assert error.__notes__[-1] == "not tried: 192.0.2.65:80, 192.0.2.66:80"

    def test_a_group_has_it_itself(self):
        group = World("4.1-3 silent", delay=None, timeout=0.02, all_errors=True).run().error
        assert group.__notes__ == ["not tried: 192.0.2.3:80"]
        assert len(group.exceptions) == 2

    def test_nothing_where_all_were_tried(self):
        error = World("4.1 silent, 4.2 refused", delay=None, timeout=1).run().error
        assert len(error.__notes__) == 2


def test_twenty_black_holes_before_a_good_address():
    world = World("4.1-20 silent, 4.21 ok@0.1", delay=None, timeout=84).run()
    assert [time for time, _ in world.starts()] == pytest.approx([4.0 * place for place in range(21)])
    assert (world.kept, world.now) == ("4.21", pytest.approx(80.1))

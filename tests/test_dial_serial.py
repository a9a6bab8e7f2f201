"""One candidate after the other (``happy_eyeballs_delay=None``), with the time until the deadline shared out."""

import pytest

from safeconnect._core.dial import partial_deadline

from .world import World, many, script, table

IN_A_ROW = {
    "one candidate has all the time": ("4.1 ok@1", {}, "0: start 4.1; 1: keep 4.1"),
    "no deadline: one after the other": (
        "4.1 refused@1, 4.2 timeout@127, 4.3 ok@1",
        {},
        "0: start 4.1; 1: start 4.2; 128: start 4.3; 129: keep 4.3",
    ),
    "no deadline, all fail": (
        "4.1 refused@1, 6.2 unreachable@2",
        {},
        "0: start 4.1; 1: start 6.2; 3: give up: ConnectionRefusedError",
    ),
    "families still take turns": (
        "6.1 refused, 6.2 ok@1, 4.1 refused",
        {},
        "0: start 6.1, start 4.1, start 6.2; 1: keep 6.2",
    ),
    "fair shares": (
        "4.1 silent, 4.2 silent, 4.3 silent",
        {"timeout": 9},
        ("0: start 4.1; 3: abandon 4.1, start 4.2; 6: abandon 4.2, start 4.3; 9: abandon 4.3, give up: TimeoutError"),
    ),
    "a quick failure leaves more to the others": (
        "4.1 refused@0.5, 4.2 silent, 4.3 silent",
        {"timeout": 9},
        "0: start 4.1; 0.5: start 4.2; 4.75: abandon 4.2, start 4.3; 9: abandon 4.3, give up: TimeoutError",
    ),
    "no share is below 2 s": (
        "4.1 silent, 4.2 silent, 4.3 silent, 4.4 ok@0.1",
        {"timeout": 5},
        ("0: start 4.1; 2: abandon 4.1, start 4.2; 4: abandon 4.2, start 4.3; 5: abandon 4.3, give up: TimeoutError"),
    ),
    "floor cut by the deadline": (
        "4.1 silent, 4.2 ok@0.1",
        {"timeout": 1.5},
        "0: start 4.1; 1.5: abandon 4.1, give up: TimeoutError",
    ),
    "an answer at the end of its share": ("4.1 ok@3, 4.2 ok@1", {"timeout": 6}, "0: start 4.1; 3: keep 4.1"),
    "an answer after its share is too late": (
        "4.1 ok@3.1, 4.2 ok@1",
        {"timeout": 6},
        "0: start 4.1; 3: abandon 4.1, start 4.2; 4: keep 4.2",
    ),
    "the last gets the rest": (
        "4.1 silent, 4.2 ok@4",
        {"timeout": 8},
        "0: start 4.1; 4: abandon 4.1, start 4.2; 8: keep 4.2",
    ),
    "Go serial: first ok": ("4.1 ok@0.1, 4.2 ok@0.1", {"timeout": 10}, "0: start 4.1; 0.1: keep 4.1"),
    "the last may use all that is left": (
        "4.1 refused@0.1, 4.2 silent",
        {"timeout": 5},
        "0: start 4.1; 0.1: start 4.2; 5: abandon 4.2, give up: TimeoutError",
    ),
}

# As in Go's TestDialerPartialDeadline: now, deadline, candidates left, until when the first of them may take.
PARTIAL_DEADLINES = [
    (0.0, 12.0, 1, 12.0),
    (0.0, 12.0, 2, 6.0),
    (0.0, 12.0, 3, 4.0),
    (0.0, 1.999, 1, 1.999),
    (0.0, 2.0, 2, 2.0),
    (0.0, 5.0, 10, 2.0),
    (0.0, 1.0, 10, 1.0),
    (9.0, 12.0, 2, 11.0),
    (11.999, 12.0, 1, 12.0),
]


@table("hosts settings expected", IN_A_ROW)
def test_in_a_row(hosts, settings, expected):
    assert script(hosts, delay=None, **settings) == expected


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


def test_twenty_black_holes_before_a_good_address():
    world = World(f"{many(20, 'silent')}, 4.21 ok@0.1", delay=None, timeout=84).run()
    assert [time for time, _ in world.starts()] == pytest.approx([4.0 * place for place in range(21)])
    assert (world.kept, world.now) == ("4.21", pytest.approx(80.1))

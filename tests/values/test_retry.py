"""Pauses, transient errors and the budget: exact values at the edges, and properties against naive models."""

import copy
import dataclasses
import errno
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect.errors import PortsExhaustedError
from safeconnect.retry import Backoff, Retry, RetryBudget, is_transient

JITTERS = ("full", "equal", "decorrelated", "none")
BELOW_ONE = math.nextafter(1, 0)

seconds = st.one_of(st.just(0.0), st.floats(1e-6, 1e4))
draws = st.one_of(st.just(0.0), st.just(BELOW_ONE), st.floats(0, 1, exclude_max=True))
retries = st.one_of(st.integers(1, 40), st.integers(1, 10**400))
backoffs = st.builds(Backoff, seconds, st.floats(1, 10), seconds, st.sampled_from(JITTERS))


def always(value):
    return lambda: value


def never():
    pytest.fail("nothing is to be drawn")


def model_cap(backoff, n):
    cap = backoff.initial
    for _ in range(n - 1):
        cap *= backoff.factor
    return min(cap, backoff.maximum)


class TestBackoff:
    def test_the_defaults(self):
        backoff = Backoff()
        assert (backoff.initial, backoff.factor, backoff.maximum, backoff.jitter) == (0.1, 2.0, 10.0, "full")
        assert repr(backoff) == "Backoff(initial=0.1, factor=2.0, maximum=10.0, jitter='full')"

    @given(backoffs, retries, draws, st.one_of(st.none(), st.floats(0, 1e9), st.just(math.inf)))
    def test_a_pause_is_never_negative_and_never_above_the_maximum(self, backoff, n, draw, previous):
        assert 0 <= backoff.delay(n, always(draw), previous) <= backoff.maximum

    @given(backoffs, st.integers(1, 40), draws)
    def test_jitter_stays_within_the_cap(self, backoff, n, draw):
        cap = model_cap(backoff, n)
        expected = {"full": draw * cap, "equal": cap / 2 + draw * cap / 2, "none": cap}
        if backoff.jitter in expected:
            assert backoff.delay(n, always(draw)) == pytest.approx(expected[backoff.jitter])

    @pytest.mark.parametrize(
        ("jitter", "draw", "pauses"),
        [
            ("none", 0.0, [0.5, 1.5, 4.0, 4.0]),
            ("full", 0.0, [0.0, 0.0, 0.0, 0.0]),
            ("full", 0.5, [0.25, 0.75, 2.0, 2.0]),
            ("full", BELOW_ONE, [0.5, 1.5, 4.0, 4.0]),
            ("equal", 0.0, [0.25, 0.75, 2.0, 2.0]),
            ("equal", 0.5, [0.375, 1.125, 3.0, 3.0]),
            ("equal", BELOW_ONE, [0.5, 1.5, 4.0, 4.0]),
        ],
    )
    def test_exact_pauses(self, jitter, draw, pauses):
        backoff = Backoff(initial=0.5, factor=3, maximum=4, jitter=jitter)
        assert [backoff.delay(n, always(draw), 99.0) for n in (1, 2, 3, 4)] == pytest.approx(pauses, rel=1e-12)

    @pytest.mark.parametrize(
        ("draw", "previous", "pause"),
        [
            (0.0, None, 0.5),
            (0.5, None, 1.0),
            (BELOW_ONE, None, 1.5),
            (0.0, 1.0, 0.5),
            (0.5, 1.0, 1.75),
            (BELOW_ONE, 1.0, 3.0),
            (0.5, 4.0, 4.0),
            (0.25, 4.0, 3.375),
            (0.25, 99.0, 3.375),  # no longer than its own maximum, whatever a sum or a TIME_WAIT added to it
            (0.5, 0.0, 1.0),  # no shorter than the initial one
            (0.5, 0.4, 1.0),
        ],
    )
    def test_decorrelated(self, draw, previous, pause):
        backoff = Backoff(initial=0.5, maximum=4, jitter="decorrelated")
        for n in (1, 2, 1000):
            assert backoff.delay(n, always(draw), previous) == pytest.approx(pause, rel=1e-12)

    @given(st.lists(draws, min_size=1, max_size=20), st.floats(0.01, 1), st.floats(1, 100))
    def test_a_decorrelated_sequence_grows_at_most_threefold(self, sequence, initial, maximum):
        backoff = Backoff(initial=initial, maximum=maximum, jitter="decorrelated")
        previous = None
        for n, draw in enumerate(sequence, 1):
            pause = backoff.delay(n, always(draw), previous)
            highest = min(maximum, 3 * (initial if previous is None else previous))
            assert initial <= pause <= highest * (1 + 1e-9)
            previous = pause

    @pytest.mark.parametrize("jitter", JITTERS)
    def test_draws_once_unless_there_is_no_jitter(self, jitter):
        asked = []
        Backoff(jitter=jitter).delay(3, lambda: asked.append(1) or 0.5)
        assert asked == ([] if jitter == "none" else [1])

    @pytest.mark.parametrize(
        ("backoff", "pause"),
        [
            (Backoff(jitter="none"), 10.0),
            (Backoff(initial=0, jitter="none"), 0.0),
            (Backoff(factor=1, jitter="none"), 0.1),
            (Backoff(initial=20, factor=1, jitter="none"), 10.0),
            (Backoff(initial=20, jitter="none"), 10.0),
            (Backoff(initial=3, factor=1.5, maximum=2, jitter="none"), 2.0),
            (Backoff(maximum=0, jitter="none"), 0.0),
        ],
    )
    def test_a_huge_number_of_retries_does_not_overflow(self, backoff, pause):
        for n in (10**6, 10**12, 10**400):
            assert backoff.delay(n, never) == pause

    @pytest.mark.parametrize("jitter", JITTERS)
    def test_retries_are_counted_from_one(self, jitter):
        for n in (0, -1):
            with pytest.raises(ValueError, match=f"^n must be 1 or more, not {n}$"):
                Backoff(jitter=jitter).delay(n, always(0.5))

    @pytest.mark.parametrize("name", ["initial", "factor", "maximum"])
    def test_refuses_what_is_no_number(self, name):
        for value in ("1", None, True, 1j):
            with pytest.raises(TypeError, match=f"^{name} must be a number, not {type(value).__name__}$"):
                Backoff(**{name: value})

    @pytest.mark.parametrize(("name", "least"), [("initial", 0), ("factor", 1), ("maximum", 0)])
    def test_refuses_numbers_out_of_bounds(self, name, least):
        assert getattr(Backoff(**{name: least}), name) == least
        assert getattr(Backoff(**{name: 10**9}), name) == 1e9
        for value in (math.nextafter(least, -1), -1, math.nan, math.inf, math.nextafter(1e9, math.inf), 10**400):
            with pytest.raises(ValueError, match=rf"^{name} must be a number from {least} to 1e\+09, not "):
                Backoff(**{name: value})

    @pytest.mark.parametrize("value", ["", "Full", None, 1, ["full"]])
    def test_refuses_other_jitter(self, value):
        with pytest.raises(ValueError, match=r"^jitter must be 'full', 'equal', 'decorrelated' or 'none', not "):
            Backoff(jitter=value)

    def test_is_a_value(self):
        backoff = Backoff(1, 2, 3, "equal")
        assert backoff == Backoff(1.0, 2.0, 3.0, "equal")
        assert backoff != Backoff(1, 2, 3, "none")
        assert hash(backoff) == hash(Backoff(1.0, 2.0, 3.0, "equal"))
        assert type(backoff.initial) is type(backoff.factor) is type(backoff.maximum) is float
        assert pickle.loads(pickle.dumps(backoff)) == copy.deepcopy(backoff) == eval(repr(backoff)) == backoff
        with pytest.raises(dataclasses.FrozenInstanceError):
            backoff.initial = 2
        assert not hasattr(backoff, "__dict__")
        assert not hasattr(backoff + 1, "__dict__")


class TestComposition:
    one = Backoff(initial=1, jitter="none")
    slow = Backoff(initial=3, factor=1, jitter="none")

    def pauses(self, backoff, draw=never):
        return [backoff.delay(n, draw) for n in (1, 2, 3)]

    def test_adds(self):
        assert self.pauses(self.one + self.slow) == [4, 5, 7]
        assert self.pauses(self.one + 0.5) == self.pauses(0.5 + self.one) == [1.5, 2.5, 4.5]
        assert self.pauses(sum([self.one, self.slow])) == [4, 5, 7]
        assert self.pauses(self.one + 20) == [21, 22, 24]

    def test_takes_the_longer(self):
        assert self.pauses(self.one | self.slow) == self.pauses(self.slow | self.one) == [3, 3, 4]
        assert self.pauses(self.one | 2) == self.pauses(2 | self.one) == [2, 2, 4]

    def test_composes_again(self):
        assert self.pauses((self.one + 0.5 | self.slow) + 1) == [4, 4, 5.5]
        assert self.one + 1 == self.one + 1.0
        assert self.one + 1 != self.one | 1
        assert pickle.loads(pickle.dumps(self.one | 1)) == self.one | 1
        assert hash(self.one | 1) == hash(self.one | 1.0)

    def test_hands_draw_and_previous_to_both(self):
        both = Backoff(initial=1, jitter="decorrelated") + Backoff(initial=2, jitter="decorrelated")
        answers = iter([0.5, 0.25])
        assert both.delay(1, lambda: next(answers), 3.0) == (1 + 0.5 * 8) + (2 + 0.25 * 7)
        assert both.delay(1, always(0.5)) == 2 + 4

    def test_takes_anything_with_a_delay(self):
        class Mine:
            def delay(self, n, draw, previous=None):
                return n * 10

        assert self.pauses(self.one + Mine()) == self.pauses(Mine() + self.one) == [11, 22, 34]
        assert self.pauses(self.one | Mine()) == [10, 20, 30]

    @pytest.mark.parametrize("other", ["1", None, [1]])
    def test_refuses_anything_else(self, other):
        for attempt in (lambda: self.one + other, lambda: self.one | other, lambda: other + self.one):
            with pytest.raises(TypeError):
                attempt()

    def test_refuses_seconds_out_of_bounds(self):
        for attempt in (lambda: self.one + -1, lambda: math.nan | self.one):
            with pytest.raises(ValueError, match=r"^seconds must be a number from 0 to"):
                attempt()
        with pytest.raises(TypeError, match="seconds must be a number, not bool"):
            self.one + True


NONE = Backoff(initial=0.25, jitter="none")
NOT_AVAILABLE = OSError(errno.EADDRNOTAVAIL, "")


class TestRetry:
    def test_the_defaults(self):
        value = Retry()
        assert (value.attempts, value.backoff, value.on, value.budget) == (3, Backoff(), is_transient, None)
        assert value == Retry(3, Backoff(), is_transient, None)
        assert pickle.loads(pickle.dumps(value)) == value
        assert not hasattr(value, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.attempts = 4

    @pytest.mark.parametrize(
        ("attempts", "pauses"),
        [(1, [None, None]), (2, [0.25, None, None]), (3, [0.25, 0.5, None, None]), (None, [0.25, 0.5, 1, 2, 4, 8, 10])],
    )
    def test_counts_rounds(self, attempts, pauses):
        value = Retry(attempts=attempts, backoff=NONE)
        assert [value.pause(n, TimeoutError(), never) for n in range(1, len(pauses) + 1)] == pauses

    def test_asks_on_about_the_error(self):
        asked = []
        error = ValueError()
        value = Retry(backoff=NONE, on=lambda error: asked.append(error) or len(asked) < 2)
        assert value.pause(1, error, never) == 0.25
        assert value.pause(1, error, never) is None
        assert asked == [error, error]

    def test_a_permanent_error_ends_it(self):
        assert Retry(backoff=NONE).pause(1, PermissionError(errno.EACCES, ""), never) is None
        picky = Retry(backoff=NONE, on=lambda error: is_transient(error, refused=False))
        assert picky.pause(1, ConnectionRefusedError(), never) is None
        assert picky.pause(1, ConnectionResetError(), never) == 0.25

    def test_hands_draw_and_previous_on(self):
        value = Retry(backoff=Backoff(initial=1, jitter="decorrelated"))
        assert value.pause(1, TimeoutError(), always(0.5)) == 2.0
        assert value.pause(2, TimeoutError(), always(0.5), previous=3.0) == 5.0

    @pytest.mark.parametrize(
        ("error", "waits"),
        [
            (NOT_AVAILABLE, True),
            (OSError(10049, "WSAEADDRNOTAVAIL"), True),
            (PortsExhaustedError(errno.EADDRNOTAVAIL, ""), True),
            (ExceptionGroup("", [TimeoutError(), ExceptionGroup("", [NOT_AVAILABLE])]), True),
            (ExceptionGroup("", [TimeoutError()]), False),
            (OSError(errno.EADDRINUSE, ""), False),
            (ConnectionRefusedError(errno.ECONNREFUSED, ""), False),
            (TimeoutError(), False),
        ],
        ids=repr,
    )
    def test_time_wait_takes_a_second_where_the_port_is_fixed(self, error, waits):
        value = Retry(attempts=None, backoff=NONE)
        assert value.pause(1, error, never, fixed_port=True) == (1.0 if waits else 0.25)
        assert value.pause(1, error, never, fixed_port=False) == value.pause(1, error, never) == 0.25
        assert value.pause(4, error, never, fixed_port=True) == 2.0

    def test_any_exception_can_be_retried_on(self):
        value = Retry(backoff=NONE, on=lambda error: True)
        assert value.pause(1, ValueError(errno.EADDRNOTAVAIL), never, fixed_port=True) == 0.25
        assert value.pause(1, BaseExceptionGroup("", [KeyboardInterrupt()]), never, fixed_port=True) == 0.25

    def test_a_fixed_port_does_not_outlast_the_attempts(self):
        assert Retry(attempts=1).pause(1, NOT_AVAILABLE, never, fixed_port=True) is None

    def test_leaves_the_budget_alone(self):
        budget = RetryBudget(tokens=2)
        budget.failed()
        assert not budget.allows()
        assert Retry(backoff=NONE, budget=budget).pause(1, TimeoutError(), never) == 0.25
        assert budget.level == 1.0

    def test_takes_composed_and_foreign_backoffs(self):
        class Mine:
            def delay(self, n, draw, previous=None):
                return n * 10

        assert Retry(backoff=NONE + 1).pause(1, TimeoutError(), never) == 1.25
        assert Retry(backoff=Mine()).pause(2, TimeoutError(), never) == 20

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"attempts": 0}, ValueError, r"attempts must be a number from 1 to 1e\+09, not 0"),
            ({"attempts": -1}, ValueError, r"attempts must be a number from 1 to 1e\+09, not -1"),
            ({"attempts": 2.0}, TypeError, "attempts must be an int or None, not float"),
            ({"attempts": True}, TypeError, "attempts must be an int or None, not bool"),
            ({"backoff": 1.0}, TypeError, "backoff must have a delay method, as a Backoff has, not be 1.0"),
            ({"backoff": None}, TypeError, "backoff must have a delay method, as a Backoff has, not be None"),
            ({"on": OSError(1, "x")}, TypeError, "on must be a callable, not PermissionError"),
            ({"on": None}, TypeError, "on must be a callable, not NoneType"),
            ({"budget": 10}, TypeError, "budget must be a RetryBudget or None, not int"),
        ],
    )
    def test_refuses_bad_arguments(self, settings, error, message):
        with pytest.raises(error, match=f"^{message}$"):
            Retry(**settings)

"""RetryBudget, against a naive model and from many threads."""

import math
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safeconnect.retry import Retry, RetryBudget


def never():
    pytest.fail("nothing is to be drawn")


class TestRetryBudget:
    def test_the_defaults(self):
        budget = RetryBudget()
        assert budget.level == 10.0
        assert repr(budget) == "<RetryBudget level=10.0 tokens=10.0 ratio=0.1>"
        budget.failed()
        assert repr(budget) == "<RetryBudget level=9.0 tokens=10.0 ratio=0.1>"
        budget.succeeded()
        assert budget.level == 9.1

    def test_half_is_not_enough(self):
        budget = RetryBudget(tokens=4, ratio=0.001)
        seen = []
        for _ in range(5):
            seen.append((budget.level, budget.allows()))
            budget.failed()
        assert seen == [(4.0, True), (3.0, True), (2.0, False), (1.0, False), (0.0, False)]
        for _ in range(2000):
            budget.succeeded()
        assert (budget.level, budget.allows()) == (2.0, False)
        budget.succeeded()
        assert (budget.level, budget.allows()) == (2.001, True)

    @given(st.integers(1000, 20000), st.integers(1, 3000), st.lists(st.booleans(), max_size=80))
    @example(1500, 300, [False, False, True, True])
    def test_agrees_with_a_model_in_thousandths(self, full, share, outcomes):
        budget = RetryBudget(full / 1000, share / 1000)
        level = full
        for good in outcomes:
            if good:
                budget.succeeded()
                level = min(full, level + share)
            else:
                budget.failed()
                level = max(0, level - 1000)
            assert budget.level == level / 1000
            assert budget.allows() is (level > full / 2)

    def test_rounding_does_not_add_up(self):
        budget = RetryBudget(1000, 0.1)
        for _ in range(100):
            budget.failed()
        for _ in range(999):
            budget.succeeded()
        assert budget.level == 999.9

    def test_sixteen_threads_lose_nothing(self):
        budget = RetryBudget(tokens=1_000_000, ratio=0.25)
        start = threading.Barrier(16)

        def hammer():
            start.wait()
            for _ in range(2000):
                budget.failed()
                budget.succeeded()
                assert budget.allows()

        threads = [threading.Thread(target=hammer) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # No thread is ever ahead with its successes, so the bucket never overflows: the sum is exact.
        assert budget.level == 1_000_000 - 16 * 2000 * 0.75

    @pytest.mark.parametrize("method", ["failed", "succeeded"])
    def test_changes_happen_under_the_lock(self, method):
        budget = RetryBudget()
        with budget._guard.lock:
            thread = threading.Thread(target=getattr(budget, method))
            budget._level = 5000
            thread.start()
            thread.join(0.05)
            assert thread.is_alive()
            assert budget.level == 5.0
        thread.join()
        assert budget.level == (4.0 if method == "failed" else 5.1)

    @pytest.mark.parametrize(("name", "least"), [("tokens", "1"), ("ratio", "0.001")])
    def test_refuses_bad_arguments(self, name, least):
        RetryBudget(**{name: float(least)})
        for value in ("1", None, True):
            with pytest.raises(TypeError, match=f"^{name} must be a number, not {type(value).__name__}$"):
                RetryBudget(**{name: value})
        for value in (math.nextafter(float(least), 0), 0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match=rf"^{name} must be a number from {least} to 1e\+09, not "):
                RetryBudget(**{name: value})

    def test_is_itself_only_and_can_be_shared(self):
        budget = RetryBudget()
        assert budget != RetryBudget()
        one, other = Retry(budget=budget), Retry(attempts=5, budget=budget)
        one.budget.failed()
        assert other.budget.level == 9.0
        assert hash(one) == hash(Retry(budget=budget))

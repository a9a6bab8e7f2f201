"""When a simultaneous open tries again: the policy, in virtual time."""

import itertools

import pytest

from safeconnect._core import meeting


class TestPauses:
    def tries_of(self, at, interval, until):
        policy = meeting.Meeting(at, interval, lambda: 0.5)
        now, tries = at - meeting.EARLY, []
        while now < until:
            if policy.next_try > now:
                now = policy.next_try
                continue
            tries.append(now)
            now += 0.01  # what a try takes
            policy.failed(now)
        return tries

    def test_tight_around_the_instant_then_ever_longer(self):
        tries = self.tries_of(100.0, 0.08, 102.0)
        pauses = [round(later - earlier - 0.01, 6) for earlier, later in itertools.pairwise(tries)]
        tight = [pause for when, pause in zip(tries, pauses, strict=False) if when < 100.0 + meeting.TIGHT - 0.01]
        assert set(tight) == {0.0}
        assert len(tight) == pytest.approx(60, abs=2)
        late = pauses[len(tight) + 1 :]
        assert late == sorted(late)
        assert late[-1] == 0.08

    def test_no_longer_than_the_interval(self):
        assert max(self.tries_of(0.0, 0.0, 2.0)) > 1.9

    def test_pauses_are_spread(self):
        policy = meeting.Meeting(0.0, 1.0, iter([0.0, 0.999]).__next__)
        policy.failed(10.0)
        first = policy.next_try - 10.0
        policy.failed(10.0)
        assert (first, policy.next_try - 10.0) == pytest.approx((0.0005, 0.00225), abs=0.0001)

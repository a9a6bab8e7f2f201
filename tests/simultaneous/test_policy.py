"""When a simultaneous open tries again: the policy, in virtual time."""

import errno
import itertools
import re
import socket

import pytest

from safeconnect._simultaneous import policy, shared

from .kit import A, B


def tries_of(until, *, answered, filtered=False, at=0.0, interval=0.05, takes=0.0001, draw=lambda: 0.5):
    """When one side tries, each try ending without a connection after so long."""
    schedule = policy.Schedule(at, interval, draw, filtered=filtered)
    now, tries = at - policy.EARLY, []
    while now < until:
        if schedule.next_try > now:
            now = schedule.next_try
            continue
        tries.append(now)
        now += takes
        schedule.failed(now, answered=answered)
    return tries


class TestNoSpin:
    """What ends at once is tried tens of times in 3 seconds, not thousands."""

    @pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
    @pytest.mark.parametrize("takes", [0.0, 0.0001])
    @pytest.mark.parametrize(("answered", "filtered"), [(False, False), (False, True), (True, True)])
    def test_of_the_policy(self, takes, drawn, answered, filtered):
        tries = tries_of(2.9, takes=takes, draw=lambda: drawn, answered=answered, filtered=filtered)
        assert 30 < len(tries) < 200

    def test_the_first_tries_without_a_route_are_close_together(self):
        assert len([when for when in tries_of(0.1, answered=False) if when < 0.0]) > 8

    def test_haste_is_only_around_the_instant(self):
        tries = tries_of(3.0, answered=True)
        assert len([when for when in tries if when > policy.TIGHT]) < 80
        assert len(tries) > 1000

    def test_behind_a_filter_tries_are_10_ms_apart(self):
        tries = tries_of(policy.TIGHT, answered=True, filtered=True)
        pauses = [round(later - earlier, 6) for earlier, later in itertools.pairwise(tries)]
        assert pauses == sorted(pauses)
        assert pauses[0] == policy.FIRST_PAUSE
        assert set(pauses[6:]) == {policy.SPACING}

    def test_an_answer_that_takes_longer_is_followed_at_once(self):
        """So that the SYNs of both sides cross on their way, where a firewall refuses each alone."""
        tries = tries_of(policy.TIGHT, answered=True, filtered=True, takes=0.02)
        pauses = {round(later - earlier, 6) for earlier, later in itertools.pairwise(tries)}
        assert pauses == {0.02}

    @pytest.mark.parametrize("filtered", [True, False])
    @pytest.mark.parametrize(
        ("code", "hasty"),
        [
            (errno.ENETUNREACH, False),
            (errno.EHOSTUNREACH, False),
            (errno.EADDRNOTAVAIL, False),
            (errno.ECONNREFUSED, True),
            (errno.ECONNRESET, True),
        ],
    )
    def test_of_one_side(self, monkeypatch, code, hasty, filtered):
        """Only what the other side answers is a reason for haste, and only where no filter lets it wait."""

        def fail(*_):
            raise OSError(code, "failed")

        monkeypatch.setattr(shared, "_begin", fail)
        monkeypatch.setattr(shared, "open_syn_filter", lambda *_: socket.socket() if filtered else None)
        now = 0.0
        waits = shared.Attempts(A, B, 3.0, allow_self_connect=False).run(None, 0.05, lambda: now)
        error = None
        while error is None:
            try:
                _, seconds = next(waits)
            except TimeoutError as late:
                error = late
            else:
                now += seconds + 0.0001  # what a turn takes
        (count,) = map(int, re.findall(r"did not meet in (\d+) tr(?:y|ies)", error.__notes__[0]))
        if hasty and not filtered:
            assert count > 1000, "tight around the agreed instant"
        else:
            assert 30 < count < 200


class TestPauses:
    def tries_of(self, at, interval, until):
        return tries_of(until, at=at, interval=interval, takes=0.01, answered=True)

    def test_tight_around_the_instant_then_ever_longer(self):
        tries = self.tries_of(100.0, 0.08, 102.0)
        pauses = [round(later - earlier - 0.01, 6) for earlier, later in itertools.pairwise(tries)]
        tight = [pause for when, pause in zip(tries, pauses, strict=False) if when < 100.0 + policy.TIGHT - 0.01]
        assert set(tight) == {0.0}
        assert len(tight) == pytest.approx(60, abs=2)
        late = pauses[len(tight) + 1 :]
        assert late == sorted(late)
        assert late[-1] == 0.08

    def test_no_longer_than_the_interval(self):
        assert max(self.tries_of(0.0, 0.0, 2.0)) > 1.9

    def test_pauses_are_spread(self):
        schedule = policy.Schedule(0.0, 1.0, iter([0.0, 0.999]).__next__, filtered=False)
        schedule.failed(10.0, answered=True)
        first = schedule.next_try - 10.0
        schedule.failed(10.0, answered=True)
        assert (first, schedule.next_try - 10.0) == pytest.approx((0.0005, 0.00225), abs=0.0001)

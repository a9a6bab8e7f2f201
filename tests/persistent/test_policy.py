"""When a lost connection is made again: the policy, in virtual time."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import Backoff, Retry, RetryBudget
from safeconnect._persistent.policy import LAST_TRY, Block, FairLock, Reconnection, Waiter


def policy(draw=lambda: 0.5, **settings):
    settings.setdefault("backoff", Backoff(initial=1, factor=2, maximum=5, jitter="none"))
    return Reconnection(Retry(**settings), draw)


def test_no_pause_before_the_first_connection():
    assert policy().seconds(100.0) == 0


def test_pauses_grow_while_exchanges_fail():
    reconnection = policy()
    pauses = []
    for now in (100.0, 200.0, 300.0, 400.0, 500.0):
        reconnection.failed(now)
        pauses.append(reconnection.seconds(now))
    assert pauses == [1, 2, 4, 5, 5]


def test_the_pause_counts_from_the_failure():
    reconnection = policy()
    reconnection.failed(100.0)
    assert reconnection.seconds(100.5) == 0.5
    assert reconnection.seconds(101.0) == 0
    assert reconnection.seconds(150.0) == 0


def test_a_success_starts_over():
    reconnection = policy()
    reconnection.failed(100.0)
    reconnection.failed(100.0)
    reconnection.succeeded()
    assert reconnection.seconds(100.0) == 0
    reconnection.failed(101.0)
    assert reconnection.seconds(101.0) == 1
    assert reconnection.lost == 1


def test_jitter_is_drawn_and_remembers_the_last_pause():
    draws = iter([0.0, 1.0, 0.5])
    reconnection = policy(lambda: next(draws), backoff=Backoff(initial=1, maximum=100, jitter="decorrelated"))
    pauses = []
    for _ in range(3):
        reconnection.failed(0.0)
        pauses.append(reconnection.seconds(0.0))
    assert pauses == [1, 3, 5]  # initial, 3 times the last, halfway from 1 to 9


def test_a_pause_beyond_the_deadline_is_cut_if_half_of_it_has_passed_by_then():
    reconnection = policy(backoff=Backoff(initial=8, maximum=8, jitter="none"))
    reconnection.failed(100.0)
    assert reconnection.seconds(100.0, 8.2) == 8
    assert reconnection.seconds(100.0, 6.1) == pytest.approx(6 - 0.3)  # the draw takes off half of a tenth
    assert reconnection.seconds(103.0, 4.1) == pytest.approx(4 - 0.2)
    assert reconnection.seconds(100.0, 4.1) is None
    assert reconnection.seconds(103.0, 1.05) is None
    assert reconnection.seconds(107.95, 0.06) == 108 - 107.95  # too short to be cut, and it fits


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_longer_than_due_nor_shorter_than_half(pause, since, left, draw):
    reconnection = policy(lambda: draw, backoff=Backoff(pause, 1, pause, jitter="none"))
    reconnection.failed(0.0)
    due = max(pause - since, 0.0)
    seconds = reconnection.seconds(since, left)
    if seconds is None:
        assert due > left
        assert left - LAST_TRY <= due - pause / 2 or left <= LAST_TRY
    else:
        assert 0 <= seconds <= min(due, left)
        assert since + seconds >= pause / 2 - 1e-9
        assert seconds == due or left - seconds >= LAST_TRY - 1e-9


def test_the_budget_keeps_account():
    budget = RetryBudget(tokens=4, ratio=0.5)
    reconnection = policy(budget=budget)
    reconnection.failed(0.0)
    assert budget.level == 3
    reconnection.succeeded()
    assert budget.level == 3.5
    error = ConnectionResetError(errno.ECONNRESET, "reset")
    assert reconnection.resends(1, error)
    reconnection.failed(0.0)
    reconnection.failed(0.0)
    assert not reconnection.resends(1, error)


def test_what_is_sent_again():
    reconnection = policy(attempts=3)
    lost = ConnectionResetError(errno.ECONNRESET, "reset")
    assert [reconnection.resends(n, lost) for n in (1, 2, 3)] == [True, True, False]
    assert not reconnection.resends(1, PermissionError(errno.EACCES, "no"))
    assert policy(attempts=None).resends(1000, lost)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1000))), st.floats(0, 0.999))
def test_never_negative_and_never_longer_than_the_maximum(events, drawn):
    reconnection = policy(lambda: drawn, backoff=Backoff(initial=0.5, maximum=7))
    now = 0.0
    for is_failure, seconds in events:
        now += seconds
        reconnection.failed(now) if is_failure else reconnection.succeeded()
        assert 0 <= reconnection.seconds(now) <= 7
        assert (reconnection.lost == 0) is not is_failure


class Waiting(Waiter):
    """Counts how often it was woken."""

    woken = 0

    def wake(self):
        self.woken += 1


class TestFairLock:
    def test_the_first_that_waits_is_woken_and_may_take_it(self):
        lock, holder, first, second = FairLock(), Waiting(), Waiting(), Waiting()
        assert lock.acquire(holder)
        lock.enqueue(first)
        lock.enqueue(second)
        assert not lock.acquire(first)
        lock.release(holder)
        assert (first.woken, second.woken) == (1, 0)
        assert not lock.acquire(second)
        assert lock.acquire(second, in_order=False)

    def test_who_was_woken_and_leaves_wakes_the_next(self):
        lock, first, second = FairLock(), Waiting(), Waiting()
        lock.enqueue(first)
        lock.enqueue(second)
        lock.dequeue(first)
        assert (first.woken, second.woken) == (0, 1)

    def test_who_leaves_while_it_is_held_wakes_nobody(self):
        lock, holder, first, second = FairLock(), Waiting(), Waiting(), Waiting()
        assert lock.acquire(holder)
        lock.enqueue(first)
        lock.enqueue(second)
        lock.dequeue(first)
        assert second.woken == 0

    def test_a_holder_that_is_gone_has_released_it(self):
        lock, holder = FairLock(), Waiting()
        assert lock.acquire(holder)
        del holder
        assert lock.holder is None
        assert lock.acquire(Waiting())


def test_an_abandoned_block_is_over():
    block = Block(None, 5.0, wait=True)
    block.check_not_over()
    block.abandon()
    with pytest.raises(RuntimeError, match="this exchange is over"):
        block.check_not_over()

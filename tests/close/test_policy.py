"""The end of a connection: what is left of the time, in virtual time."""

import pytest

from safeconnect._close.policy import Closed, Closing


def test_the_deadline_counts_from_the_start():
    closing = Closing(5.0, 100, now=10.0)
    assert closing.seconds_left(12.0) == 3.0
    with pytest.raises(TimeoutError):
        closing.seconds_left(15.0)
    assert closing.result() == Closed("timed out", 0)


def test_without_a_timeout_there_is_no_deadline():
    closing = Closing(None, 100, now=10.0)
    assert closing.seconds_left(1e9) is None


def test_more_than_the_limit_is_not_read():
    closing = Closing(None, 100, now=10.0)
    assert closing.received(100)
    assert not closing.received(1)
    assert closing.result() == Closed("overflow", 101)

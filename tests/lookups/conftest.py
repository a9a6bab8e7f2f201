"""Each test has a pool of its own, and leaves no thread of it behind."""

import pytest

from safeconnect._sockets import lookups

from .kit import KEPT, Resolver, join


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of the test's own, whose threads are gone when the test is over."""
    pool = lookups._Pool()
    monkeypatch.setattr(lookups._process, "pool", pool)
    yield pool
    join(pool)
    KEPT.clear()
    assert (pool.queries, list(pool.queue)) == ({}, [])


@pytest.fixture
def resolver():
    resolver = Resolver()
    yield resolver
    resolver.open.set()

"""The means of these tests: they see a cycle, and they see none where there is none."""

import pytest

from . import kit
from .kit import ON_ASYNCIO, drops, on_trio


def clean():
    raise LookupError


def cyclic():
    error = LookupError()
    raise error  # this frame holds the error, and the error this frame


async def clean_coroutine():
    raise LookupError


async def cyclic_coroutine():
    cyclic()


def test_a_plain_function():
    drops(clean)


@pytest.mark.parametrize("run", [*ON_ASYNCIO, on_trio])
def test_a_plain_coroutine(run):
    run(clean_coroutine)


def test_a_cycle_is_seen(monkeypatch):
    monkeypatch.setattr(kit, "PATIENCE", 0)
    with pytest.raises(AssertionError, match="keeps the caller's frame"):
        drops(cyclic)


@pytest.mark.parametrize("run", [*ON_ASYNCIO, on_trio])
def test_a_cycle_is_seen_in_a_loop(run, monkeypatch):
    monkeypatch.setattr(kit, "PATIENCE", 0)
    with pytest.raises(AssertionError, match="keeps the caller's frame"):
        run(cyclic_coroutine)

"""The search for a source port, against a naive model and a fake kernel."""

import random

from hypothesis import given
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet
from safeconnect._connect import port_order

# Close together, so that sets, the kernel's range, taken ports and the target meet.
numbers = st.integers(0, 60)
spans = st.builds(lambda first, more: PortRange(first, first + more), numbers, st.integers(0, 40))
port_sets = st.lists(st.one_of(numbers, spans), max_size=6).map(PortSet)
seeds = st.integers(0, 2**32)


def connect(offered, kernels, taken, chance):
    """What a kernel does with an offer: one port of it that is free and that it may choose, or None."""
    if len(offered) > 1:
        assert set(offered) <= set(kernels), "it would ignore a range with a bound outside its own"
    free = [port for port in offered if port not in taken and (len(offered) == 1 or port in kernels)]
    return chance.choice(free) if free else None


def find(allowed, kernels, target, taken, seed):
    chance = random.Random(seed)
    for offered in port_order.steps(allowed, kernels, target, chance.randrange):
        port = connect(offered, kernels, taken, chance)
        if port is not None:
            return port
    return None


@given(port_sets, port_sets, numbers, st.frozensets(numbers), seeds)
def test_finds_a_port_whenever_there_is_one(allowed, kernels, target, taken, seed):
    usable = set(allowed) - taken - {0, target}
    port = find(allowed, kernels, target, taken, seed)
    assert (port is None) == (not usable)
    assert port is None or port in usable


@given(port_sets, port_sets, numbers, seeds)
def test_offers_all_that_is_allowed_and_nothing_else(allowed, kernels, target, seed):
    offered = list(port_order.steps(allowed, kernels, target, random.Random(seed).randrange))
    assert {port for ports in offered for port in ports} == set(allowed) - {0, target}
    inside = set(allowed) & set(kernels) - {0, target}
    bound = [ports for ports in offered if set(ports).isdisjoint(inside)]
    assert all(len(ports) == 1 for ports in bound)
    assert len(bound) == len(set(bound)), "each once"


@given(st.integers(1, 200), seeds)
def test_begins_with_a_short_window(size, seed):
    ports = PortSet(PortRange(40000, 40000 + size))
    first = next(port_order.steps(ports, ports, 80, random.Random(seed).randrange))
    assert 1 <= len(first) <= port_order.WINDOW_SIZE


def test_begins_anywhere():
    ports = PortSet(PortRange(40000, 40999))
    draw = random.Random(1).randrange
    begun = {next(port_order.steps(ports, ports, 80, draw)).first for _ in range(500)}
    assert len(begun) > 300


def test_every_port_is_found_about_as_often():
    ports = PortSet([PortRange(40000, 40031), PortRange(40100, 40103)])
    found = [find(ports, ports, 80, (), seed) for seed in range(36 * 200)]
    counts = [found.count(port) for port in ports]
    assert min(counts) > 100
    assert max(counts) < 400

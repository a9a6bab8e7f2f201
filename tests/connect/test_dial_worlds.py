"""Random worlds: `World` checks its promises in each of them, and a naive model says how it must end."""

import copy
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from safeconnect.retry import Backoff, Retry, RetryBudget

from .world import World, brief

FAILURES = ("refused", "reset", "timeout", "unreachable", "nonet", "local", "denied", "taken")
NAMES = [f"{family}.{number}" for family in "64" for number in range(1, 15)]

# Steps of 50 ms, so that things often happen at the same instant; most of them soon.
moments = st.one_of(st.integers(0, 12), st.integers(0, 100)).map(lambda steps: steps / 20)
names = st.permutations(NAMES).flatmap(lambda all_: st.integers(0, len(all_)).map(lambda n: all_[:n]))
few_names = st.permutations(NAMES).flatmap(lambda all_: st.integers(1, 8).map(lambda n: all_[:n]))
timeouts = st.one_of(st.none(), st.just(0), st.integers(1, 160).map(lambda steps: steps / 20))
limits = st.integers(1, 40).map(lambda steps: steps / 20 + 0.0003)
attempt_timeouts = st.one_of(st.none(), st.none(), limits)
delays = st.sampled_from([0.25, 0.25, None, 0.0, 0.001, 0.1, 1.0])


def outcomes(*kinds):
    return st.builds("{}@{}".format, st.sampled_from(kinds), moments)


@st.composite
def worlds(draw):
    """Any world at all; without a deadline nothing is silent, for a kernel gives up in the end."""
    timeout = draw(timeouts)
    silence = () if timeout is None else ("silent",) * 3
    fates = st.lists(outcomes("ok", "self", *FAILURES, *silence), min_size=1, max_size=3).map(" ".join)
    hosts = {name: draw(fates) for name in draw(names)}
    apart = draw(st.booleans())
    retry = st.builds(
        Retry,
        attempts=st.integers(1, 3),
        backoff=st.sampled_from([Backoff(), Backoff(0), Backoff(0.5, jitter="decorrelated")]),
        budget=st.one_of(st.none(), st.builds(RetryBudget, st.integers(1, 4))),
    )
    return {
        "hosts": ", ".join(f"{name} {fate}" for name, fate in hosts.items()),
        "names": " ".join(draw(lookups(lookup, hosts, timeout)) for lookup in (("AAAA", "A") if apart else ("both",))),
        "timeout": timeout,
        "attempt_timeout": draw(attempt_timeouts),
        "delay": draw(delays),
        "resolution_delay": draw(st.sampled_from([0.0, 0.05, 0.5])) if apart else None,
        "retry": draw(st.one_of(st.none(), retry)),
        "port_is_given": draw(st.booleans()),
        "allow_self_connect": draw(st.booleans()),
        "all_errors": draw(st.booleans()),
        "draw": draw(st.sampled_from([0.0, 0.5, 0.99])),
        "start": draw(st.sampled_from([0.0, 0.1, 12345.678])),
        "late": draw(st.sampled_from([0.0, 0.0, 0.013])),
    }


@st.composite
def lookups(draw, lookup, hosts, timeout):
    family = {"AAAA": "6", "A": "4"}.get(lookup, "")
    answer = "=" + "+".join(name for name in hosts if name.startswith(family))
    kinds = [answer, answer, answer, "=", "!EAI_NONAME", "!EAI_AGAIN", *(["=never"] if timeout is not None else [])]
    rounds = draw(st.lists(st.tuples(moments, st.sampled_from(kinds)), min_size=1, max_size=2))
    return " ".join(lookup + (kind if kind == "=never" else f"@{delay}{kind}") for delay, kind in rounds)


@settings(max_examples=250)
@given(worlds())
def test_every_world_keeps_the_promises(world):
    ended = World(**world).run()
    assert ended.error is None or isinstance(ended.error, (OSError, ExceptionGroup))
    assert ended.rules.all_errors or not isinstance(ended.error, ExceptionGroup)


def race(fates, delay, timeout):
    """When the race of at most 8 is won, or None: the naive model."""
    deadline = float("inf") if timeout is None else timeout
    starts, used = [0.0], set()
    while len(starts) < len(fates):
        left = len(fates) - len(starts)
        pace = delay if timeout is None else min(delay, max((deadline - starts[-1]) / (left + 1), 0.01))
        ends = [(start + fate[1], place) for place, (start, fate) in enumerate(zip(starts, fates, strict=False))]
        failed = [end for end in ends if fates[end[1]][0] != "ok" and end[1] not in used and end[0] >= starts[-1]]
        first = min(failed, default=(float("inf"), 0))
        if first[0] <= starts[-1] + pace:
            used.add(first[1])
        starts.append(min(first[0], starts[-1] + pace))
    won = [start + fate[1] for start, fate in zip(starts, fates, strict=True) if fate[0] == "ok" and start < deadline]
    return min((time for time in won if time <= deadline + 1e-9), default=None)


def row(fates, timeout, attempt_timeout):
    """When the first in a row answers, or None: the naive model."""
    now, deadline = 0.0, float("inf") if timeout is None else timeout
    for place, (what, delay) in enumerate(fates):
        fair = max((deadline - now) / (len(fates) - place), 0.01)
        end = min(now + fair, now + (attempt_timeout or float("inf")), deadline)
        if what == "ok" and now + delay <= end and now < deadline:
            return now + delay
        now = min(now + delay, end)
    return None


fates = st.lists(
    st.tuples(st.sampled_from(["ok", "ok", "refused", "unreachable", "local"]), moments), min_size=1, max_size=8
)
some_timeouts = st.one_of(st.none(), st.integers(1, 160).map(lambda steps: steps / 20 + 0.0007))


def hosts_of(fates):
    return ", ".join(f"4.{place} {what}@{delay}" for place, (what, delay) in enumerate(fates, 1))


@settings(max_examples=300)
@given(fates, st.sampled_from([0.25, 0.1, 1.0]), some_timeouts)
def test_a_race_is_won_when_the_model_says(fates, delay, timeout):
    world, expected = World(hosts_of(fates), delay=delay, timeout=timeout).run(), race(fates, delay, timeout)
    assert (world.kept is None) == (expected is None)
    assert expected is None or abs(world.now - expected) < 1e-9


@settings(max_examples=200)
@given(fates, some_timeouts, attempt_timeouts)
def test_a_row_ends_when_the_model_says(fates, timeout, attempt_timeout):
    world = World(hosts_of(fates), delay=None, timeout=timeout, attempt_timeout=attempt_timeout).run()
    expected = row(fates, timeout, attempt_timeout)
    assert (world.kept is None) == (expected is None)
    assert expected is None or abs(world.now - expected) < 1e-9


@settings(max_examples=200)
@given(fates, st.integers(1, 10**5).map(lambda steps: steps / 10**4))
def test_in_a_row_nobody_has_less_than_an_equal_part(fates, timeout):
    world = World(hosts_of(fates), delay=None, timeout=timeout).run()
    part = max(timeout / len(fates), 0.01)
    starts = [time for time, _ in world.starts()]
    for begin, end, (_, delay) in zip(starts, [*starts[1:], world.now], fates, strict=False):
        assert end - begin >= min(part, delay, timeout - begin) - 1e-9
    if world.kept is None and timeout / len(fates) >= 0.01:
        assert len(starts) == len(fates)


@settings(max_examples=100)
@given(worlds(), limits)
def test_an_attempt_that_has_no_more_time_is_one_that_fails_then(world, limit):
    """The naive model of ``attempt_timeout``: a network that says ETIMEDOUT after so many seconds."""
    world |= {"late": 0.0, "hosts": re.sub(r"self(@[\d.]+)?", "refused", world["hosts"]), "attempt_timeout": None}
    ended, expected = World(**{**copy.deepcopy(world), "attempt_timeout": limit}), World(**world)  # a budget for each
    for place, (host, fates) in enumerate(ended.hosts.items(), 1):
        # Off the grid, so that nothing else happens in the instant in which an attempt ends.
        ended.hosts[host] = moved = [(what, delay + place * 7e-6) for what, delay in fates]
        expected.hosts[host] = [("timeout", limit) if delay > limit else (what, delay) for what, delay in moved]
    ended.run()
    expected.run()
    assert ended.starts() == expected.starts()
    assert (ended.kept, ended.now) == (expected.kept, expected.now)
    assert brief(ended.error) == brief(expected.error)


@settings(max_examples=200)
@given(few_names, st.integers(0, 7), moments, st.sampled_from(["silent", "refused@0.1", "local", "self"]))
def test_one_good_address_among_bad_ones_is_found(tried, place, delay, bad):
    good = tried[place % len(tried)]
    hosts = ", ".join(f"{name} {f'ok@{delay}' if name == good else bad}" for name in tried)
    assert World(hosts, timeout=8 * 0.25 + 5).run().kept == good

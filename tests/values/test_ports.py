"""Every law of PortRange and PortSet, against the naive model: a Python set of ints."""

import copy
import itertools
import operator
import pickle
import random
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet

ALL = frozenset(range(65536))
INT = {"|": operator.or_, "&": operator.and_, "-": operator.sub, "^": operator.xor}
ORDER = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq}

# Most of the numbers lie close together, so that ranges often touch, overlap and coincide; the ends always matter.
numbers = st.one_of(st.integers(0, 40), st.integers(65500, 65535), st.integers(0, 65535))
ranges = st.builds(lambda a, b: PortRange(min(a, b), max(a, b)), numbers, numbers)
short_ranges = st.builds(lambda a, n: PortRange(a, min(a + n, 65535)), numbers, st.integers(0, 30))
port_sets = st.lists(st.one_of(numbers, short_ranges), max_size=8).map(PortSet)
wide_sets = st.lists(st.one_of(numbers, ranges), max_size=6).map(PortSet)


def members(ports):
    return {port for item in ports.ranges for port in range(item.first, item.last + 1)}


def check_windows(ports, size, exclude):
    """What `window` promises, for every draw."""
    allowed = members(ports) - {0, exclude}
    if not allowed:
        assert ports.window(lambda _: pytest.fail("nothing to draw from"), size, exclude) is None
        return
    weight = dict.fromkeys(allowed, 0.0)
    for number in range(len(allowed) * size):
        window = ports.window(lambda n, number=number: number, size, exclude)
        within = allowed & set(window)
        assert len(window) <= size
        assert exclude not in window
        assert 0 not in window
        assert within, "a window must hold a port of the set"
        for port in within:
            weight[port] += 1 / len(within)
    # A random port of a random window is any port with the same probability: each of them once in len(allowed).
    assert all(share == pytest.approx(size) for share in weight.values())


class TestPortRange:
    @given(ranges)
    def test_reads_what_it_prints(self, ports):
        assert PortRange.parse(str(ports)) == ports
        assert eval(repr(ports)) == ports
        assert pickle.loads(pickle.dumps(ports)) == copy.deepcopy(ports) == ports

    @given(short_ranges, numbers)
    def test_is_the_ports_between_its_ends(self, ports, port):
        model = range(ports.first, ports.last + 1)
        assert list(ports) == list(model)
        assert len(ports) == len(model)
        assert (port in ports) == (port in model)

    @given(ranges, ranges)
    def test_orders_like_the_pair_of_its_ends(self, left, right):
        pair_left, pair_right = (left.first, left.last), (right.first, right.last)
        for compare in ORDER.values():
            assert compare(left, right) == compare(pair_left, pair_right)
        assert left != right or hash(left) == hash(right)

    @pytest.mark.parametrize(
        ("text", "ports"),
        [
            ("8080", PortRange(8080)),
            ("8000-8099", PortRange(8000, 8099)),
            (" 0-65535\n", PortRange(0, 65535)),
            ("7-7", PortRange(7)),
        ],
    )
    def test_parses(self, text, ports):
        assert PortRange.parse(text) == ports

    @pytest.mark.parametrize(
        "text", ["", "-", "80-", "-80", "80-70", "65536", "1-65536", "a", "1,2", "+1", "1_0", "१", "1 2"]
    )
    def test_refuses_other_text(self, text):
        with pytest.raises(ValueError, match=r"port|first|last"):
            PortRange.parse(text)

    @pytest.mark.parametrize("value", ["80", 80.0, None, True])
    def test_refuses_what_is_no_int(self, value):
        with pytest.raises(TypeError, match="first must be an int"):
            PortRange(value, 90)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: PortRange(-1, 5), "first must be 0-65535, not -1"),
            (lambda: PortRange(5, 65536), "last must be 0-65535, not 65536"),
            (lambda: PortRange.parse("65536"), "port must be 0-65535, not 65536"),
            (lambda: PortSet([65536]), "port must be 0-65535, not 65536"),
            (lambda: PortRange.parse("a-b"), "not a port or a range of ports: 'a-b'"),
            (lambda: PortRange(5, 4), "last must not be below first: 5-4"),
            (lambda: PortSet([1]).window(random.randrange, 0), "size must be 1 or more, not 0"),
            (lambda: PortSet([1]).nth(2), "index 2 is outside a set of 1 ports"),
            (lambda: PortSet([0]).choose(random.randrange), "cannot choose a port from an empty set"),
            (lambda: setattr(PortRange(1), "first", 2), "PortRange is immutable: cannot set 'first'"),
            (lambda: delattr(PortRange(1), "last"), "PortRange is immutable: cannot delete 'last'"),
            (lambda: setattr(PortSet(), "ranges", 2), "PortSet is immutable: cannot set 'ranges'"),
            (lambda: delattr(PortSet(), "_firsts"), "PortSet is immutable: cannot delete '_firsts'"),
        ],
    )
    def test_says_what_is_wrong_to_the_letter(self, make, message):
        with pytest.raises((ValueError, IndexError, AttributeError)) as caught:
            make()
        assert str(caught.value) == message

    def test_leaves_equality_to_the_other_type(self):
        assert PortRange(1, 2) == mock.ANY
        assert PortSet([1]) == mock.ANY

    def test_compares_with_ranges_only(self):
        assert PortRange(1, 2) != (1, 2)
        with pytest.raises(TypeError):
            PortRange(1, 2) < 3  # noqa: B015 - the comparison itself is under test
        with pytest.raises(TypeError):
            PortRange(1, 2) <= 3  # noqa: B015


class TestPortSet:
    @given(st.lists(st.one_of(numbers, short_ranges), max_size=8))
    def test_has_the_members_it_was_given_in_canonical_form(self, items):
        model = set()
        for item in items:
            model |= {item} if isinstance(item, int) else set(item)
        made = PortSet(items)
        assert list(made) == sorted(model)
        assert len(made) == len(model)
        assert bool(made) == bool(model)
        gaps = [after.first - before.last for before, after in zip(made.ranges, made.ranges[1:], strict=False)]
        assert all(gap > 1 for gap in gaps), "neighbouring ranges must have been joined"
        assert made == PortSet(reversed(items))
        assert hash(made) == hash(PortSet(reversed(items)))

    @pytest.mark.parametrize("symbol", INT)
    @given(left=wide_sets, right=st.one_of(wide_sets, ranges))
    def test_combines_like_sets_of_ints(self, symbol, left, right):
        model_right = set(right) if isinstance(right, PortRange) else members(right)
        combined = INT[symbol](left, right)
        assert members(combined) == INT[symbol](members(left), model_right)
        assert combined == PortSet(combined.ranges), "the result must be canonical"

    @pytest.mark.parametrize("symbol", ORDER)
    @given(left=port_sets, right=port_sets, both=port_sets)
    def test_compares_like_sets_of_ints(self, symbol, left, right, both):
        for a, b in ((left, right), (left & both, both), (both, both | right), (both, both)):
            assert ORDER[symbol](a, b) == ORDER[symbol](members(a), members(b))

    @settings(max_examples=30)  # each is 65,536 ports
    @given(wide_sets)
    def test_complement_is_all_the_others(self, ports):
        assert members(~ports) == ALL - members(ports)
        assert ~~ports == ports

    @given(wide_sets, numbers)
    def test_membership(self, ports, port):
        assert (port in ports) == (port in members(ports))
        assert "80" not in ports
        assert -1 not in ports
        assert 65536 not in ports

    @given(wide_sets)
    def test_reads_what_it_prints(self, ports):
        assert PortSet.parse(str(ports)) == ports
        assert eval(repr(ports)) == ports
        assert pickle.loads(pickle.dumps(ports)) == copy.deepcopy(ports) == ports

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [("", ""), ("\n", ""), ("8080\n", "8080"), ("3,1,2", "1-3"), ("1-4,3-9,9", "1-9"), ("1, 3", "1,3")],
    )
    def test_parses_the_kernels_format(self, text, canonical):
        assert str(PortSet.parse(text)) == canonical

    @pytest.mark.parametrize("text", [",", "1,", "1;2", "all", "2-1", "70000"])
    def test_refuses_other_text(self, text):
        with pytest.raises(ValueError, match=r"port|last"):
            PortSet.parse(text)

    @pytest.mark.parametrize("item", ["80", 8.0, None, (1, 2)])
    def test_refuses_items_of_other_types(self, item):
        with pytest.raises(TypeError, match="port must be an int"):
            PortSet([item])

    @pytest.mark.parametrize("symbol", [*INT, *ORDER])
    def test_has_no_order_or_sum_with_other_types(self, symbol):
        if symbol == "==":
            assert PortSet([1]) != {1}
        else:
            with pytest.raises(TypeError):
                (INT | ORDER)[symbol](PortSet([1]), {1})


class TestChoosing:
    @given(port_sets)
    def test_nth_agrees_with_iteration(self, ports):
        assert [ports.nth(index) for index in range(len(ports))] == list(ports)
        for outside in (-1, len(ports)):
            with pytest.raises(IndexError):
                ports.nth(outside)

    @given(port_sets)
    def test_choose_reaches_every_bindable_port_once(self, ports):
        bindable = sorted(members(ports) - {0})
        if not bindable:
            with pytest.raises(IndexError, match="empty"):
                ports.choose(random.randrange)
            return
        asked = []

        def draw(n, answer):
            asked.append(n)
            return answer

        chosen = [ports.choose(lambda n, k=k: draw(n, k)) for k in range(len(bindable))]
        assert chosen == bindable
        assert set(asked) == {len(bindable)}

    @given(
        ports=st.lists(st.one_of(numbers, short_ranges), max_size=5).map(PortSet),
        size=st.integers(1, 20),
        exclude=st.one_of(st.none(), numbers),
    )
    @example(ports=PortSet([0]), size=3, exclude=None)
    @example(ports=PortSet([0, 1, 2]), size=2, exclude=0)
    @example(ports=PortSet([0, 1, 2]), size=2, exclude=1)
    @example(ports=PortSet([5, 6, 7]), size=3, exclude=5)
    @example(ports=PortSet([5, 6, 7]), size=3, exclude=6)
    @example(ports=PortSet([5, 6, 7]), size=3, exclude=7)
    @example(ports=PortSet([5, 6, 9, 10]), size=4, exclude=10)
    @example(ports=PortSet([0, 1, 5, 6]), size=4, exclude=6)
    def test_window_keeps_its_promises_for_every_draw(self, ports, size, exclude):
        check_windows(ports, size, exclude)

    @given(port_sets, st.integers(1, 64), st.one_of(st.none(), numbers), st.integers(0))
    def test_window_asks_for_one_draw_over_the_whole_space(self, ports, size, exclude, seed):
        asked = []

        def draw(n):
            asked.append(n)
            return seed % n

        if ports.window(draw, size, exclude) is not None:
            assert asked == [len(members(ports) - {0, exclude}) * size]

    @given(st.integers(1, 64), st.integers(32768, 60999))
    def test_windows_of_the_default_range_are_full_unless_at_an_edge(self, size, exclude):
        window = PortSet(PortRange(32768, 60999)).window(random.randrange, size, exclude)
        edges = (32768, 60999, exclude - 1, exclude + 1)
        assert len(window) == size or window.first in edges or window.last in edges


class TestShuffled:
    @given(port_sets, st.integers(0, 2**32))
    def test_gives_each_port_once(self, ports, seed):
        order = list(ports.shuffled(random.Random(seed).randrange))
        assert sorted(order) == [port for port in ports if port]

    def test_orders_differ(self):
        ports = PortSet(PortRange(1, 1000))
        draw = random.Random(1).randrange
        assert len({tuple(itertools.islice(ports.shuffled(draw), 5)) for _ in range(100)}) > 95

    def test_any_draw_ends(self):
        assert sorted(PortSet(PortRange(1, 6)).shuffled(lambda n: n - 1)) == [1, 2, 3, 4, 5, 6]
        assert sorted(PortSet(PortRange(1, 6)).shuffled(lambda _: 0)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("first", [0, 1, 65530])
def test_window_keeps_its_promises_in_every_small_set(first):
    """Chance alone seldom puts ``exclude`` inside the set, or at the very end of a window."""
    numbers = range(first, first + 6)
    for count in range(5):
        for members in itertools.combinations(numbers, count):
            ports = PortSet(members)
            for size, exclude in itertools.product((1, 2, 4), (None, *numbers)):
                check_windows(ports, size, exclude)


def test_sets_of_many_ranges():
    odd, even = PortSet(range(1, 1200, 2)), PortSet(range(0, 1200, 2))
    assert len(odd.ranges) == len(even.ranges) == 600
    assert odd | even == even | odd == odd ^ even == PortSet(PortRange(0, 1199))
    assert odd & even == even & odd == PortSet()
    assert odd & odd == odd - even == odd
    assert [odd.nth(index) for index in range(600)] == list(odd) == list(range(1, 1200, 2))

"""Port numbers as values: a closed range, and a canonical set of ranges.

Pure: no socket, no clock, no randomness. What is random is drawn by the caller through ``draw(n)``, a callable that
returns an integer of ``range(n)``: ``random.randrange`` and ``secrets.randbelow`` both fit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ._checks import check_int
from ._fork import imports
from ._lazy import publish
from ._lazy import typing as t

MAX_PORT = 65535


def _check_port(name: str, value: int) -> int:
    check_int(name, value, 0, MAX_PORT)
    return value


def _parse_port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"not a port or a range of ports: {whole!r}")
    return _check_port("port", int(text.lstrip("0")[:18] or "0"))  # int() takes some thousand digits at most


class _Immutable:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")


class PortRange(_Immutable):
    """The ports from ``first`` to ``last``, both included.

    Immutable, hashable, ordered by ``(first, last)``. Iterating gives the port numbers. Port 0 may be part of a range,
    for it is part of the number space; nothing ever binds to it.

    :param first: the lowest port, 0 to 65535.
    :param last: the highest port, not below ``first``; the same as ``first`` when left out.
    :raises TypeError: an argument is not an ``int``.
    :raises ValueError: an argument is not a port, or ``last`` is below ``first``.

    >>> web = PortRange(8000, 8099)
    >>> len(web), 8080 in web, str(web)
    (100, True, '8000-8099')
    >>> PortRange.parse("8000-8099") == web
    True
    """

    __slots__ = ("first", "last")

    first: int
    last: int

    def __init__(self, first: int, last: int | None = None) -> None:
        first = _check_port("first", first)
        last = first if last is None else _check_port("last", last)
        if last < first:
            raise ValueError(f"last must not be below first: {first}-{last}")
        object.__setattr__(self, "first", first)
        object.__setattr__(self, "last", last)

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read ``"8000-8099"`` or ``"8080"``: what ``str()`` of a range gives.

        :raises ValueError: the text is neither a port nor a range of ports.
        """
        first, dash, last = text.strip().partition("-")
        if not dash:
            return cls(_parse_port(first, text))
        return cls(_parse_port(first, text), _parse_port(last, text))

    def __reduce__(self) -> tuple[type[PortRange], tuple[int, int]]:
        return type(self), (self.first, self.last)

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last

    def __eq__(self, other: object) -> bool:
        return (self.first, self.last) == (other.first, other.last) if isinstance(other, PortRange) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return (self.first, self.last) < (other.first, other.last) if isinstance(other, PortRange) else NotImplemented

    def __le__(self, other: object) -> bool:
        return (self.first, self.last) <= (other.first, other.last) if isinstance(other, PortRange) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.first, self.last))

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __repr__(self) -> str:
        return f"PortRange({self.first}, {self.last})"


class PortSet(_Immutable):
    """An immutable set of ports, kept as sorted, disjoint, non-adjacent ranges.

    Two sets with the same members are equal, hash alike and print alike, however they were made. The operators are
    those of ``frozenset`` (``| & - ^ <= < >= >``), plus ``~`` for all other ports of 0 to 65535; the right-hand side
    may also be a `PortRange`. Membership, `nth` and `choose` take O(log n) in the number of ranges.

    :param ports: a `PortRange`, or an iterable of port numbers, ranges, or both, in any order.
    :raises TypeError: an item is neither an ``int`` nor a `PortRange`.
    :raises ValueError: an item is not a port.

    >>> allowed = PortSet.parse("1024-65535") - PortSet([8080, PortRange(9000, 9999)])
    >>> str(allowed), len(allowed), 9500 in allowed
    ('1024-8079,8081-8999,10000-65535', 63511, False)
    """

    __slots__ = ("_before", "_firsts", "_lasts", "_size")

    _firsts: tuple[int, ...]
    _lasts: tuple[int, ...]
    _before: tuple[int, ...]  # how many ports stand in the ranges before this one
    _size: int

    def __init__(self, ports: PortRange | Iterable[int | PortRange] = ()) -> None:
        items = [ports] if isinstance(ports, PortRange) else ports
        self._fill(sorted(map(_pair, items)))

    @classmethod
    def _of(cls, pairs: Iterable[tuple[int, int]]) -> PortSet:
        made = object.__new__(cls)
        made._fill(pairs)
        return made

    def _fill(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Take sorted pairs, join those that overlap or touch, and count."""
        firsts: list[int] = []
        lasts: list[int] = []
        for first, last in pairs:
            if lasts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        before, size = [], 0
        for first, last in zip(firsts, lasts, strict=True):
            before.append(size)
            size += last - first + 1
        object.__setattr__(self, "_firsts", tuple(firsts))
        object.__setattr__(self, "_lasts", tuple(lasts))
        object.__setattr__(self, "_before", tuple(before))
        object.__setattr__(self, "_size", size)

    @classmethod
    def parse(cls, text: str) -> PortSet:
        """Read the format of Linux's ``ip_local_reserved_ports``: ``"8080,9000-9099"``; empty text is the empty set.

        :raises ValueError: a part of the text is neither a port nor a range of ports.
        """
        text = text.strip()
        return cls(PortRange.parse(part) for part in text.split(",")) if text else cls()

    @property
    def ranges(self) -> tuple[PortRange, ...]:
        """The ranges of the set, lowest first; no two of them overlap or touch."""
        return tuple(map(PortRange, self._firsts, self._lasts))

    def __reduce__(self) -> tuple[type[PortSet], tuple[tuple[PortRange, ...]]]:
        return type(self), (self.ranges,)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for first, last in zip(self._firsts, self._lasts, strict=True):
            yield from range(first, last + 1)

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self._index(port) is not None

    def _index(self, port: int) -> int | None:
        """The place of ``port`` among the members, or None where it is no member."""
        i = bisect_right(self._firsts, port) - 1
        if i < 0 or port > self._lasts[i]:
            return None
        return self._before[i] + port - self._firsts[i]

    def _at(self, index: int) -> int:
        i = bisect_right(self._before, index) - 1
        return self._firsts[i] + index - self._before[i]

    def nth(self, index: int) -> int:
        """The member with ``index`` smaller ones before it, counted from 0.

        :raises IndexError: ``index`` is not in ``range(len(self))``.
        """
        if not 0 <= index < self._size:
            raise IndexError(f"index {index} is outside a set of {self._size} ports")
        return self._at(index)

    def choose(self, draw: t.DrawBelow) -> int:
        """One port of the set that can be bound (so never 0), each as likely as the next.

        :param draw: called once, with the number of ports there are to choose from.
        :raises IndexError: there is no such port.
        """
        unbindable = 1 if 0 in self else 0
        if self._size == unbindable:
            raise IndexError("cannot choose a port from an empty set")
        return self._at(unbindable + draw(self._size - unbindable))

    def shuffled(self, draw: t.DrawBelow) -> Iterator[int]:
        """Every port of the set that can be bound (so never 0), once, in a random order; no list is built.

        From a random port on, in steps that have no divisor in common with the number of ports.

        :param draw: called twice, with the number of ports.

        >>> sorted(PortSet([8000, 8080]).shuffled(lambda n: n - 1))
        [8000, 8080]
        """
        with imports.lock:
            from math import gcd  # a file of its own, which a plain connect does not need

        unbindable = 1 if 0 in self else 0
        count = self._size - unbindable
        if not count:
            return
        at, step = draw(count), 1 + draw(count)
        while gcd(step, count) != 1:
            step += 1
        for _ in range(count):
            yield self._at(unbindable + at)
            at = (at + step) % count

    def window(self, draw: t.DrawBelow, size: int, exclude: int | None = None) -> PortRange | None:
        """A run of at most ``size`` neighbouring ports at a random place.

        The run leaves ``exclude`` and port 0 out and holds at least one port of the set; ports that the set lacks may
        lie in between. Who then takes a random port of the set from the run has taken each port of the set with the
        same probability. Runs at the ends of the set, and beside ``exclude``, are shorter than ``size``.

        :param draw: called once, where there is anything to draw from.
        :param size: the largest number of ports in the run, 1 or more.
        :param exclude: a port that the run must not hold, be it in the set or not.
        :returns: the run, or None where the set holds no port other than ``exclude`` and 0.
        :raises ValueError: ``size`` is below 1.
        """
        if size < 1:
            raise ValueError(f"size must be 1 or more, not {size}")
        bounds = self.window_bounds(draw, size, exclude)
        return None if bounds is None else PortRange(*bounds)

    def window_bounds(self, draw: t.DrawBelow, size: int, exclude: int | None = None) -> tuple[int, int] | None:
        """`window` as plain ``(first, last)`` and without checks: every connect draws one, so it makes no object."""
        hole = self._index(exclude) if exclude else None
        unbindable = 1 if self._firsts and self._firsts[0] == 0 else 0
        count = self._size - unbindable - (hole is not None)
        if count <= 0:
            return None
        # One draw chooses the port and where in the run it stands: that makes every port equally likely.
        place, back = divmod(draw(count * size), size)
        place += unbindable
        if hole is not None and place >= hole:
            place += 1
        port = self._at(place)
        first = max(port - back, self._firsts[0] or 1)
        last = min(port - back + size - 1, self._lasts[-1])
        if exclude is not None:
            if first <= exclude < port:
                first = exclude + 1
            elif port < exclude <= last:
                last = exclude - 1
        return first, last

    def __or__(self, other: PortSet | PortRange) -> PortSet:
        right = _as_set(other)
        return NotImplemented if right is None else self._of(sorted([*self._pairs(), *right._pairs()]))

    def __and__(self, other: PortSet | PortRange) -> PortSet:
        right = _as_set(other)
        return NotImplemented if right is None else self._of(_common(self._pairs(), right._pairs()))

    def __sub__(self, other: PortSet | PortRange) -> PortSet:
        right = _as_set(other)
        return NotImplemented if right is None else self & ~right

    def __xor__(self, other: PortSet | PortRange) -> PortSet:
        right = _as_set(other)
        return NotImplemented if right is None else (self | right) - (self & right)

    def __invert__(self) -> PortSet:
        edges = [-1, *(edge for pair in self._pairs() for edge in pair), MAX_PORT + 1]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return self._of((before + 1, after - 1) for before, after in gaps if before + 1 < after)

    def __le__(self, other: PortSet | PortRange) -> bool:
        right = _as_set(other)
        return NotImplemented if right is None else self & right == self

    def __lt__(self, other: PortSet | PortRange) -> bool:
        right = _as_set(other)
        return NotImplemented if right is None else self != right and self & right == self

    def __ge__(self, other: PortSet | PortRange) -> bool:
        right = _as_set(other)
        return NotImplemented if right is None else right <= self

    def __gt__(self, other: PortSet | PortRange) -> bool:
        right = _as_set(other)
        return NotImplemented if right is None else right < self

    def __eq__(self, other: object) -> bool:
        return (
            (self._firsts, self._lasts) == (other._firsts, other._lasts)
            if isinstance(other, PortSet)
            else NotImplemented
        )

    def __hash__(self) -> int:
        return hash((self._firsts, self._lasts))

    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self._firsts, self._lasts, strict=True))

    def __str__(self) -> str:
        return ",".join(map(str, self.ranges))

    def __repr__(self) -> str:
        return f"PortSet.parse({str(self)!r})"


def port_set(name: str, value: object) -> PortSet:
    """The argument as a set of ports: a `PortSet`, a `PortRange`, one number, or text as `PortSet.parse` reads it.

    :raises TypeError: it is something else, naming the argument.
    :raises ValueError: it holds no port that can be bound.
    """
    if isinstance(value, str):
        found = PortSet.parse(value)
    elif isinstance(value, (PortSet, PortRange)):
        found = PortSet(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        found = PortSet([value])
    else:
        raise TypeError(f"{name} must be a PortSet, a PortRange or text like '8000-8099', not {type(value).__name__}")
    if not found - PortRange(0, 0):
        raise ValueError(f"{name} holds no port that can be bound: {found}")
    return found


def _pair(item: int | PortRange) -> tuple[int, int]:
    if isinstance(item, PortRange):
        return item.first, item.last
    port = _check_port("port", item)
    return port, port


def _as_set(value: object) -> PortSet | None:
    if isinstance(value, PortRange):
        return PortSet(value)
    return value if isinstance(value, PortSet) else None


def _common(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The overlaps of two sorted lists of ranges, in order: drop whichever range ends first."""
    i = j = 0
    while i < len(left) and j < len(right):
        first = max(left[i][0], right[j][0])
        last = min(left[i][1], right[j][1])
        if first <= last:
            yield first, last
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


publish("safeconnect", PortRange, PortSet)

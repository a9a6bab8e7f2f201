"""The order in which candidates are tried."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..typing import Candidate, SockAddr


def interleaved(candidates: Sequence[Candidate], last: int | None = None) -> list[Candidate]:
    """Return the candidates with their families alternating (RFC 8305, section 4, first address family count 1).

    Within a family the resolver's order stays (RFC 6724). The family of the first candidate comes first, unless it is
    ``last``, the family of the candidate before these.
    """
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate[0], []).append(candidate)
    turns = sorted(families.values(), key=lambda group: group[0][0] == last)
    longest = max(map(len, turns), default=0)
    return [group[place] for place in range(longest) for group in turns if place < len(group)]


def without_duplicates(candidates: Iterable[Candidate], seen: dict[tuple[int, SockAddr], None]) -> list[Candidate]:
    """Return the candidates whose address is not in ``seen`` yet, and put it there."""
    new = []
    for candidate in candidates:
        key = (candidate[0], candidate[4])
        if key not in seen:
            seen[key] = None
            new.append(candidate)
    return new

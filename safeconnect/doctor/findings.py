"""A finding, and a rule that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from .._lazy import publish
from .._text import harmless
from .facts import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..typing import Severity
    from .facts import Snapshot


# The worst first. An error: connects fail, or will. A warning: they may, or take long. An info: good to know.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has found in a snapshot.

    :ivar severity: ``"error"``: connects fail, or will fail next; ``"warning"``: they may fail, or take long;
        ``"info"``: good to know; ``"ok"``: what was asked about is well.
    :ivar code: which rule; it does not change from version to version.
    :ivar title: what is the matter, the same for every machine.
    :ivar detail: how it shows on this one, with its figures.
    :ivar advice: what to do: ways to choose from, the best first. Empty where there is nothing to be done.
    """

    severity: Severity
    code: str
    title: str
    detail: str
    advice: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        found: dict[str, Any] = plain(self)
        return found


@dataclass(frozen=True, slots=True)
class Case:
    """How a rule applies to a snapshot.

    :ivar severity: one of the rule's; its first one where None.
    """

    detail: str
    advice: tuple[str, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look for; call it with a snapshot.

    :ivar severities: those that its findings may have.
    :ivar meaning: what it means and what to do about it, for the documentation.
    """

    code: str
    title: str
    severities: tuple[Severity, ...]
    meaning: str
    cases: Callable[[Snapshot], Iterable[Case]]

    def __call__(self, snapshot: Snapshot) -> list[Finding]:
        """What it finds."""
        return [
            Finding(
                case.severity or self.severities[0],
                self.code,
                self.title,
                harmless(case.detail),  # there are names of hosts in it, and what resolvers say
                tuple(map(harmless, case.advice)),
            )
            for case in self.cases(snapshot)
        ]


def rule(code: str, title: str, *severities: Severity) -> Callable[[Callable[[Snapshot], Iterable[Case]]], Rule]:
    """Make a rule of a function that yields cases; its docstring is the rule's meaning."""

    def made(cases: Callable[[Snapshot], Iterable[Case]]) -> Rule:
        return Rule(code, title, severities, " ".join((cases.__doc__ or "").split()), cases)

    return made


publish("safeconnect.doctor", Finding)

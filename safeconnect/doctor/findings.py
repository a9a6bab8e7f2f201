"""Findings, the rules that make them, and how facts are written in them."""

from __future__ import annotations

from dataclasses import dataclass

from .._host.tcp_rows import named
from .._lazy import publish
from .._lazy import typing as t
from .._sockets.endpoint import written
from .._text import harmless
from .facts import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..typing import Severity
    from .facts import Listener, Snapshot


SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info", "ok")  # the worst first
_MOST_LISTED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """The statement of a rule about a snapshot.

    :ivar severity: ``"error"``: connects fail, or will fail next; ``"warning"``: they may fail, or take long;
        ``"info"``: good to know; ``"ok"``: what was asked about is well.
    :ivar code: the rule; it does not change from version to version.
    :ivar title: the problem, the same for every machine.
    :ivar detail: how it shows on this machine, with its figures.
    :ivar advice: ways to solve it, the best first. Empty if there is nothing to do.
    """

    severity: t.Severity
    code: str
    title: str
    detail: str
    advice: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        """Return the finding as JSON has it."""
        return dict(plain(self))


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a rule applies to a snapshot; a severity of None is the rule's first one."""

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
        """Return the findings of this rule."""
        return [
            Finding(
                case.severity or self.severities[0],
                self.code,
                self.title,
                harmless(case.detail),  # names of hosts and messages of resolvers may hold anything
                tuple(map(harmless, case.advice)),
            )
            for case in self.cases(snapshot)
        ]


def rule(code: str, title: str, *severities: Severity) -> Callable[[Callable[[Snapshot], Iterable[Case]]], Rule]:
    """Make a rule of a function that yields cases; its docstring is the rule's meaning."""
    return lambda cases: Rule(code, title, severities, " ".join((cases.__doc__ or "").split()), cases)


def sysctl(setting: str) -> str:
    """Return the advice to change a setting of Linux."""
    return f"as root: sysctl -w {setting} (and write it to /etc/sysctl.d/)"


def listed(listeners: Sequence[Listener], more: Callable[[Listener], str] = lambda _: "") -> str:
    """Return the first few listeners with their processes; ``more`` adds to each."""
    shown = []
    for each in listeners[:_MOST_LISTED]:
        whose = f" of {named(each.processes)}" if each.processes else ""
        shown.append(written((each.address, each.port)) + whose + more(each))
    rest = len(listeners) - _MOST_LISTED
    return "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")


publish("safeconnect.doctor", Finding)

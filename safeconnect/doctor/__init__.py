"""Examine how this machine makes TCP connects, and say what is wrong with it.

`examine` gathers facts (`gather`, a `Snapshot`) and judges them (`diagnose`, a list of `Finding`). The rules are pure:
they see a snapshot and nothing else, so they can judge another machine's, too. Nothing is changed or printed.

>>> from safeconnect.doctor import examine
>>> report = examine()
>>> report.worst in ("error", "warning", "info", "ok")
True
"""

from __future__ import annotations

from dataclasses import dataclass

from .._lazy import publish as _publish
from .._lazy import typing as t
from . import machine_rules, source_port_rules, target_rules

# The annotations of Snapshot are evaluated here, as this is its ``__module__``.
from .facts import Host, Listening, Names, Snapshot, SourcePorts, Table, Target, Timers  # noqa: F401
from .findings import SEVERITIES, Finding, Rule
from .gathering import gather

__all__ = ["RULES", "Finding", "Report", "Snapshot", "diagnose", "examine", "gather"]

# In the order of the modules, and of the rules in each. Findings of one severity keep this order.
RULES: tuple[Rule, ...] = tuple(
    each
    for module in (target_rules, source_port_rules, machine_rules)
    for each in vars(module).values()
    if isinstance(each, Rule)
)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `examine`: the facts, and the findings about them, the worst first."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> t.Severity:
        """The severity of the worst finding; ``"ok"`` if there is none."""
        severities: list[t.Severity] = [each.severity for each in self.findings]
        return min(severities, key=SEVERITIES.index) if severities else "ok"

    def as_dict(self) -> dict[str, t.Any]:
        """Return the report as JSON has it: ``worst``, ``findings``, ``snapshot``."""
        findings = [finding.as_dict() for finding in self.findings]
        return {"worst": self.worst, "findings": findings, "snapshot": self.snapshot.as_dict()}


def diagnose(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return the findings of all rules about a snapshot, the worst first.

    :param snapshot: of this machine (`gather`), or made by hand.
    """
    found = [finding for rule in RULES for finding in rule(snapshot)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def examine(target: tuple[str, int] | None = None, timeout: float = 3.0) -> Report:
    """Gather the facts about this machine, and about the way to a target if one is given, and judge them.

    :param target: ``(host, port)``; `gather` says what is done with it.
    :param timeout: seconds for each lookup and each connect; `gather` says what that adds up to.
    :raises TypeError: as `gather`.
    :raises ValueError: as `gather`.

    >>> import socket
    >>> with socket.create_server(("127.0.0.1", 0)) as server:
    ...     report = examine(server.getsockname())
    >>> [finding.title for finding in report.findings if finding.code == "target-answers"]
    ['The target takes connects']
    """
    snapshot = gather(target, timeout)
    return Report(snapshot, diagnose(snapshot))


_publish("safeconnect.doctor", Report)

"""The whole examination: gather, then judge."""

from __future__ import annotations

from dataclasses import dataclass

from .._lazy import publish
from .findings import SEVERITIES, Finding
from .gathering import gather
from .rules import diagnose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..typing import Severity
    from .facts import Snapshot


@dataclass(frozen=True, slots=True)
class Report:
    """What `examine` returns.

    :ivar snapshot: the facts.
    :ivar findings: what the rules say of them, the worst first.
    """

    snapshot: Snapshot
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity:
        """The severity of the worst finding, ``"ok"`` where there is none."""
        found: set[Severity] = {finding.severity for finding in self.findings}
        for severity in SEVERITIES:
            if severity in found:
                return severity
        return "ok"

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: ``worst``, ``findings``, ``snapshot``."""
        return {
            "worst": self.worst,
            "findings": [finding.as_dict() for finding in self.findings],
            "snapshot": self.snapshot.as_dict(),
        }


def examine(target: tuple[str, int] | None = None, timeout: float = 3.0) -> Report:
    """Gather the facts about this machine, and about the way to a target if one is given, and judge them.

    :param target: ``(host, port)``; see `gather` for what is done with it.
    :param timeout: seconds for each lookup and each connect; see `gather` for the sum.
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


publish("safeconnect.doctor", Report)

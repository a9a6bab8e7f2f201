"""What this machine's way of making TCP connects is like, and what is wrong with it.

`examine` does it all: it gathers facts (`gather`, a `Snapshot`) and judges them (`diagnose`, a list of `Finding`). The
rules are pure: they take a snapshot and nothing else, so those of another machine can be judged, too. Nothing is
changed, and nothing is printed.

>>> from safeconnect.doctor import examine
>>> report = examine()
>>> report.worst in ("error", "warning", "info", "ok")
True
"""

from __future__ import annotations

from .._lazy import loader as _loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .diagnosis import Report as Report
    from .diagnosis import examine as examine
    from .facts import Snapshot as Snapshot
    from .findings import Finding as Finding
    from .gathering import gather as gather
    from .rules import RULES as RULES
    from .rules import diagnose as diagnose

__all__ = ["RULES", "Finding", "Report", "Snapshot", "diagnose", "examine", "gather"]

_LATER = {
    "RULES": "rules",
    "Finding": "findings",
    "Report": "diagnosis",
    "Snapshot": "facts",
    "diagnose": "rules",
    "examine": "diagnosis",
    "gather": "gathering",
}

__getattr__ = _loader(__name__, _LATER)

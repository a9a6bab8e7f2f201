"""``safeconnect doctor``."""

from __future__ import annotations

from ..doctor import examine
from . import FAILED
from ._console import Console
from ._facts import sections, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..doctor import Finding, Report
    from ._console import Stream

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan", "ok": "green"}


def run(arguments: argparse.Namespace) -> int:
    """Examine, and tell; 1 where a finding is an error."""
    console = Console()
    with console.messages.live(lambda: [["examining ", str(arguments.target or "this machine"), " ..."]]):
        report = examine(arguments.target, arguments.timeout)
    status = FAILED if report.worst == "error" else 0
    if arguments.json:
        console.data.json({**report.as_dict(), "exit_status": status})
    else:
        _tell(report, console.data)
    return status


def _tell(report: Report, stream: Stream) -> None:
    found = list(sections(report.snapshot))
    names = width(found)
    for title, facts in found:
        stream.line((title, "bold"))
        for name, text in facts:
            stream.line(f"  {name:<{names}}  {text}")
        stream.line()
    stream.line(("findings", "bold"))
    for finding in report.findings:
        _tell_finding(finding, stream)
    if not report.findings:
        stream.line("  nothing is wrong")


def _tell_finding(finding: Finding, stream: Stream) -> None:
    stream.line("  ", (finding.severity, _STYLES[finding.severity]), f": {finding.title} [{finding.code}]")
    stream.line(f"    {finding.detail}")
    for advice in finding.advice:
        stream.line(f"    - {advice}")

"""``safeconnect demo``."""

from __future__ import annotations

import argparse

from ..demo import run as _run
from ..demo import why_not
from . import FAILED
from ._console import Console


def run(arguments: argparse.Namespace) -> int:
    """Show it; 0 when everything was seen, 1 when not, or when it cannot be seen at that port."""
    reason = None if arguments.port is None else why_not(arguments.port)
    if reason is not None:
        Console().messages.line(f"safeconnect: {reason}")
        return FAILED
    return _run(arguments.port)

"""``safeconnect demo``."""

import argparse

from ..demo import run as _run


def run(_: argparse.Namespace) -> int:
    """Show it; 0 when everything was seen, 1 when not."""
    return _run()

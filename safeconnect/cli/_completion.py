"""Scripts with which shells complete the commands and their options: shtab makes them of the parser."""

from __future__ import annotations

import re

import shtab

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

# What follows `--` is a command of the user's own, which the parser does not know: each shell completes it as ever.
_AFTER_DASHES = {
    "bash": (r"^complete (?=-)", "complete -o default "),
    "zsh": (
        r"^_shtab_safeconnect\(\) \{\n",
        r"""\g<0>  local dashes=${words[(i)--]}
  if (( dashes < CURRENT )); then
    shift $dashes words
    (( CURRENT -= dashes ))
    _normal
    return
  fi
""",
    ),
    "fish": (r"\Z", "\ncomplete -c safeconnect -n 'contains -- -- (commandline -opc)' -F\n"),
}


def script(parser: argparse.ArgumentParser, shell: str, summaries: Mapping[argparse.ArgumentParser, str]) -> str:
    """Return the script for a shell.

    :param parser: of the program.
    :param summaries: what a shell says of each command.
    """
    for command, summary in summaries.items():
        command.description = summary
    pattern, text = _AFTER_DASHES.get(shell, (r"\Z", ""))
    return re.sub(pattern, text, shtab.complete(parser, shell), flags=re.MULTILINE)

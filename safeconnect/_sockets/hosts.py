"""The file of hosts: is localhost in it, or may its lookup ask the network, as that of any name?"""

from __future__ import annotations

import sys

_HOSTS = "/etc/hosts"
_SOURCES = "/etc/nsswitch.conf"
# nsswitch.conf(5): these may stand before the files, and know localhost without asking anybody.
_LOCAL = {"myhostname", "mymachines", "resolve"}


def has_localhost() -> bool:
    """Return True if a lookup of localhost is answered on this host. macOS and Windows always do that.

    It need not be so on Linux: an image of a container may have no file of hosts, and glibc then asks DNS.
    """
    if sys.platform != "linux":
        return True
    return any("localhost" in line.split()[1:] for line in _lines(_HOSTS)) and _files_come_first()


def _files_come_first() -> bool:
    for line in _lines(_SOURCES):
        kind, _, sources = line.partition(":")
        if kind.strip() == "hosts":
            before, found, _ = sources.partition("files")
            return bool(found) and _LOCAL.issuperset(word for word in before.split() if word.isalpha())
    return True  # what the C libraries assume


def _lines(path: str) -> list[str]:
    """Return the lines of a file, without comments; none if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes long to load
            return [line.partition("#")[0] for line in file]
    except OSError:
        return []

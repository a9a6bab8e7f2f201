"""The file of hosts: names that it has are looked up at once. The lookups of others may ask the network.

The C library still makes those lookups; the file only tells how long they take. Everything here is for Linux.
"""

from __future__ import annotations

import os
import stat
import sys
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    Stamp = tuple[int, int, int] | None

_HOSTS = "/etc/hosts"
_SOURCES = "/etc/nsswitch.conf"
# nsswitch.conf(5): these may stand before the files, and know localhost without asking anybody.
_LOCAL = {"myhostname", "mymachines", "resolve"}
# glibc asks this daemon first, where it runs. It may be busy with names that hang.
_DAEMON = "/var/run/nscd/socket"
_GLIBC = (2, 33)  # from here on it reads nsswitch.conf anew once that has changed
# What may be preloaded: memory allocators, and valgrind. torsocks and nss_wrapper have a getaddrinfo() of their own.
_HARMLESS = ("libjemalloc", "libmimalloc", "libtcmalloc", "vgpreload_")
_MOST_BYTES = 16_384  # The C library reads the file at each lookup: 16 kB take it about 0.1 ms
_LONGEST_LINE = 500  # musl cuts lines at 511
_SETTLED_SECONDS = 2.0  # A file that changed just now may change again with the same time stamp (FAT: 2 s)

# The names that were read, and the time stamps that the files then had. Replaced as a whole: threads share it.
_read: tuple[tuple[Stamp, Stamp], frozenset[str]] = (None, None), frozenset()


def answers_at_once(host: str) -> bool:
    """Return True if the C library finds the host in the file of hosts, and asks nobody else.

    This is so if nsswitch.conf(5) puts that file first, and the name is in it exactly as it is written here. It holds
    for a lookup of both families only: with one family, a name that the file has in the other is looked up further.

    False is always safe: the lookup is then made in another thread. So it is False in all doubtful cases: another libc
    is preloaded, a caching daemon runs, a file is large, is no regular file, or has changed in the last two seconds.
    """
    global _read
    if not _is_known_libc() or os.access(_DAEMON, os.F_OK):
        return False
    files = _stamp(_HOSTS), _stamp(_SOURCES)
    known, names = _read
    if files != known:
        names = _read_names()
        if _newest(files) > time() - _SETTLED_SECONDS or files != (_stamp(_HOSTS), _stamp(_SOURCES)):
            return False
        _read = files, names
    return host in names


def _stamp(path: str) -> Stamp:
    """Return what changes whenever the file does; None if it is no regular file of moderate size."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib takes long to load
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size


def _newest(files: tuple[Stamp, Stamp]) -> float:
    return max((each[0] for each in files if each), default=0) / 1e9


@lru_cache(maxsize=1)
def _is_known_libc() -> bool:
    """Return True if the C library is known to look into its files at each lookup."""
    preloaded = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    if sys.platform != "linux" or not all(os.path.basename(each).startswith(_HARMLESS) for each in preloaded):  # noqa: PTH119
        return False
    if "musl" in getattr(sys.implementation, "_multiarch", ""):
        return True
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _GLIBC
    except (OSError, ValueError):
        return False


def _read_names() -> frozenset[str]:
    """Return the names that any C library finds in the file of hosts; none unless it is asked first."""
    if _stamp(_HOSTS) is None or _stamp(_SOURCES) is None or not _files_alone_answer():
        return frozenset()
    names: set[str] = set()
    for line in _lines(_HOSTS):
        text = line.replace("\t", " ").removesuffix("\n")
        # Lines without an end, with blanks before the address or with controls are read in more than one way.
        if text != line and text.isascii() and text.isprintable() and len(text) <= _LONGEST_LINE and text[:1] != " ":
            address, *others = text.split() or [""]
            if _is_address(address):
                names.update(others)
    return frozenset(names)


def _is_address(text: str) -> bool:
    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def _files_alone_answer() -> bool:
    """Return True if nsswitch.conf says, once, that the files come first and that what they have is the answer."""
    found = [rest for line in _lines(_SOURCES) for kind, _, rest in [line.partition(":")] if kind.strip() == "hosts"]
    if len(found) != 1:
        return False
    before, files, after = found[0].partition("files")
    if before.strip() or not files or after[:1].strip(" \t\n["):
        return False
    action = after.strip().partition("]")[0].lower()
    # [NOTFOUND=return] changes nothing for a name that is found; [SUCCESS=continue] and [!UNAVAIL=continue] would.
    return not (action.startswith("[") and ("success" in action or "!" in action))


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
    """Return the lines of a file, with a newline in place of a comment; none if it cannot be read."""
    try:
        # pathlib takes long to load.
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:  # noqa: PTH123
            return [text + mark.replace("#", "\n") for line in file for text, mark, _ in [line.partition("#")]]
    except OSError:
        return []

"""The file of hosts: whether localhost is in it, or its lookup may ask the network; the addresses of other names.

A name that stands for one address there is looked up once, like any other, in a thread with a time limit. If the C
library finds that address and no other, the answer is kept until one of the two files changes. So it is the library's
own answer, and nothing here can wait: the files' time stamps are compared, no lookup is made.
"""

from __future__ import annotations

import os
import stat
import sys
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, inet_ntop, inet_pton
from time import monotonic, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import Candidate

    Stamps = tuple[int, ...]

_HOSTS = "/etc/hosts"
_SOURCES = "/etc/nsswitch.conf"
# nsswitch.conf(5): these may stand before the files, and know localhost without asking anybody.
_LOCAL = {"myhostname", "mymachines", "resolve"}
_MOST_BYTES = 65_536  # larger files take long to read: lists of blocked names
_SETTLED_SECONDS = 2.0  # a file that changed just now may change again with the same time stamp (FAT: 2 s)
_AGAIN_SECONDS = 1.0  # until a name that was not there is looked for again


class _Content:
    """The content of the files when they were read."""

    __slots__ = ("addresses", "answered", "read_at", "stamps")

    def __init__(self, addresses: dict[str, str | None], stamps: Stamps, read_at: float) -> None:
        self.addresses = addresses  # of each name; None if there are several
        self.stamps = stamps
        self.read_at = read_at
        self.answered: dict[str, int] = {}  # the family of names of which the C library has said the same


class _Kept:
    """The latest content. Threads share it without a lock: each call reads it once."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content = _Content({}, (), -_AGAIN_SECONDS)


_kept = _Kept()


def find(host: str, port: int, family: int = 0) -> tuple[Candidate, ...]:
    """Return what the C library finds for the host in the file of hosts, if that is known and of the family."""
    content = _kept.content
    if host not in content.answered or content.stamps != _stamps():
        return ()
    found, address = content.answered[host], content.addresses[host]
    if address is None or family not in (0, found):
        return ()
    sockaddr = (address, port) if found == AF_INET else (address, port, 0, 0)
    return ((found, SOCK_STREAM, IPPROTO_TCP, "", sockaddr),)


def learn(host: str, found: Sequence[Candidate]) -> None:
    """Remember what the C library has found, if it is the host's one address in the file of hosts."""
    content = _kept.content
    if host not in content.addresses and monotonic() < content.read_at + _AGAIN_SECONDS:
        return
    if content.stamps != _stamps():
        _kept.content = content = _read()
    if len(found) == 1 and found[0][4][0] == content.addresses.get(host):
        content.answered[host] = int(found[0][0])


def _stamps() -> Stamps:
    """Return the times and numbers that change whenever one of the files does; none if one cannot be read."""
    try:
        hosts, sources = os.stat(_HOSTS), os.stat(_SOURCES)  # noqa: PTH116 - pathlib takes long to load
    except OSError:
        return ()
    return hosts.st_ctime_ns, sources.st_ctime_ns, hosts.st_ino, sources.st_ino


def _read() -> _Content:
    """Read the files. They count as empty if they are large, have changed just now, or are not all that is asked."""
    stamps, now = _stamps(), monotonic()
    addresses: dict[str, str | None] = {}
    if max(stamps[:2], default=0) / 1e9 > time() - _SETTLED_SECONDS:
        return _Content(addresses, (), now)
    if stamps and _is_moderate(_HOSTS) and _is_moderate(_SOURCES) and _files_alone_answer():
        for line in _lines(_HOSTS):
            address, *names = line.split() or [""]
            addresses |= {name: None if name in addresses else _normal(address) for name in names}
    return _Content(addresses, stamps, now) if stamps == _stamps() else _Content({}, (), now)


def _is_moderate(path: str) -> bool:
    """Return True if it is a regular file that is quickly read."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= _MOST_BYTES


def _normal(address: str) -> str | None:
    """Return the address as the C library writes it; None if it is none."""
    for family in (AF_INET, AF_INET6):
        try:
            return inet_ntop(family, inet_pton(family, address))
        except OSError:
            continue
    return None


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
    """Return the lines of a file, without comments; none if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes long to load
            return [line.partition("#")[0] for line in file]
    except OSError:
        return []

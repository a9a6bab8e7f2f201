"""The types of the arguments. Each function raises argparse.ArgumentTypeError, which says what was expected."""

from __future__ import annotations

import argparse
import re

from .._sockets.endpoint import written
from .._sockets.resolve import check_host
from .._text import number, seconds_in, shown
from ..ports import MAX_PORT

SHORTEST, LONGEST = 0.001, 3600  # seconds
_MOST = 10**18 - 1  # connects: nobody has the time for more
_TARGET = re.compile(r"(?:\[(?P<bracketed>[^][]*)\]|(?P<plain>[^][:]*)):(?P<port>[^:]*)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\x00-\x7f]?))")
_ESCAPED = {b"\\": b"\\", b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class Target(tuple[str, int]):
    """``(host, port)``, which prints as ``host:port``."""

    __slots__ = ()

    def __str__(self) -> str:
        return written(tuple(self))


def target(text: str) -> Target:
    """Return the address in ``HOST:PORT``, ``[IPV6]:PORT``, or ``:PORT``, which is localhost's.

    >>> target("[::1]:80"), target(":80")
    (('::1', 80), ('localhost', 80))
    """
    if "://" in text:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, not the URL {shown(text)}")
    if text.count(":") > 1 and "[" not in text:
        raise argparse.ArgumentTypeError(f"an IPv6 address takes brackets, [ADDRESS]:PORT, in {shown(text)}")
    found = _TARGET.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT or [IPV6]:PORT, not {shown(text)}")
    if not _is_number(found["port"], MAX_PORT):
        raise argparse.ArgumentTypeError(f"the port must be a number from 1 to {MAX_PORT} in {shown(text)}")
    if found["bracketed"] is not None and ":" not in found["bracketed"]:
        raise argparse.ArgumentTypeError(f"there is no IPv6 address between the brackets in {shown(text)}")
    return Target((host_name(found["bracketed"] or found["plain"] or "localhost"), int(found["port"])))


def port(text: str) -> int:
    """Return a port."""
    return _positive(text, MAX_PORT, f"a port from 1 to {MAX_PORT}")


def count(text: str) -> int:
    """Return a number of 1 or more."""
    return _positive(text, _MOST, "a number of 1 or more")


def _positive(text: str, most: int, expected: str) -> int:
    if not _is_number(text, most):
        raise argparse.ArgumentTypeError(f"expected {expected}, not {shown(text)}")
    return number(text)


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and 0 < number(text) <= most


def host_name(text: str) -> str:
    """Return an address, or what may be a name."""
    try:
        check_host(text)
        if not _is_plain_name(text):
            text.encode("idna")  # whose tables take long to load
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a host: {error}") from None
    return text


def _is_plain_name(text: str) -> bool:
    """Return True for ASCII in which no label is empty or too long: idna leaves it as it is."""
    return text.isascii() and all(0 < len(label) < 64 for label in text.removesuffix(".").split("."))


def expected_bytes(text: str) -> bytes:
    r"""Return the text in UTF-8, with the escapes ``\r``, ``\n``, ``\t``, ``\0``, ``\\`` and ``\xHH`` of C.

    >>> expected_bytes(r"220 ok\r\n")
    b'220 ok\r\n'
    """
    if not text:
        raise argparse.ArgumentTypeError("expected one byte or more, not an empty text")
    return _ESCAPE.sub(_unescaped, text.encode(errors="surrogateescape"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    if found[2] not in _ESCAPED:
        raise argparse.ArgumentTypeError(rf"unknown escape \{found[2].decode()}: there are \r \n \t \0 \\ \xHH")
    return _ESCAPED[found[2]]


def seconds(text: str) -> float:
    """Return a time of 0 seconds or more: a number of seconds, or numbers with the units ms, s, m and h.

    >>> seconds("0.5"), seconds("500ms"), seconds("1m30s")
    (0.5, 0.5, 90.0)
    """
    try:
        return seconds_in(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive_seconds(text: str) -> float:
    """Return a time from a millisecond to an hour."""
    value = seconds(text)
    if not SHORTEST <= value <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected {SHORTEST} to {LONGEST} seconds, not {shown(text)}")
    return value


def deadline(text: str) -> float | None:
    """Return a time of 0 seconds or more; None for ``none``: without a limit."""
    return None if text == "none" else seconds(text)


def variable(text: str) -> str:
    """Return the name of an environment variable."""
    if not _VARIABLE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"no environment variable can have the name {text!r}")
    return text

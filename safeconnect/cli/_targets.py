"""What a person writes for a target and for bytes."""

from __future__ import annotations

import argparse
import re

from .._sockets.endpoint import written
from .._sockets.resolve import check_host
from .._text import number, shown
from ..ports import MAX_PORT

SHORTEST, LONGEST = 0.001, 3600  # seconds
_MOST = 10**18  # for a count: nobody has the time
_TARGET = re.compile(r"(?:\[(?P<bracketed>[^][]*)\]|(?P<plain>[^][:]*)):(?P<port>[^:]*)")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\x00-\x7f]?))")
_ESCAPED = {b"\\": b"\\", b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class Target(tuple[str, int]):
    """``(host, port)``, which prints as a person writes it."""

    __slots__ = ()

    def __str__(self) -> str:
        return written(tuple(self))


def target(text: str) -> Target:
    """The address in ``HOST:PORT``, ``[IPV6]:PORT``, or ``:PORT``, which is localhost's.

    :raises argparse.ArgumentTypeError: it is something else; the message says what was expected.

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
    port = found["port"]
    if not (port.isascii() and port.isdecimal() and 0 < number(port) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"the port must be a number from 1 to {MAX_PORT} in {shown(text)}")
    if found["bracketed"] is not None and ":" not in found["bracketed"]:
        raise argparse.ArgumentTypeError(f"there is no IPv6 address between the brackets in {shown(text)}")
    return Target((host_name(found["bracketed"] or found["plain"] or "localhost"), int(port)))


def port(text: str) -> int:
    """A port.

    :raises argparse.ArgumentTypeError: it is something else.
    """
    if not (text.isascii() and text.isdecimal() and 0 < number(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {MAX_PORT}, not {shown(text)}")
    return number(text)


def host_name(text: str) -> str:
    """An address, or what may be a name.

    :raises argparse.ArgumentTypeError: no host can have that name.
    """
    try:
        check_host(text)
        text.encode("idna")
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a host: {error}") from None
    return text


def expected_bytes(text: str) -> bytes:
    r"""The bytes that a text stands for, in UTF-8; ``\r``, ``\n``, ``\t``, ``\0``, ``\\`` and ``\xHH`` as in C.

    :raises argparse.ArgumentTypeError: it is empty, or has an unknown escape in it.

    >>> expected_bytes(r"220 ok\r\n")
    b'220 ok\r\n'
    """
    if not text:
        raise argparse.ArgumentTypeError("nothing is no answer")
    return _ESCAPE.sub(_unescaped, text.encode(errors="surrogateescape"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    if found[2] not in _ESCAPED:
        raise argparse.ArgumentTypeError(rf"unknown escape \{found[2].decode()}: there are \r \n \t \0 \\ \xHH")
    return _ESCAPED[found[2]]


def seconds(text: str) -> float:
    """A time of 0 seconds or more.

    :raises argparse.ArgumentTypeError: it is something else.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0 or more, not {shown(text)}")
    return value


def positive_seconds(text: str) -> float:
    """A time from a millisecond to an hour.

    :raises argparse.ArgumentTypeError: it is something else.
    """
    value = seconds(text)
    if not SHORTEST <= value <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected {SHORTEST} to {LONGEST} seconds, not {shown(text)}")
    return value


def deadline(text: str) -> float | None:
    """A time of 0 seconds or more, or ``none`` for no limit.

    :raises argparse.ArgumentTypeError: it is something else.
    """
    return None if text == "none" else seconds(text)


def count(text: str) -> int:
    """A number of 1 or more.

    :raises argparse.ArgumentTypeError: it is something else.
    """
    if not (text.isascii() and text.isdecimal() and 0 < number(text) < _MOST):
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, not {shown(text)}")
    return number(text)


def variable(text: str) -> str:
    """The name of an environment variable.

    :raises argparse.ArgumentTypeError: nothing can have that name.
    """
    if not text or "=" in text or "\0" in text:
        raise argparse.ArgumentTypeError(f"no environment variable can have the name {text!r}")
    return text

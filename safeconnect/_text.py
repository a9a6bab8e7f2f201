"""Text in messages: foreign text made harmless, long text cut off, times. Loaded only when there is a message."""

from __future__ import annotations

import re

_MOST_SHOWN = 80
_MOST_DIGITS = 18
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_TIME = re.compile(rf"(?:{_TIME_PART.pattern})+", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def harmless(text: str) -> str:
    r"""Return the text with an escape for every character that is not printable.

    Names of processes and hosts, and the answers of servers and resolvers, may hold anything. What `str.isprintable`
    refuses is escaped: control characters, which move cursors and end lines; format characters, which change the
    direction of writing; separators of lines and paragraphs, and all spaces but the plain one; surrogates, private and
    unassigned characters. A byte that is not text (PEP 383) becomes ``\xHH``.

    >>> harmless("a\x1b[2J\n\u202eb")
    'a\\x1b[2J\\x0a\\u202eb'
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def shown(value: object) -> str:
    """Return the `repr` of a wrong value for the message that refuses it, cut off if it is long.

    Python makes no text of a number with thousands of digits (`sys.set_int_max_str_digits`).
    """
    try:
        text = repr(value)
    except ValueError:
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}... ({len(text)} characters)"


def duration(seconds: float) -> str:
    """Return a time for people: three digits and a space before the unit, from an hour on to the minute.

    Every message writes its times by this function, with one style for measured times and for those that are set.

    >>> [duration(seconds) for seconds in (0.000142, 0.25, 30, 90, 7875)]
    ['0.142 ms', '250 ms', '30 s', '1 min 30 s', '2 h 11 min']
    """
    if seconds < 0.9995:
        return f"{round(seconds * 1000, 3):.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    if seconds < 3599.5:
        return _of_two(round(seconds), "min", "s")
    return _of_two(round(seconds / 60), "h", "min")


def _of_two(amount: int, unit: str, smaller: str) -> str:
    whole, rest = divmod(amount, 60)
    return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"


def number(digits: str) -> int:
    """Return the number that decimal digits stand for; for more than 18 digits, one of 19.

    int() takes some thousand digits at most, and the message of its error names no argument.
    """
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def seconds_in(text: str) -> float:
    """Return a time of 0 seconds or more: a number of seconds, or numbers with the units ms, s, m and h.

    :raises ValueError: it is something else; the message says what was expected.

    >>> seconds_in("0.5"), seconds_in("500ms"), seconds_in("1m30s")
    (0.5, 0.5, 90.0)
    """
    try:
        value = float(text)
    except ValueError:
        parts = _TIME.fullmatch(text) and _TIME_PART.findall(text)
        value = sum(float(amount) * _UNITS[unit] for amount, unit in parts) if parts else -1
    if not 0 <= value < float("inf"):
        raise ValueError(f"expected seconds, 0 or more, or a time such as 500ms or 1m, not {shown(text)}")
    return value

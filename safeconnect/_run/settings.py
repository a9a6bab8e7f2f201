"""The settings in the environment variable SAFECONNECT, and of ``safeconnect run``: text, and what `install` takes.

The text is a list of names and values, separated by commas or spaces: ``timeout=5s,retry=3,trace=stderr``. A value
with a comma or a space stands in double quotes.
"""

from __future__ import annotations

import os
import re

from .._connect.blocking import Connector
from .._install.clients import NAMES
from .._text import number, seconds_in, shown
from .activation import ON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .._connect.memory import ConnectMemory
    from ..options import KeepAlive, UserTimeout
    from ..retry import Retry
    from .traces import Traces

# The modules of the values are imported for those who set them: every program below waits for it.

_SETTING = re.compile(r"""([^\s,="]+)(?:=("[^"]*"|[^\s,"]*))?(?=[\s,]|$)""")
_BETWEEN = re.compile(r"[\s,]*")
_MOST_ROUNDS = 10**6
# More milliseconds than a C int holds are refused only when a client connects, and by some systems.
_LEAST_SECONDS, _MOST_SECONDS = 0.001, 2_147_483


def _timeout(text: str) -> float | None:
    return None if text == "none" else _positive(text)


def _positive(text: str) -> float:
    value = seconds_in(text)
    if not _LEAST_SECONDS <= value <= _MOST_SECONDS:
        raise ValueError(f"expected {_LEAST_SECONDS} to {_MOST_SECONDS} seconds, not {shown(text)}")
    return value


def _retry(text: str) -> Retry:
    from ..retry import Retry

    if text == "deadline":
        return Retry(attempts=None)
    if not (text.isascii() and text.isdecimal() and 1 <= number(text) <= _MOST_ROUNDS):
        raise ValueError(f"expected a number of rounds, 1 or more, or 'deadline', not {shown(text)}")
    return Retry(attempts=number(text))


def _keep_alive(text: str) -> KeepAlive:
    value = seconds_in(text)
    if not 2 <= value <= 32767:
        raise ValueError(f"expected 2 to 32767 seconds, not {shown(text)}")
    from ..options import KeepAlive

    return KeepAlive.detecting(value)


def _user_timeout(text: str) -> UserTimeout:
    from ..options import UserTimeout

    return UserTimeout(_positive(text))


def _memory(text: str) -> ConnectMemory:
    if text != "on":
        raise ValueError(f"expected nothing or 'on', not {shown(text)}")
    from .._connect.memory import ConnectMemory

    return ConnectMemory()


def _clients(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, re.split(r"[\s,]+", text)))
    for name in names:
        if name not in NAMES:
            raise ValueError(f"expected names among {', '.join(NAMES)}, not {shown(name)}")
    return names


def _trace(text: str) -> Traces:
    if not text:
        raise ValueError("expected stderr or the name of a file")
    if '"' in text or not text.isprintable():
        raise ValueError(f"the name of the file cannot have quotes or control characters: {shown(text)}")
    from .traces import Traces

    if text == "stderr":
        return Traces(None)
    try:
        return Traces(os.path.abspath(text))  # noqa: PTH100 - pathlib takes long to load
    except OSError:
        raise ValueError("the folder in which the file is to be is gone") from None


# Of each setting: what reads its value, and the value where there is none.
_KINDS: dict[str, tuple[Callable[[str], Any], str | None]] = {
    "timeout": (_timeout, None),
    "retry": (_retry, None),
    "attempt-timeout": (_positive, None),
    "keepalive": (_keep_alive, None),
    "user-timeout": (_user_timeout, None),
    "memory": (_memory, "on"),
    "clients": (_clients, None),
    "trace": (_trace, "stderr"),
}


def value_of(name: str, text: str) -> Any:
    """Return the value of one setting.

    :raises ValueError: it is wrong; the message says what was expected.
    """
    return _KINDS[name][0](text)


def read(text: str) -> dict[str, str]:
    """Return the settings in the text, each with its value as text; empty for the defaults.

    :raises ValueError: there is no such setting, it has no value, or stands there twice. The values are not looked at.

    >>> read('timeout=5s trace="my trace.jsonl",memory')
    {'timeout': '5s', 'trace': 'my trace.jsonl', 'memory': 'on'}
    """
    found: dict[str, str] = {}
    text = text.strip()
    if text in ON:
        return found
    at = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
    while at < len(text):
        setting = _SETTING.match(text, at)
        if setting is None:
            raise ValueError(f"expected NAME=VALUE at {shown(text[at:])}")
        name, value = setting.groups()
        if name not in _KINDS:
            raise ValueError(f"there is no setting {shown(name)}, only {', '.join(_KINDS)}; 1 alone sets none")
        value = _KINDS[name][1] if value is None else value.strip('"')
        if value is None:
            raise ValueError(f"{name}: expected a value, as in {name}=...")
        if name in found:
            raise ValueError(f"{name}: it is given twice")
        found[name] = value
        at = _BETWEEN.match(text, setting.end()).end()  # type: ignore[union-attr]
    return found


def written(settings: Mapping[str, str]) -> str:
    """Return the text for these settings, which `read` reads.

    >>> written({"timeout": "5s", "trace": "my trace.jsonl"}), written({})
    ('timeout=5s,trace="my trace.jsonl"', '1')
    """
    quoted = {name: f'"{value}"' if re.search(r"[\s,]", value) else value for name, value in settings.items()}
    return ",".join(f"{name}={value}" for name, value in quoted.items()) or ON[0]


def chosen(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `install` for the settings.

    :raises ValueError: a value is wrong; the message names the setting.

    >>> chosen({"retry": "3", "clients": "redis"})["clients"]
    ('redis',)
    """
    values: dict[str, Any] = {}
    for name, text in settings.items():
        try:
            values[name.replace("-", "_")] = value_of(name, text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    arguments = {"clients": values.pop("clients")} if "clients" in values else {}
    options = [values.pop(name) for name in ("keepalive", "user_timeout") if name in values]
    if options:
        values["options"] = options
    if values:
        arguments["connector"] = Connector(**values)
    return arguments

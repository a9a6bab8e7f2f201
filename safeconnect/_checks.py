"""Checks of arguments: what the values that are socket options have in common. Each error names the argument."""

from __future__ import annotations

import math

from ._text import shown

# linux/include/net/tcp.h: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT and MAX_TCP_SYNCNT.
MAX_SECONDS = 32767
MAX_COUNT = 127
# Timeouts are milliseconds in an int.
MAX_TIMEOUT = (2**31 - 1) // 1000
# IFNAMSIZ and TCP_CA_NAME_MAX are 16, a NUL at the end included; the kernel cuts longer names off without a word.
MAX_NAME = 15


def check_int(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be {lowest}-{highest}, not {shown(value)}")


def check_seconds(name: str, value: object, lowest: float, highest: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not lowest <= value <= highest:  # not-a-number fails, too
        raise ValueError(f"{name} must be {lowest}-{highest} seconds, not {shown(value)}")


def check_name(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not 0 < len(encode(value)) <= MAX_NAME or "\0" in value:
        raise ValueError(f"{name} must be 1-{MAX_NAME} bytes long, without NUL, not {value!r}")


def encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # as os.fsencode() does where these options exist


def check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def milliseconds(seconds: float) -> int:
    return math.ceil(round(seconds * 1000, 6))  # 0.001 s is 1 ms, whatever binary fractions make of it

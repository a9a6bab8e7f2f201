"""Options refuse what they cannot mean, and name the argument."""

import math
import socket

import pytest

from safeconnect.options import (
    BindToDevice,
    CongestionControl,
    FastOpenConnect,
    KeepAlive,
    Linger,
    Mark,
    NoDelay,
    QuickAck,
    SynCount,
    TypeOfService,
    UserTimeout,
)

TCP, IP, SOL = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.SOL_SOCKET


WRONG_TYPES = ["1", None, True, b"1", [1]]


class TestValidation:
    @pytest.mark.parametrize(
        ("make", "name", "lowest", "highest"),
        [
            (lambda n: KeepAlive(n, 1, 1), "idle", 1, 32767),
            (lambda n: KeepAlive(1, n, 1), "interval", 1, 32767),
            (lambda n: KeepAlive(1, 1, n), "count", 1, 127),
            (Linger, "seconds", 0, 32767),
            (SynCount, "n", 1, 127),
            (Mark, "n", 0, 2**32 - 1),
            (TypeOfService, "value", 0, 255),
        ],
    )
    def test_whole_numbers(self, make, name, lowest, highest):
        assert make(lowest) != make(highest)
        for value in (lowest - 1, highest + 1, -(2**70), 2**70):
            with pytest.raises(ValueError, match=f"^{name} must be {lowest}-{highest}, not {value}$"):
                make(value)
        for value in [*WRONG_TYPES, 1.5]:
            if value is None and make is Linger:
                continue
            with pytest.raises(TypeError, match=f"^{name} must be an int, not {type(value).__name__}$"):
                make(value)

    @pytest.mark.parametrize(
        ("make", "name", "lowest", "highest"),
        [
            (UserTimeout, "seconds", 0.001, 2147483),
            (lambda n: KeepAlive(1, 1, 1, user_timeout=n), "user_timeout", 0.001, 2147483),
            (KeepAlive.detecting, "within", 2, 32767),
        ],
    )
    def test_seconds(self, make, name, lowest, highest):
        assert make(lowest) != make(highest)
        below, above = math.nextafter(lowest, 0), math.nextafter(highest, math.inf)
        for value in (below, above, 0, -1, math.inf, -math.inf, math.nan, 2**70):
            with pytest.raises(ValueError, match=f"^{name} must be {lowest}-{highest} seconds, not "):
                make(value)
        for value in WRONG_TYPES:
            if value is None and name == "user_timeout":
                continue
            with pytest.raises(TypeError, match=f"^{name} must be a number of seconds, not {type(value).__name__}$"):
                make(value)

    @pytest.mark.parametrize("make", [BindToDevice, CongestionControl])
    def test_names(self, make):
        assert make("x" * 15).settings("AF_INET")[0][2] == b"x" * 15
        assert make("\udcff").settings("AF_INET")[0][2] == b"\xff"
        for value in ("", "x" * 16, "ü" * 8, "a\0b"):
            with pytest.raises(ValueError, match=r"^name must be 1-15 bytes long, without NUL, not "):
                make(value)
        for value in (1, None, b"lo"):
            with pytest.raises(TypeError, match=f"^name must be a str, not {type(value).__name__}$"):
                make(value)

    @pytest.mark.parametrize("make", [NoDelay, QuickAck, FastOpenConnect])
    def test_switches(self, make):
        assert make() == make(on=True) != make(on=False)
        for value in (1, 0, None, "yes"):
            with pytest.raises(TypeError, match=f"^on must be a bool, not {type(value).__name__}$"):
                make(value)

"""Options as values: what arrives in the kernel, what other platforms get, what is refused."""

import dataclasses
import errno
import socket
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import options as option_values
from safeconnect._checks import check_options
from safeconnect._sockets.option_numbers import resolve_options
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

from .. import namespace
from ..support import both_families, linux_only

TCP, IP, SOL = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.SOL_SOCKET
IP_MINTTL = 21
EXAMPLES = [
    KeepAlive(30, 10, 3),
    KeepAlive.detecting(within=60),
    UserTimeout(7.5),
    NoDelay(),
    QuickAck(),
    Linger(5),
    SynCount(2),
    BindToDevice("lo"),
    Mark(42),
    TypeOfService(184),
    CongestionControl("reno"),
    FastOpenConnect(),
]


def dressed(family, *options):
    sock = socket.socket(family)
    try:
        for option in resolve_options(check_options(options), family):
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock


@linux_only
class TestInTheKernel:
    @both_families
    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            (
                KeepAlive(30, 10, 4),
                [
                    (SOL, socket.SO_KEEPALIVE, 1),
                    (TCP, "TCP_KEEPIDLE", 30),
                    (TCP, "TCP_KEEPINTVL", 10),
                    (TCP, "TCP_KEEPCNT", 4),
                    (TCP, "TCP_USER_TIMEOUT", 0),
                ],
            ),
            (KeepAlive(1, 1, 1), [(TCP, "TCP_KEEPIDLE", 1), (TCP, "TCP_KEEPINTVL", 1), (TCP, "TCP_KEEPCNT", 1)]),
            (KeepAlive(32767, 32767, 127), [(TCP, "TCP_KEEPIDLE", 32767), (TCP, "TCP_KEEPCNT", 127)]),
            (
                KeepAlive.detecting(within=60),
                [
                    (SOL, socket.SO_KEEPALIVE, 1),
                    (TCP, "TCP_KEEPIDLE", 29),
                    (TCP, "TCP_KEEPINTVL", 8),
                    (TCP, "TCP_KEEPCNT", 3),
                    (TCP, "TCP_USER_TIMEOUT", 53_000),
                ],
            ),
            (UserTimeout(7.5), [(TCP, "TCP_USER_TIMEOUT", 7500)]),
            (UserTimeout(0.001), [(TCP, "TCP_USER_TIMEOUT", 1)]),
            (UserTimeout(0.0011), [(TCP, "TCP_USER_TIMEOUT", 2)]),
            (UserTimeout(2147483), [(TCP, "TCP_USER_TIMEOUT", 2147483000)]),
            (NoDelay(), [(TCP, "TCP_NODELAY", 1)]),
            (NoDelay(on=False), [(TCP, "TCP_NODELAY", 0)]),
            (QuickAck(), [(TCP, "TCP_QUICKACK", 1)]),
            (QuickAck(on=False), [(TCP, "TCP_QUICKACK", 0)]),
            (SynCount(1), [(TCP, "TCP_SYNCNT", 1)]),
            (SynCount(127), [(TCP, "TCP_SYNCNT", 127)]),
            (FastOpenConnect(), [(TCP, 30, 1)]),
            (FastOpenConnect(on=False), [(TCP, 30, 0)]),
        ],
        ids=repr,
    )
    def test_arrives(self, family, option, expected):
        with dressed(family, option) as sock:
            for level, name, value in expected:
                number = getattr(socket, name) if isinstance(name, str) else name
                assert sock.getsockopt(level, number) == value, name

    @both_families
    @pytest.mark.parametrize(("seconds", "pair"), [(None, (0, 0)), (0, (1, 0)), (5, (1, 5)), (32767, (1, 32767))])
    def test_linger_arrives(self, family, seconds, pair):
        with dressed(family, Linger(20), Linger(seconds)) as sock:
            on, left = struct.unpack("ii", sock.getsockopt(SOL, socket.SO_LINGER, 8))
            assert (on, left if on else 0) == pair

    @both_families
    def test_congestion_control_arrives(self, family):
        with dressed(family, CongestionControl("reno")) as sock:
            assert sock.getsockopt(TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"

    @pytest.mark.parametrize("family", [socket.AF_INET, int(socket.AF_INET)])
    def test_type_of_service_arrives_for_ipv4(self, family):
        with dressed(family, TypeOfService(184)) as sock:
            assert sock.getsockopt(IP, socket.IP_TOS) == 184

    @pytest.mark.parametrize("family", [socket.AF_INET6, int(socket.AF_INET6)])
    def test_type_of_service_arrives_for_ipv6(self, family):
        with dressed(family, TypeOfService(184)) as sock:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 184
            assert sock.getsockopt(IP, socket.IP_TOS) == 0

    def test_the_kernel_refuses_what_it_has_not(self):
        with pytest.raises(FileNotFoundError):
            dressed(socket.AF_INET, CongestionControl("no-such"))
        with pytest.raises(OSError, match=r".") as caught:
            dressed(socket.AF_INET, BindToDevice("no-such0"))
        assert caught.value.errno in (errno.ENODEV, errno.EPERM)

    def test_device_and_mark_arrive(self):
        printed = namespace.run(
            """
            import socket, struct
            from safeconnect._sockets.option_numbers import resolve_options
            from safeconnect.options import BindToDevice, Mark

            for family in (socket.AF_INET, socket.AF_INET6):
                for mark in (0, 42, 2**31 - 1, 2**31, 2**32 - 1):
                    with socket.socket(family) as sock:
                        for option in resolve_options([BindToDevice("lo"), Mark(mark)], family):
                            sock.setsockopt(*option)
                        device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
                        (seen,) = struct.unpack("I", sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK, 4))
                        assert seen == mark, (seen, mark)
                        print(device.rstrip(b"\\0").decode())
            """
        )
        assert printed.split() == ["lo"] * 10

    @pytest.mark.slow
    @pytest.mark.parametrize("within", [3, 4])
    @pytest.mark.parametrize("under_way", [b"", b"x"], ids=["idle", "data under way"])
    def test_a_silent_peer_is_detected_in_time(self, server, within, under_way):
        keepalive = KeepAlive.detecting(within)
        with dressed(socket.AF_INET, keepalive) as sock:
            sock.connect(server.getsockname())
            peer, _ = server.accept()
            with peer:
                # It takes no packet sent with a TTL below 255, which is none: to the other side it has vanished.
                peer.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)
                began = time.monotonic()
                sock.sendall(under_way)
                with pytest.raises(OSError, match=r".") as caught:
                    sock.recv(1)
                took = time.monotonic() - began
        assert caught.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
        shortest = keepalive.user_timeout if under_way else within * 8 // 9
        assert shortest - 0.1 < took < within + 0.2  # a busy machine may wake us late


class TestDetecting:
    @given(st.integers(2, 32767) | st.floats(2, 32767))
    def test_fits(self, within):
        keepalive = KeepAlive.detecting(within)
        total = keepalive.idle + keepalive.interval * keepalive.count
        assert min(keepalive.idle, keepalive.interval, keepalive.count) >= 1
        assert total <= within
        assert keepalive.user_timeout == (total if within >= 14 else min(total, max(int(within) - 1.5, 1)))
        # So that no probe but the last finds it over.
        assert keepalive.count == 1 or total - keepalive.interval < keepalive.user_timeout
        assert keepalive.count == (3 if within >= 5 else 2 if within >= 4 else 1)

    @given(st.integers(3, 32767))
    def test_keeps_back_what_timers_may_be_late_and_wastes_no_more(self, within):
        keepalive = KeepAlive.detecting(within)
        total = keepalive.idle + keepalive.interval * keepalive.count
        assert total * 9 / 8 <= within < (total + 1) * 9 / 8

    @pytest.mark.parametrize(
        ("within", "expected"),
        [
            (2, (1, 1, 1)),
            (2.9, (1, 1, 1)),
            (3, (1, 1, 1)),
            (4, (1, 1, 2)),
            (5, (1, 1, 3)),
            (9, (5, 1, 3)),
            (18, (10, 2, 3)),
            (60, (29, 8, 3)),
            (3600, (1601, 533, 3)),
        ],
    )
    def test_splits(self, within, expected):
        assert dataclasses.astuple(KeepAlive.detecting(within))[:3] == expected

    def test_the_user_timeout_is_the_only_best_effort(self):
        assert KeepAlive.best_effort == {"TCP_USER_TIMEOUT"}
        assert [option for option in EXAMPLES if getattr(option, "best_effort", ())] == EXAMPLES[:2]


class TestOtherPlatforms:
    @pytest.fixture
    def pretend(self, on_platform, monkeypatch):
        def pretend(name, lacks=(), has=()):
            on_platform(name)
            for lacking in lacks:
                monkeypatch.delattr(socket, lacking, raising=False)
            for having, number in dict(has).items():
                monkeypatch.setattr(socket, having, number, raising=False)

        return pretend

    LINUX_ONLY = ("TCP_USER_TIMEOUT", "TCP_QUICKACK", "TCP_SYNCNT", "TCP_CONGESTION", "TCP_FASTOPEN_CONNECT")
    LINUX_ONLY += ("SO_BINDTODEVICE", "SO_MARK")

    @pytest.mark.parametrize("platform", ["darwin", "win32"])
    @pytest.mark.parametrize(
        ("option", "name"),
        [
            (UserTimeout(1), "TCP_USER_TIMEOUT"),
            (QuickAck(), "TCP_QUICKACK"),
            (SynCount(1), "TCP_SYNCNT"),
            (CongestionControl("reno"), "TCP_CONGESTION"),
            (FastOpenConnect(), "TCP_FASTOPEN_CONNECT"),
            (BindToDevice("lo"), "SO_BINDTODEVICE"),
            (Mark(1), "SO_MARK"),
        ],
        ids=repr,
    )
    def test_what_is_lacking_is_said(self, pretend, platform, option, name):
        pretend(platform, lacks=self.LINUX_ONLY)
        with pytest.raises(OSError, match=r".") as caught:
            resolve_options([option], socket.AF_INET)
        assert caught.value.errno == errno.ENOPROTOOPT
        assert caught.value.strerror == f"{name} ({type(option).__name__}) does not exist on {platform}"

    def test_a_user_timeout_of_its_own_is_required(self, pretend):
        pretend("win32", lacks=self.LINUX_ONLY)
        with pytest.raises(OSError, match=r"TCP_USER_TIMEOUT \(UserTimeout\)"):
            resolve_options([KeepAlive.detecting(60), UserTimeout(60)], socket.AF_INET)

    def test_keepalive_on_windows(self, pretend):
        pretend("win32", self.LINUX_ONLY, {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 17, "TCP_KEEPCNT": 16})
        resolved = resolve_options([KeepAlive.detecting(60)], socket.AF_INET)
        assert resolved == ((SOL, socket.SO_KEEPALIVE, 1), (TCP, 3, 29), (TCP, 17, 8), (TCP, 16, 3))

    def test_keepalive_on_old_windows_is_lacking(self, pretend):
        pretend("win32", (*self.LINUX_ONLY, "TCP_KEEPIDLE"))
        with pytest.raises(OSError, match=r"TCP_KEEPIDLE \(KeepAlive\) does not exist on win32"):
            resolve_options([KeepAlive(1, 1, 1)], socket.AF_INET)

    def test_keepalive_on_macos_has_another_name(self, pretend):
        pretend("darwin", (*self.LINUX_ONLY, "TCP_KEEPIDLE"), {"TCP_KEEPALIVE": 0x10})
        resolved = resolve_options([KeepAlive.detecting(60)], socket.AF_INET)
        assert resolved[1] == (TCP, 0x10, 29)
        assert len(resolved) == 4

    def test_linger_on_windows_has_shorts(self, pretend):
        pretend("win32")
        assert resolve_options([Linger(5)], socket.AF_INET) == ((SOL, socket.SO_LINGER, struct.pack("hh", 1, 5)),)

    def test_linger_on_macos_counts_seconds(self, pretend):
        pretend("darwin")
        assert resolve_options([Linger(5)], socket.AF_INET) == ((SOL, 0x1080, struct.pack("ii", 1, 5)),)

    def test_fast_open_is_known_where_python_knows_no_name(self, pretend):
        pretend("linux", lacks=["TCP_FASTOPEN_CONNECT"])
        assert resolve_options([FastOpenConnect()], socket.AF_INET) == ((TCP, 30, 1),)

    def test_no_level_no_option(self, pretend):
        pretend("linux", lacks=["IPPROTO_IPV6"])
        with pytest.raises(OSError, match="IPV6_TCLASS"):
            resolve_options([TypeOfService(0)], socket.AF_INET6)


class TestOptions:
    def test_keep_their_order_and_tuples_pass_unchanged(self):
        plain = [(SOL, socket.SO_KEEPALIVE, 0), (SOL, 25, None, 0)]
        options = check_options(iter([plain[0], NoDelay(), plain[1]]))
        assert options == (plain[0], NoDelay(), plain[1])
        resolved = resolve_options(options, socket.AF_INET)
        assert resolved == (plain[0], (TCP, socket.TCP_NODELAY, 1), plain[1])
        assert resolved[0] is plain[0]
        assert resolve_options((), socket.AF_INET) == ()

    def test_of_ones_own(self):
        class Small:
            def settings(self, family):
                return (("SOL_SOCKET", "SO_RCVBUF", 4096),) if family == "AF_INET" else ()

        options = check_options([Small()])
        assert resolve_options(options, socket.AF_INET) == ((SOL, socket.SO_RCVBUF, 4096),)
        assert resolve_options(options, socket.AF_INET6) == ()

    @pytest.mark.parametrize(
        "option",
        [(1, 2), (1, 2, 3, 4, 5), "TCP_NODELAY", [6, 1, 1], ("a", 1, 1), (1, "a", 1), None, 5, NoDelay, KeepAlive],
    )
    def test_of_a_wrong_shape(self, option):
        with pytest.raises(TypeError, match=r"options must be \(level, name, value\) tuples, as for") as caught:
            check_options([NoDelay(), option])
        assert str(caught.value).endswith(f"not {option!r}")

    @pytest.mark.parametrize("option", EXAMPLES, ids=repr)
    def test_are_values(self, option):
        assert check_options([option]) == (option,)
        assert option == dataclasses.replace(option)
        assert hash(option) == hash(dataclasses.replace(option))
        assert eval(repr(option), vars(option_values)) == option
        assert not hasattr(option, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(option, dataclasses.fields(option)[0].name, 1)

    def test_every_class_is_here(self):
        assert {type(option).__name__ for option in EXAMPLES} == set(option_values.__all__)

    def test_names_are_those_of_the_socket_module(self):
        for option in EXAMPLES:
            for family in ("AF_INET", "AF_INET6"):
                for level, name, value in option.settings(family):
                    assert level in ("SOL_SOCKET", "IPPROTO_TCP", "IPPROTO_IP", "IPPROTO_IPV6")
                    assert name.startswith(("SO_", "TCP_", "IP_", "IPV6_"))
                    assert type(value) in (int, bytes)

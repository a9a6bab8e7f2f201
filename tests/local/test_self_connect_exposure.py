"""self_connect_exposure: the prediction, and that reality agrees with it."""

import socket

import pytest

from safeconnect import Exposure, PortRange, PortSet, ephemeral_ports, self_connect_exposure
from safeconnect._sockets import kernel

from .. import namespace
from ..support import linux_only, needs_ipv6


@pytest.mark.parametrize(
    ("host", "offset", "reason"),
    [
        ("127.0.0.1", 0, "exposed"),
        ("localhost", 2, "exposed"),
        ("0.0.0.0", 2, "exposed"),
        pytest.param("::1", 2, "exposed", marks=needs_ipv6),
        pytest.param("::", 2, "exposed", marks=needs_ipv6),
        pytest.param("::ffff:127.0.0.1", 2, "exposed", marks=needs_ipv6),
        ("127.0.0.1", 1, "other-parity"),
        ("127.0.0.1", -1, "outside-range"),
        ("127.5.6.7", 2, "foreign-host"),
    ],
)
@linux_only
def test_on_this_machine(host, offset, reason):
    port = ephemeral_ports().first + offset
    exposure = self_connect_exposure(host, port)
    assert exposure.reason == reason
    assert bool(exposure) is (reason in ("exposed", "other-parity"))
    assert (exposure.host, exposure.port, exposure.ephemeral) == (host, port, ephemeral_ports())
    assert exposure.prevented is kernel.has_port_range()
    shown = f"[{host}]" if ":" in host else host
    assert str(exposure).startswith(f"{shown}:{port} is {'' if exposure else 'not '}exposed")


def test_reserved_ports_are_safe():
    code = """
        from pathlib import Path
        from safeconnect import self_connect_exposure
        print(self_connect_exposure("127.0.0.1", 40000).reason)
        Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("40000")
        print(self_connect_exposure("127.0.0.1", 40000))
    """
    before, after = namespace.run(code, ports="40000 40010").splitlines()
    assert before == "exposed"
    assert after == (
        "127.0.0.1:40000 is not exposed: the port is reserved, so the kernel never chooses it as a source port"
    )


def test_a_plain_connect_meets_itself_exactly_where_it_was_foretold():
    code = """
        import socket
        from safeconnect import is_self_connected, self_connect_exposure
        for host in ("127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "127.5.6.7", "192.0.2.1"):
            try:
                with socket.create_connection((host, 40000), 5) as sock:
                    met = is_self_connected(sock)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            except OSError:
                met = False
            print(host, met, bool(self_connect_exposure(host, 40000)))
        print(self_connect_exposure("198.51.100.77", 40000).reason)
    """
    *lines, no_way = namespace.run(code, ports="40000 40000", address="192.0.2.1").splitlines()
    assert no_way == "no-way"
    printed = [line.split() for line in lines]
    assert len(printed) == 7
    assert [(host, met) for host, met, _ in printed] == [(host, foretold) for host, _, foretold in printed]
    assert {met for _, met, _ in printed} == {"True", "False"}


def test_other_platforms_have_no_preferred_parity(monkeypatch, on_platform):
    on_platform("darwin")
    monkeypatch.setattr(kernel, "_read_ephemeral", lambda: kernel.PortSet(PortRange(49152, 65535)))
    assert self_connect_exposure("127.0.0.1", 50001).reason == "exposed"
    assert self_connect_exposure("127.0.0.1", 50000).reason == "exposed"


@pytest.mark.parametrize(
    ("prevented", "words"),
    [(True, "leave the port out (IP_LOCAL_PORT_RANGE)"), (False, "detect it, reset and try again")],
)
def test_says_what_safeconnect_does_about_it(prevented, words):
    exposure = Exposure("::1", 40000, "exposed", prevented, PortRange(32768, 60999))
    assert str(exposure).endswith(f"Connects by safeconnect {words}.")


@pytest.mark.parametrize(
    ("host", "port", "kind", "words"),
    [
        *(("127.0.0.1", port, ValueError, "port must be 1-65535") for port in (0, 65536, -5)),
        *((host, 40000, TypeError, "host must be a str") for host in (None, b"localhost")),
        *(("127.0.0.1", port, TypeError, "port must be an int") for port in ("80", None, True)),
    ],
)
def test_wrong_arguments(host, port, kind, words):
    with pytest.raises(kind, match=words):
        self_connect_exposure(host, port)


def test_a_name_that_is_none_says_so():
    with pytest.raises(socket.gaierror):
        self_connect_exposure("no-such-host.invalid", ephemeral_ports().first)


class TestAdvice:
    def of(self, reason, port=40000, reserved=()):
        ephemeral = PortRange(32768, 60999)
        return Exposure(
            "127.0.0.1", port, reason, prevented=True, ephemeral=ephemeral, reserved=PortSet(reserved)
        ).advice

    @pytest.mark.parametrize("reason", ["foreign-host", "no-way", "outside-range", "reserved"])
    def test_there_is_none_where_nothing_is_wrong(self, reason):
        assert self.of(reason) == ()

    def test_on_linux(self, on_platform):
        on_platform("linux")
        move, reserve, parity, hold = self.of("exposed", 40000, [8080, 40001])
        assert "below 32768" in move
        assert "net.ipv4.ip_local_reserved_ports=8080,40000-40001 " in reserve
        assert "40001 say" in parity
        assert "safeconnect.reserve_port('127.0.0.1', 40000)" in hold
        assert len(self.of("other-parity", 40001)) == 3, "it has the other parity already"
        assert "60998 say" in self.of("exposed", 60999)[2]

    def test_elsewhere(self, on_platform):
        on_platform("win32")
        assert "startport=50000 numberofports=1" in self.of("exposed", 50000)[1]
        on_platform("darwin")
        assert len(self.of("exposed", 50000)) == 2

    @linux_only
    def test_the_line_to_write_works(self):
        code = """
            from pathlib import Path
            from safeconnect import self_connect_exposure
            Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("40002")
            exposure = self_connect_exposure("127.0.0.1", 40000)
            line = exposure.advice[1].split("ip_local_reserved_ports=")[1].split()[0]
            Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text(line)
            print(line, self_connect_exposure("127.0.0.1", 40000).reason, self_connect_exposure("::1", 40002).reason)
        """
        assert namespace.run(code, ports="40000 40999").split() == ["40000,40002", "reserved", "reserved"]

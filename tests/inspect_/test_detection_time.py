"""detection_time: the arithmetic, and what it reads of real sockets. test_dead_peers.py measures the kernel."""

import asyncio.trsock
import errno
import math
import socket
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import KeepAlive, UserTimeout, create_connection
from safeconnect._inspect import connection
from safeconnect._inspect.connection import detection_time
from safeconnect._inspect.tcp_info import DetectionTime, connect_time, predict

from .. import namespace
from ..support import both_families, linux_only, listening

SECONDS = st.integers(1, 32767)
COUNT = st.integers(1, 127)
MILLISECONDS = st.integers(1, 2**31 - 1)


def settings(sock):
    """What a default socket has: TCP_RTO_MAX_MS where the kernel knows it, and tcp_retries2."""
    retries = int(Path("/proc/sys/net/ipv4/tcp_retries2").read_text())
    try:
        return retries, sock.getsockopt(socket.IPPROTO_TCP, 44)
    except OSError:
        return retries, 120_000


class TestArithmetic:
    @pytest.mark.parametrize(
        ("probes", "user_timeout", "idle"),
        [
            (None, 0, math.inf),
            (None, 5_000, math.inf),
            (None, None, math.inf),
            ((7200, 75, 9), 0, 7875),
            ((7200, 75, 9), None, 7875),
            ((1, 1, 3), 0, 4),
            ((1, 1, 3), 1, 2),  # never before the second probe
            ((1, 1, 3), 2_000, 2),
            ((1, 1, 3), 2_001, 3),
            ((1, 1, 3), 6_000, 6),  # in place of the count
            ((10, 4, 1), 10_000, 14),
            ((10, 4, 1), 19_000, 22),
        ],
    )
    def test_idle(self, probes, user_timeout, idle):
        assert predict(probes, user_timeout).idle == idle

    @pytest.mark.parametrize(
        ("retries", "rto_max", "seconds"),
        [
            (15, 120_000, 924.6),  # as Documentation/networking/ip-sysctl.rst has it
            (0, 120_000, 0.2),
            (3, 120_000, 3.0),
            (8, 120_000, 102.2),
            (9, 120_000, 204.6),
            (10, 120_000, 324.6),
            (3, 1_000, 2.4),
            (15, 1_000, 14.4),
            (5, 5_000, 11.2),
        ],
    )
    def test_in_flight(self, retries, rto_max, seconds):
        assert predict(None, 0, retries, rto_max) == DetectionTime(math.inf, seconds)
        assert predict(None, 7_500, retries, rto_max).in_flight == 7.5
        assert predict((1, 1, 1), None, retries, rto_max) == DetectionTime(2, None)

    @pytest.mark.parametrize(
        ("retries", "linear", "rto_max", "seconds"),
        [
            (6, 0, 120_000, 127),  # before Linux 6.5
            (6, 4, 120_000, 131),  # as Documentation/networking/ip-sysctl.rst has it
            (7, 4, 120_000, 251),
            (5, 4, 120_000, 67),
            (2, 0, 120_000, 7),
            (2, 1, 120_000, 8),
            (1, 4, 120_000, 3),
            (0, 4, 120_000, 1),
            (3, 0, 1_000, 4),
        ],
    )
    def test_connect(self, retries, linear, rto_max, seconds):
        assert connect_time(retries, linear, rto_max) == seconds

    @given(idle=SECONDS, interval=SECONDS, count=COUNT, user_timeout=MILLISECONDS)
    def test_idle_like_the_kernels_loop(self, idle, interval, count, user_timeout):
        """tcp_keepalive_timer, step by step; the user timeout within 1,000 probes."""
        user_timeout %= (idle + 1_000 * interval) * 1_000
        for timeout in (0, user_timeout):
            now, probes_out = idle, 0
            while not (probes_out > 0 and now * 1_000 >= timeout if timeout else probes_out >= count):
                probes_out += 1
                now += interval
            assert predict((idle, interval, count), timeout).idle == now

    @given(retries=st.integers(0, 255), rto_max=st.integers(1_000, 120_000))
    def test_in_flight_like_a_sum_of_pauses(self, retries, rto_max):
        """The kernel's thresholds double while they are below the maximum; the last doubling may stop short of it."""
        pauses = [200]
        while len(pauses) <= retries:
            pauses.append(pauses[-1] * 2 if pauses[-1] * 2 <= rto_max and pauses[-1] < rto_max else rto_max)
        assert predict(None, 0, retries, rto_max).in_flight == sum(pauses) / 1_000

    @given(within=st.integers(3, 32767))
    def test_detecting_keeps_its_word(self, within):
        keep = KeepAlive.detecting(within=within)
        found = predict((keep.idle, keep.interval, keep.count), int(keep.user_timeout * 1_000))
        assert found.idle <= within
        assert found.in_flight < within


@pytest.fixture
def connect():
    """Connections with these options, of this family, to a listener of their own."""
    opened = []

    def connect(*options, family=socket.AF_INET):
        with listening(family) as server:
            opened.append(create_connection(server.getsockname()[:2], timeout=5, options=options))
            return opened[-1]

    yield connect
    for sock in opened:
        sock.close()


@linux_only
class TestSockets:
    @both_families
    def test_default(self, family, connect):
        sock = connect(family=family)
        found = detection_time(sock)
        assert found == predict(None, 0, *settings(sock))
        assert found.idle == math.inf
        assert found.in_flight > 0

    @both_families
    def test_keepalive(self, family, connect):
        sock = connect(KeepAlive(30, 10, 3), family=family)
        assert detection_time(sock) == predict((30, 10, 3), 0, *settings(sock))

    def test_keepalive_and_user_timeout(self, connect):
        assert detection_time(connect(KeepAlive(30, 10, 3, user_timeout=40.5))) == DetectionTime(50, 40.5)

    def test_user_timeout(self, connect):
        assert detection_time(connect(UserTimeout(7.5))) == DetectionTime(math.inf, 7.5)

    @pytest.mark.parametrize("within", [3, 4, 5, 6, 7, 8, 9, 10, 15, 30, 60, 300, 3600, 32767])
    def test_detecting(self, within, connect):
        found = detection_time(connect(KeepAlive.detecting(within=within)))
        assert found.idle <= within
        assert found.in_flight <= within

    def test_only_the_switch(self):
        """The times are then the system's: net.ipv4.tcp_keepalive_*."""
        times = [
            int(Path(f"/proc/sys/net/ipv4/tcp_keepalive_{name}").read_text()) for name in ("time", "intvl", "probes")
        ]
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert detection_time(sock).idle == times[0] + times[1] * times[2]

    def test_a_shorter_maximum(self, connect):
        sock = connect()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, 44, 1_000)
        except OSError:
            pytest.skip("the kernel has no TCP_RTO_MAX_MS (Linux 6.15)")
        assert detection_time(sock) == predict(None, 0, settings(sock)[0], 1_000)

    def test_of_other_libraries(self):
        with trio.socket.from_stdlib_socket(socket.socket()) as ours:
            assert detection_time(ours).idle == math.inf
        with socket.socket() as sock:
            assert detection_time(asyncio.trsock.TransportSocket(sock)).idle == math.inf

    def test_not_tcp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match=r"suppor|availab"):
            detection_time(sock)

    def test_the_systems_retries(self):
        code = """
            import socket
            from pathlib import Path
            from safeconnect._inspect.connection import detection_time
            Path("/proc/sys/net/ipv4/tcp_retries2").write_text("8")
            with socket.socket() as sock:
                print(detection_time(sock))
        """
        assert namespace.run(code) == "DetectionTime(idle=inf, in_flight=102.2)\n"

    @pytest.mark.slow
    def test_a_connect_that_nobody_answers(self):
        """It ends no sooner than foretold, and long before all linear retries would be over."""
        code = """
            import socket, time
            from pathlib import Path
            from safeconnect._inspect.tcp_info import connect_time
            from tests.support import black_hole
            Path("/proc/sys/net/ipv4/tcp_syn_retries").write_text("1")
            linear = Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")
            if linear.exists():
                linear.write_text("4")
            with black_hole() as address, socket.socket() as sock:
                began = time.monotonic()
                try:
                    sock.connect(address)
                except TimeoutError:
                    print(time.monotonic() - began, connect_time(1, 4 if linear.exists() else 0))
        """
        took, said = map(float, namespace.run(code).split())
        assert said == 3
        assert 2.9 <= took < 7

    @pytest.mark.parametrize("text", [None, "", "nonsense"])
    def test_without_proc(self, text, monkeypatch, tmp_path):
        path = tmp_path / "tcp_retries2"
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(connection, "_RETRIES_PATH", str(path))
        with socket.socket() as sock:
            assert detection_time(sock) == predict(None, 0, 15, settings(sock)[1])


class FakeSocket:
    """One whose kernel knows these options, by their names in the socket module."""

    def __init__(self, **options):
        self.options = {getattr(socket, name, name): value for name, value in options.items()}

    def getsockopt(self, level, number):
        value = self.options.get(number, OSError(errno.ENOPROTOOPT, "Protocol not available"))
        if isinstance(value, OSError):
            raise value
        return value


class TestOtherPlatforms:
    @pytest.mark.parametrize("on", [0, 8])
    def test_macos(self, on, on_platform, monkeypatch):
        """Its idle time has another name, it answers with a flag's bit, and it has no user timeout."""
        monkeypatch.setattr(socket, "TCP_KEEPALIVE", 0x10, raising=False)
        monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
        on_platform("darwin")
        sock = FakeSocket(SO_KEEPALIVE=on, TCP_KEEPALIVE=30, TCP_KEEPINTVL=10, TCP_KEEPCNT=3)
        assert detection_time(sock) == DetectionTime(60 if on else math.inf, None)

    def test_windows(self, on_platform, monkeypatch):
        monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
        on_platform("win32")
        sock = FakeSocket(SO_KEEPALIVE=1, TCP_KEEPIDLE=7200, TCP_KEEPINTVL=1, TCP_KEEPCNT=10)
        assert detection_time(sock) == DetectionTime(7210, None)

    @linux_only
    def test_linux_before_rto_max(self):
        known = {"SO_KEEPALIVE": 0, "TCP_KEEPIDLE": 7200, "TCP_KEEPINTVL": 75, "TCP_KEEPCNT": 9, "TCP_USER_TIMEOUT": 0}
        retries = settings(FakeSocket())[0]
        assert detection_time(FakeSocket(**known)) == predict(None, 0, retries, 120_000)

    @linux_only
    def test_other_errors_are_the_kernels(self):
        class Closing(FakeSocket):
            def getsockopt(self, level, number):
                if number == 44:
                    raise OSError(errno.EBADF, "Bad file descriptor")
                return 1

        with pytest.raises(OSError, match="descriptor"):
            detection_time(Closing())

    def test_without_keepalive_times(self, on_platform, monkeypatch):
        monkeypatch.delattr(socket, "TCP_KEEPIDLE", raising=False)
        on_platform("openbsd7")
        with pytest.raises(OSError, match=r"TCP_KEEPIDLE .* does not exist on openbsd7"):
            detection_time(FakeSocket(SO_KEEPALIVE=1))

"""tcp_info and tcp_state: the structs of the kernels, and every state that a program can see."""

import asyncio.trsock
import contextlib
import dataclasses
import errno
import socket
import struct
import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from safeconnect._inspect import tcp_info as parse
from safeconnect._inspect.connection import detection_time, tcp_info, tcp_state
from safeconnect._inspect.tcp_info import TcpInfo

from .. import support
from ..support import both_families, linux_only

FIELDS = [name for name in TcpInfo.__slots__ if name != "state"]

# The states by their numbers, from 0 on (include/net/tcp_states.h; bsd/netinet/tcp_fsm.h).
LINUX_STATES = (
    "UNKNOWN_(0) ESTABLISHED SYN_SENT SYN_RECEIVED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED CLOSE_WAIT LAST_ACK LISTEN "
    "CLOSING SYN_RECEIVED UNKNOWN_(13)"
)
MACOS_STATES = (
    "CLOSED LISTEN SYN_SENT SYN_RECEIVED ESTABLISHED CLOSE_WAIT FIN_WAIT_1 CLOSING LAST_ACK FIN_WAIT_2 TIME_WAIT "
    "UNKNOWN_(11)"
)

# The fields of struct tcp_info up to min_rtt (include/uapi/linux/tcp.h): 8 bytes, 24 ints, 4 longs, 4 ints.
LINUX_FIELDS = (
    "state ca_state retransmits probes backoff options wscale flags rto ato snd_mss rcv_mss unacked sacked lost "
    "retrans fackets last_data_sent last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar "
    "snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans pacing_rate max_pacing_rate bytes_acked "
    "bytes_received segs_out segs_in notsent_bytes min_rtt"
)
# The fields of struct tcp_connection_info (bsd/netinet/tcp.h): 4 bytes, 13 ints, 7 longs.
MACOS_FIELDS = (
    "state snd_wscale rcv_wscale pad options flags rto maxseg snd_ssthresh snd_cwnd snd_wnd snd_sbbytes rcv_wnd rttcur "
    "srtt rttvar tfo txpackets txbytes txretransmitbytes rxpackets rxbytes rxoutoforderbytes txretransmitpackets"
)


def linux_struct(state, **fields):
    return _struct("8B24I4Q4I", LINUX_FIELDS, state=state, **fields)


def macos_struct(state, **fields):
    return _struct("4B13I7Q", MACOS_FIELDS, state=state, **fields)


def _struct(layout, names, **fields):
    assert set(fields) <= set(names.split())
    return struct.pack(layout, *(fields.get(name, 0) for name in names.split()))


def naive_linux(raw):
    whole = raw + bytes(256)
    seen = {
        "retransmits": (whole[2], 3),
        "rto": (struct.unpack_from("I", whole, 8)[0] / 1e6, 12),
        "unacknowledged": (struct.unpack_from("I", whole, 24)[0], 28),
        "last_sent": (struct.unpack_from("I", whole, 44)[0] / 1e3, 48),
        "last_received": (struct.unpack_from("I", whole, 52)[0] / 1e3, 56),
        "rtt": (struct.unpack_from("I", whole, 68)[0] / 1e6, 72),
        "rtt_variation": (struct.unpack_from("I", whole, 72)[0] / 1e6, 76),
        "total_retransmits": (struct.unpack_from("I", whole, 100)[0], 104),
        "bytes_acknowledged": (struct.unpack_from("Q", whole, 120)[0], 128),
        "bytes_received": (struct.unpack_from("Q", whole, 128)[0], 136),
        "unsent": (struct.unpack_from("I", whole, 144)[0], 148),
        "min_rtt": (struct.unpack_from("I", whole, 148)[0] / 1e6, 152),
    }
    model = {name: value for name, (value, end) in seen.items() if end <= len(raw) and raw[0] != 10}
    if whole[148:152] == b"\xff\xff\xff\xff":
        model.pop("min_rtt", None)
    if model.get("rtt") == 0:
        meaningless = {"rtt", "rtt_variation"}
        if raw[0] in (2, 3, 7, 12):
            meaningless |= {"last_sent", "last_received", "unsent"}
        model = {name: value for name, value in model.items() if name not in meaningless}
    return TcpInfo(parse.linux_state(raw), **model)


def naive_macos(raw):
    whole = raw + bytes(120)
    seen = {
        "rto": (struct.unpack_from("I", whole, 12)[0] / 1e3 or None, 16),
        "rtt": (struct.unpack_from("I", whole, 44)[0] / 1e3, 48),
        "rtt_variation": (struct.unpack_from("I", whole, 48)[0] / 1e3, 52),
        "bytes_received": (struct.unpack_from("Q", whole, 88)[0], 96),
        "total_retransmits": (struct.unpack_from("Q", whole, 104)[0], 112),
    }
    model = {name: value for name, (value, end) in seen.items() if end <= len(raw) and raw[0] > 1}
    return TcpInfo(parse.macos_state(raw), **model)


class TestBothStructs:
    @pytest.mark.parametrize(("parser", "naive"), [(parse.linux, naive_linux), (parse.macos, naive_macos)])
    @pytest.mark.parametrize("filler", [0, 1, 255])
    def test_every_length(self, parser, naive, filler):
        raw = b"\4" + bytes([filler]) * 255
        for length in range(1, 257):
            assert parser(raw[:length]) == naive(raw[:length])

    @given(raw=st.binary(min_size=1, max_size=256))
    def test_like_a_naive_model(self, raw):
        assert parse.linux(raw) == naive_linux(raw)
        assert parse.macos(raw) == naive_macos(raw)

    @pytest.mark.parametrize("parser", [parse.linux, parse.linux_state, parse.macos, parse.macos_state])
    def test_nothing_at_all(self, parser):
        with pytest.raises(ValueError, match="told nothing"):
            parser(b"")


class TestLinuxStruct:
    def test_every_field(self):
        micros = {"rto": 204_000, "rtt": 35, "rttvar": 16, "min_rtt": 20}
        millis = {"last_data_sent": 1_500, "last_data_recv": 2_500}
        numbers = {"retransmits": 2, "unacked": 3, "total_retrans": 5, "notsent_bytes": 7}
        raw = linux_struct(1, **micros, **millis, **numbers, bytes_acked=2**40, bytes_received=2**41)
        seconds = TcpInfo("ESTABLISHED", 0.000035, 0.000016, 0.00002, 0.204, last_sent=1.5, last_received=2.5)
        assert parse.linux(raw + bytes(120)) == dataclasses.replace(
            seconds,
            retransmits=2,
            total_retransmits=5,
            unacknowledged=3,
            unsent=7,
            bytes_acknowledged=2**40,
            bytes_received=2**41,
        )

    @pytest.mark.parametrize("number", range(14))
    def test_states(self, number):
        name = LINUX_STATES.split()[number].replace("_(", " (")
        assert parse.linux_state(bytes([number])) == name
        assert parse.linux(linux_struct(number)).state == name

    def test_before_a_connect_nothing_is_made_up(self):
        """Measured on Linux 6.18 after a refused connect: the times are those since the machine was started."""
        garbage = {"last_data_sent": 24_728_156, "last_data_recv": 24_728_156, "notsent_bytes": 2}
        info = parse.linux(linux_struct(7, rto=1_000_000, rttvar=250_000, min_rtt=0xFFFFFFFF, **garbage))
        assert {name for name in FIELDS if getattr(info, name)} == {"rto"}


class TestMacosStruct:
    def test_every_field(self):
        raw = macos_struct(4, rto=230, srtt=12, rttvar=3, rxbytes=2**40, txretransmitpackets=9)
        assert parse.macos(raw) == TcpInfo(
            "ESTABLISHED", rtt=0.012, rtt_variation=0.003, rto=0.23, total_retransmits=9, bytes_received=2**40
        )

    @pytest.mark.parametrize("number", range(12))
    def test_states(self, number):
        name = MACOS_STATES.split()[number].replace("_(", " (")
        assert parse.macos_state(bytes([number])) == name
        assert parse.macos(macos_struct(number)).state == name

    @pytest.mark.parametrize("number", [0, 1])
    def test_no_connection(self, number):
        info = parse.macos(macos_struct(number))
        assert [getattr(info, name) for name in FIELDS] == [None] * len(FIELDS)

    def test_nothing_under_way(self):
        assert parse.macos(macos_struct(4)).rto is None


@contextlib.contextmanager
def connected(family=socket.AF_INET, **listening):
    """Both ends of a connection: the one that connected, the one that accepted."""
    with (
        support.listening(family, **listening) as server,
        socket.create_connection(server.getsockname()[:2], timeout=5) as client,
        server.accept()[0] as peer,
    ):
        peer.settimeout(5)
        yield client, peer


def fill(sock):
    """Write until nothing more goes in: a FIN then waits behind data that the peer does not take."""
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(2**16))


def reaches(sock, state):
    """Whether the state comes; the kernel may answer a FIN 40 ms later."""
    end = time.monotonic() + 5
    while tcp_state(sock) != state and time.monotonic() < end:
        pass
    assert tcp_info(sock).state == tcp_state(sock)
    return tcp_state(sock) == state


@linux_only
class TestStates:
    def test_never_connected(self):
        with socket.socket() as sock:
            assert tcp_state(sock) == "CLOSED"
            assert tcp_info(sock).rtt is tcp_info(sock).last_received is None

    @both_families
    def test_listen(self, family):
        with support.listening(family) as server, socket.create_connection(server.getsockname()[:2]):
            assert tcp_info(server) == TcpInfo("LISTEN")  # not even the connection that waits, as "unacknowledged"

    def test_syn_sent(self, hole):
        with socket.socket() as sock:
            sock.settimeout(0)
            sock.connect_ex(hole)
            info = tcp_info(sock)
            assert (tcp_state(sock), info.state, info.rtt, info.unacknowledged) == ("SYN_SENT", "SYN_SENT", None, 1)
            assert info.last_received is None

    @both_families
    def test_established(self, family):
        with connected(family) as (client, peer):
            assert tcp_state(client) == tcp_state(peer) == "ESTABLISHED"

    def test_fin_wait_2_and_close_wait(self):
        with connected() as (client, peer):
            client.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
            assert tcp_state(peer) == "CLOSE_WAIT"
            assert reaches(client, "FIN_WAIT_2")
            peer.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            assert reaches(peer, "CLOSED")
            assert tcp_state(client) == "CLOSED"  # in TIME_WAIT, for which there is no socket any more

    def test_fin_wait_1_and_closing(self):
        with connected() as (client, peer):
            fill(client)
            client.shutdown(socket.SHUT_WR)
            assert tcp_state(client) == "FIN_WAIT_1"
            assert tcp_info(client).unsent > 0
            peer.shutdown(socket.SHUT_WR)
            assert reaches(client, "CLOSING")

    def test_last_ack(self):
        with connected() as (client, peer):
            fill(peer)
            client.shutdown(socket.SHUT_WR)
            assert reaches(peer, "CLOSE_WAIT")
            peer.shutdown(socket.SHUT_WR)
            assert tcp_state(peer) == "LAST_ACK"
            assert reaches(client, "FIN_WAIT_2")

    @pytest.mark.parametrize("read", [False, True])
    def test_reset_keeps_what_is_known(self, read):
        with connected() as (client, peer):
            peer.sendall(b"hello")
            support.reset(peer)
            assert reaches(client, "CLOSED")
            with contextlib.suppress(OSError):
                while read and client.recv(100):
                    pass
            info = tcp_info(client)
            assert info.bytes_received == 5
            assert 0 <= info.last_received < 5
            assert 0 < info.rtt < 1

    def test_refused(self):
        with support.held_port() as held, socket.socket() as sock:
            assert sock.connect_ex(held.getsockname()) == errno.ECONNREFUSED
            assert tcp_state(sock) == "CLOSED"
            info = tcp_info(sock)
            assert [info.rtt, info.last_sent, info.last_received, info.unsent] == [None] * 4


@linux_only
class TestNumbers:
    @both_families
    def test_bytes_and_times(self, family):
        with connected(family) as (client, peer):
            before = tcp_info(client)
            assert (before.bytes_received, before.bytes_acknowledged) == (0, 1)  # its SYN
            assert tcp_info(peer).bytes_acknowledged == 0
            client.sendall(bytes(1000))
            assert len(peer.recv(1000, socket.MSG_WAITALL)) == 1000
            peer.sendall(bytes(500))  # its ACK travels with the data
            assert len(client.recv(500, socket.MSG_WAITALL)) == 500
            ours, theirs = tcp_info(client), tcp_info(peer)
            assert (ours.bytes_received, ours.bytes_acknowledged) == (500, 1001)
            assert theirs.bytes_received == 1000
            for info in (ours, theirs):
                assert 0 < info.min_rtt <= info.rtt < 1
                assert 0 <= info.rtt_variation < 1
                assert 0.2 <= info.rto < 2
                assert 0 <= info.last_sent < 5
                assert 0 <= info.last_received < 5
                assert (info.retransmits, info.total_retransmits, info.unsent) == (0, 0, 0)
            peer.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            assert tcp_info(client).bytes_received == 501  # with the FIN

    def test_what_the_peer_does_not_take(self):
        with connected() as (client, peer):
            fill(client)
            info = tcp_info(client)
            assert info.unsent > 0
            assert info.unsent + info.bytes_acknowledged > 2**16
            assert tcp_info(peer).bytes_received > 0  # though nothing of it was read

    def test_times_go_on(self):
        with connected() as (client, _):
            began = tcp_info(client).last_received
            end = time.monotonic() + 5
            while tcp_info(client).last_received == began and time.monotonic() < end:
                pass
            assert began < tcp_info(client).last_received < 5


@linux_only
class TestOtherSockets:
    def test_trios(self):
        with trio.socket.from_stdlib_socket(socket.socket()) as ours:
            assert tcp_state(ours) == tcp_info(ours).state == "CLOSED"

    def test_asyncios(self):
        with connected() as (client, _):
            ours = asyncio.trsock.TransportSocket(client)
            assert tcp_state(ours) == tcp_info(ours).state == "ESTABLISHED"

    @pytest.mark.parametrize("ask", [tcp_info, tcp_state])
    def test_not_tcp(self, ask):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
            pytest.raises(OSError, match="not supp") as caught,
        ):
            ask(sock)
        assert caught.value.errno == errno.EOPNOTSUPP

    @pytest.mark.parametrize("ask", [tcp_info, tcp_state, detection_time])
    def test_closed(self, ask):
        sock = socket.socket()
        sock.close()
        with pytest.raises(OSError, match="descriptor") as caught:
            ask(sock)
        assert caught.value.errno == errno.EBADF


class FakeSocket:
    """One whose kernel answers with these bytes, or with this error."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def getsockopt(self, level, number, size):
        self.asked.append((level, number, size))
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer[:size]


class TestOtherPlatforms:
    def test_macos(self, on_platform):
        on_platform("darwin")
        sock = FakeSocket(macos_struct(5, srtt=12, rxbytes=1234))
        assert tcp_state(sock) == "CLOSE_WAIT"
        info = tcp_info(sock)
        assert (info.state, info.rtt, info.bytes_received, info.rto) == ("CLOSE_WAIT", 0.012, 1234, None)
        assert {asked[:2] for asked in sock.asked} == {(socket.IPPROTO_TCP, 0x106)}

    def test_macos_has_thrown_the_connection_away(self, on_platform):
        on_platform("darwin")
        sock = FakeSocket(OSError(errno.ECONNRESET, "reset"))
        assert tcp_state(sock) == "CLOSED"
        assert tcp_info(sock) == TcpInfo("CLOSED")

    @pytest.mark.parametrize(("platform", "code"), [("darwin", errno.EBADF), ("linux", errno.ECONNRESET)])
    def test_other_errors_are_the_kernels(self, platform, code, on_platform):
        on_platform(platform)
        for ask in (tcp_info, tcp_state):
            with pytest.raises(OSError, match="no") as caught:
                ask(FakeSocket(OSError(code, "no")))
            assert caught.value.errno == code

    @pytest.mark.parametrize("platform", ["win32", "freebsd14", "sunos5"])
    @pytest.mark.parametrize("ask", [tcp_info, tcp_state])
    def test_where_there_is_none(self, platform, ask, on_platform):
        on_platform(platform)
        sock = FakeSocket(b"\1")
        with pytest.raises(OSError, match=f"cannot be asked for on {platform}$") as caught:
            ask(sock)
        assert caught.value.errno == errno.EOPNOTSUPP
        assert sock.asked == []

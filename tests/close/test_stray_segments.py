"""An old segment and a new connection between the same two ends: what docs/closing-connections.md tells of it."""

import pytest

from .. import namespace
from ..support import linux_only

pytestmark = linux_only

TWICE = """
    import socket
    from pathlib import Path
    from safeconnect import create_connection, reset
    from tests.close.segments import ACK, PSH, RST, Wire
    Path("/proc/sys/net/ipv4/tcp_timestamps").write_text("{stamps}")
    try:
        wire = Wire()
    except PermissionError:
        print("no raw sockets")
        raise SystemExit
    server = socket.create_server(("127.0.0.1", 7))
    ends = {{"source_address": ("127.0.0.1", 7000), "timeout": 5}}

    def exchange(text):
        sock = create_connection(server.getsockname(), **ends)
        peer, _ = server.accept()
        peer.settimeout(5)
        sock.sendall(text)
        assert peer.recv(100) == text
        return sock, peer, wire.next(lambda segment: segment.data == text)

    def left_by(text):
        "A connection that was reset, and its segment."
        sock, peer, segment = exchange(text)
        reset(sock)
        peer.close()
        return segment

    def received(peer):
        "What comes before the client's next words."
        sock.sendall(b".")
        got = b""
        while not got.endswith(b"."):
            got += peer.recv(100) or b"its end."
        return got

    def counted(name):
        "What the kernel of this namespace has counted."
        names, values = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2]]
        return int(values[names.index(name)])

    old = left_by(b"old")
    sock, peer, new = exchange(b"new")  # the same two ends, at once
    following = new.seq + 3
"""


def told(stamps, code):
    printed = namespace.run(TWICE.format(stamps=stamps) + code)
    if printed == "no raw sockets\n":
        pytest.skip("raw sockets are not to be had here")
    return printed.splitlines()


@pytest.mark.parametrize("stamps", [0, 1], ids=["without timestamps", "with timestamps"])
class TestOfTheWindow:
    def test_an_old_segment_lies_before_it(self, stamps):
        """Initial sequence numbers grow by 15.6 million a second (RFC 6528), faster than this connection did."""
        code = """
    old.send()
    print(received(peer), 0 < (new.seq - old.seq) % 2**32 < 2**31)
"""
        assert told(stamps, code) == ["b'.' True"]

    def test_a_reset_counts_only_where_it_fits_exactly(self, stamps):
        """Elsewhere in the window it is asked back with a challenge ACK (RFC 5961, section 3)."""
        code = """
    old.but(seq=following + 9, ack=0, flags=RST, data=b"").send()
    print(received(peer), counted("TCPChallengeACK"))
    old.but(seq=following + 1, ack=0, flags=RST, data=b"").send()
    try:
        print(peer.recv(1))
    except ConnectionResetError:
        print("reset")
"""
        assert told(stamps, code) == ["b'.' 1", "reset"]


class TestInTheWindow:
    def test_timestamps_keep_it_out(self):
        """PAWS (RFC 7323, section 5): it is older than what has come before."""
        code = """
    older = old.stamp[0] - 10, old.stamp[1]
    old.but(seq=following, ack=new.ack, flags=ACK | PSH, stamp=older).send()
    print(received(peer), counted("PAWSEstab"))
"""
        assert told(1, code) == ["b'.' 1"]

    def test_without_them_it_is_taken(self):
        code = """
    old.but(seq=following, ack=new.ack, flags=ACK | PSH).send()
    print(peer.recv(100))
"""
        assert told(0, code) == ["b'old'"]

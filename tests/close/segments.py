"""Segments as they are on the wire: seen on lo, and sent again, changed. For a namespace: they need CAP_NET_RAW."""

import dataclasses
import socket
import struct

_IP = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHLLBBHHH")
_ETHERNET_BYTES = 14
_TIMESTAMPS = b"\x01\x01\x08\x0a"  # two NOPs to fill up, then kind 8 of ten bytes (RFC 7323, appendix A)
ACK, PSH, RST, SYN = 0x10, 0x08, 0x04, 0x02


@dataclasses.dataclass(frozen=True)
class Segment:
    """One TCP segment over IPv4; stamp: its TSval and TSecr, where it has the option."""

    local: tuple
    peer: tuple
    seq: int
    ack: int
    flags: int
    data: bytes = b""
    stamp: tuple | None = None

    def but(self, **changes):
        return dataclasses.replace(self, **changes)

    def send(self):
        options = _TIMESTAMPS + struct.pack("!LL", *self.stamp) if self.stamp else b""
        length = (20 + len(options)) // 4 << 4
        ports = self.local[1], self.peer[1]
        body = options + self.data
        header = _TCP.pack(*ports, self.seq % 2**32, self.ack % 2**32, length, self.flags, 512, 0, 0)
        ends = socket.inet_aton(self.local[0]) + socket.inet_aton(self.peer[0])
        pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header) + len(body))
        checksum = struct.pack("!H", _checksum(pseudo + header + body))
        header = header[:16] + checksum + header[18:]
        total = 20 + len(header) + len(body)
        ip = _IP.pack(0x45, 0, total, 0, 0, 64, socket.IPPROTO_TCP, 0, ends[:4], ends[4:])
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(ip + header + body, (self.peer[0], 0))


def _checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Wire:
    """What passes over lo from now on."""

    def __init__(self):
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._sock.bind(("lo", 0))
        self._sock.settimeout(5)

    def next(self, wanted):
        """The next segment of which ``wanted(segment)`` is true."""
        while True:
            found = _parsed(self._sock.recv(65536)[_ETHERNET_BYTES:])
            if found and wanted(found):
                return found


def _parsed(packet):
    ip = _IP.unpack_from(packet)
    if ip[6] != socket.IPPROTO_TCP:
        return None
    start = (ip[0] & 15) * 4
    source, target, seq, ack, length, flags, *_ = _TCP.unpack_from(packet, start)
    header = packet[start : start + (length >> 4) * 4]
    place = header.find(_TIMESTAMPS, 20)
    stamp = struct.unpack_from("!LL", header, place + 4) if place >= 0 else None
    ends = (socket.inet_ntoa(ip[8]), source), (socket.inet_ntoa(ip[9]), target)
    return Segment(*ends, seq, ack, flags, packet[start + len(header) : ip[2]], stamp)

"""Sockets that may stand beside one of ours on a local port: the flags they set, and what they do."""

import contextlib
import itertools
import os
import socket

from ..support import reset

# Of this process alone: others run these tests at the same time.
HOME = f"127.{1 + os.getpid() % 250}.{1 + os.getpid() // 250 % 250}.1"
_PORTS = itertools.cycle(range(10000, 30000))

ADDR, PORT, BOTH, NONE = "SO_REUSEADDR", "SO_REUSEPORT", "both", "none"
FLAGS = [ADDR, PORT, BOTH, NONE]
STATES = ["bound", "listening", "connected"]


def fresh():
    """An address that nobody has used."""
    return HOME, next(_PORTS)


def sharing(flags, family=socket.AF_INET):
    """A socket with these flags; one for IPv6 is a dual-stack socket."""
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if flags in (ADDR, BOTH):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if flags in (PORT, BOTH):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.settimeout(5)
    return sock


@contextlib.contextmanager
def neighbour(flags, state, address, destination):
    """A socket with these flags at the address, in that state.

    :raises OSError: bind() or listen() refuses it.
    """
    sock = sharing(flags, socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        sock.bind(address)
        if state == "listening":
            sock.listen()
        elif state == "connected":
            sock.connect(destination)
        yield sock
    finally:
        reset(sock)


def gets_in(flags, state):
    """Whether one of ours may come to the port of such a neighbour: what the documentation promises."""
    return flags in (PORT, BOTH) or (flags == ADDR and state != "listening")

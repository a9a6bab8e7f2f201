"""Two sides of a simultaneous open, in one process."""

from safeconnect import simultaneous_open
from safeconnect._local.binding import reserve_port
from safeconnect._sockets.lifecycle import reset

from ..support import meanwhile


def free_addresses(host="127.0.0.1"):
    """Of this process's own: others run these tests at the same time."""
    with reserve_port(host, "10000-19999") as one, reserve_port(host, "10000-19999") as other:
        return (host, one.port), (host, other.port)


# Where some test's connections may be in TIME_WAIT.
A, B = free_addresses()


def meet(one=A, other=B, **settings):
    """Both sides, the second in a thread."""
    met = {}

    def side(local, peer):
        met[local] = simultaneous_open(local, peer, timeout=5, **settings)

    with meanwhile(lambda: side(other, one)):
        side(one, other)
    return met[one], met[other]


def check_and_reset(one, other):
    assert one.getsockname() == other.getpeername()
    assert other.getsockname() == one.getpeername()
    one.sendall(b"x")
    other.settimeout(5)
    assert other.recv(1) == b"x"
    reset(one)
    reset(other)

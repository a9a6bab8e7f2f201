"""Run Python code in a user and network namespace of its own, where it may change what it likes, without root."""

import contextlib
import ctypes
import functools
import os
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCSIFADDR = 0x8916
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def run(code, *, ports=None, address=None, timeout=60):
    """Run ``code`` in a namespace; returns what it printed. ``ports``: "40000 40000"; ``address``: one more of lo's."""
    import pytest  # the child, which imports this module first of all, seldom needs it

    if sys.platform != "linux":
        pytest.skip("network namespaces exist on Linux only")
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    script = f"from tests import namespace\nnamespace.enter({ports!r}, {address!r})\n" + textwrap.dedent(code)
    done = _python(script, timeout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def unavailable():
    """Why no namespace can be had on this Linux, or None."""
    done = _python("from tests import namespace\nnamespace.enter(None, None)", 30)
    return None if done.returncode == 0 else f"user namespaces are not to be had here: {done.stderr.strip()[-200:]}"


def unshare_net():
    """Move this process into another network namespace, under the user namespace that it is in."""
    _unshare(_CLONE_NEWNET)


def unshare_net_for_tests():
    """As `unshare_net`, with lo up and a hash table of its own: to read /proc/net/tcp, the kernel walks all of it.

    That takes 8 ms in the host's own table of 262,144 places, and 0.5 ms in this one.
    """
    unshare_net()
    with contextlib.suppress(FileNotFoundError):  # Linux 6.1 and later
        Path("/proc/sys/net/ipv4/tcp_child_ehash_entries").write_text("16384")
        unshare_net()
        # As with a large table.
        Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("131072")
        Path("/proc/sys/net/ipv4/tcp_max_syn_backlog").write_text("2048")
    set_up()


def _unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "unshare")


def privileged_below():
    """The first port that any user may bind to."""
    if os.geteuid() == 0:
        return 0
    return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


def surroundings():
    """The environment of a child that is to import what we can."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}


def _python(script, timeout):
    return subprocess.run(
        [sys.executable, "-c", script],
        env=surroundings(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def enter(ports, address):
    """Move this process, which must have one thread, into new namespaces, with lo up; called in the child."""
    user, group = os.getuid(), os.getgid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    set_up(address)
    if ports:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(ports)


def set_up(address=None):
    """Let a new network namespace's lo be up, maybe with one more address."""
    import fcntl  # Windows, where conftest.py imports this module, has none

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))
        if address:
            name = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, _SIOCSIFADDR, name)

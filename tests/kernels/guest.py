"""Show what the library does on this kernel; ``tests/kernels/run`` runs it there.

Usage: ``python tests/kernels/guest.py TRIES``, as root of a machine of its own: it changes the range of source ports.
The exit status is 1 if the library has broken a promise.
"""

import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import safeconnect
from safeconnect import events
from safeconnect._sockets import kernel

HOST, PORT, BLOCKED = "127.0.0.1", 40_000, 40_002
USUAL, NARROW = "32768 60999", "40000 40199"
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
CONNECTS = {"standard library": socket.create_connection, "safeconnect": safeconnect.create_connection}
COMMANDS = [
    ["-m", "safeconnect", "doctor", f"{HOST}:{PORT}"],
    ["-c", f"import safeconnect; print(safeconnect.self_connect_exposure({HOST!r}, {PORT}))"],
    ["-m", "safeconnect", "demo"],
    # Emulated, they take long.
    [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "timeout=3000",
        "-o",
        "faulthandler_timeout=0",
        "tests/sockets",
    ],
]


def say(*what, end="\n"):
    print(*what, end=end, flush=True)


def heading(text):
    say(f"\n== {text} ({time.monotonic():.0f} s after the start)")


def set_range(ports):
    RANGE.write_text(ports)
    kernel.forget()


def tries(connect, count, **settings):
    """Connect to the closed port; return how many self-connected sockets were returned, and how many were refused."""
    returned = refused = 0
    for _ in range(count):
        try:
            sock = connect((HOST, PORT), 5, **settings)
        except ConnectionRefusedError:
            refused += 1
        else:
            returned += safeconnect.is_self_connected(sock)
            safeconnect.reset(sock)
    return returned, refused


def server_binds(port):
    """Say whether a server could start at the port now."""
    try:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((HOST, port))
            server.listen()
    except OSError as error:
        return f"no ({error.strerror})"
    return "yes"


def compare(count):
    """Compare the standard library with ours; return True if ours has returned no self-connected socket."""
    kept = True
    for ports, number in ((USUAL, count), (NARROW, count // 10)):
        set_range(ports)
        for name, connect in CONNECTS.items():
            began = time.monotonic()
            returned, refused = tries(connect, number)
            took = time.monotonic() - began
            told = f"{number:,} tries, {returned} self-connected sockets returned, {refused:,} refused, {took:.0f} s"
            say(f"source ports {ports}, {name}: {told}")
            kept = kept and (name != "safeconnect" or returned == 0)
    return kept


def provoke():
    """Leave no source port but the target's; return True if ours returns no self-connect and leaves the port free."""
    set_range(f"{BLOCKED} {BLOCKED}")
    sock = socket.create_connection((HOST, BLOCKED), 5)
    is_itself = safeconnect.is_self_connected(sock)
    sock.close()
    binds = server_binds(BLOCKED)
    say(f"one source port, standard library: self-connected: {is_itself}; after close() a server binds: {binds}")

    told = []
    set_range(f"{PORT} {PORT}")
    returned, refused = tries(safeconnect.create_connection, 10, trace=lambda *what: told.extend(what))
    resets = sum(isinstance(each, events.Abandon) and each.reset for each in told)
    binds = server_binds(PORT)
    say(
        f"one source port, safeconnect: 10 calls, {returned} self-connected sockets returned, {refused} refused, ",
        end="",
    )
    say(f"{resets} self-connects met and reset; a server binds: {binds}")
    set_range(USUAL)
    return returned == 0 and binds == "yes"


def main(count):
    heading(f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}")
    say(*os.uname())
    say(f"IP_LOCAL_PORT_RANGE: {'supported' if kernel.has_port_range() else 'not supported by this kernel'}")
    heading(f"connects to {HOST}:{PORT}, where nobody listens")
    kept = [compare(count), provoke()]
    for command in COMMANDS:
        heading(f"python {' '.join(command)}")
        done = subprocess.run(  # no terminal, so no colours and no progress
            [sys.executable, *command], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        say(done.stdout, end="")
        say(f"exit status {done.returncode}")
        kept.append(done.returncode == 0 or "doctor" in command)  # the doctor finds that nobody listens
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

"""Run an unchanged program with safe connects: past a dead address, and past a port that connects to itself.

The name "web" has two addresses, of which the first is dead. Port 40000, Redis's, is one of the eight source ports.
"""

import itertools
import subprocess
import sys
from pathlib import Path

from safeconnect import reserve_port, testing

PROGRAM = [sys.executable, str(Path(__file__).with_name("unchanged_program.py"))]
REDIS = ["redis-server", "--port", "40000", "--bind", "127.0.0.1", "--save", ""]


def page(peer):
    peer.recv()
    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\npage")


def outcome(*command):
    """The seconds until the program had its page; whether Redis could start afterwards; whether the value came back."""
    with (
        reserve_port(port=40000) as reserved,  # or one of the connections to "web" may have it when Redis starts
        testing.blackhole(port=8080),
        testing.serve(page, host="127.0.0.2", port=8080),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program,
    ):
        text, seconds = program.stdout.readline().split()
        assert text == "page"
        reserved.release()
        tries = list(itertools.islice(program.stdout, 50))  # fewer if the program ends before
        with subprocess.Popen(REDIS, stdout=subprocess.PIPE, text=True) as server:
            is_up = any("Ready to accept connections" in line for line in server.stdout)
            if not is_up:
                program.terminate()
            lines = [*tries, *program.stdout]
            program.wait()
            server.terminate()
    return float(seconds), is_up, lines[-1:] == ["b'a value'\n"]


seconds, is_up, is_right = outcome("safeconnect", "run", *PROGRAM)
print("with run:", seconds, is_up, is_right)
assert seconds < 3, "the dead address cost the whole timeout"
assert is_up, "the program had Redis's port"
assert is_right

seconds, is_up, is_right = outcome(*PROGRAM)
print("without:", seconds, is_up, is_right)
assert seconds >= 3, "the first address was not dead"
assert not is_up, "the program did not connect to itself"
assert not is_right

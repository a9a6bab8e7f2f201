"""Two test runs at the same time, each with a port for its server, which starts later. Nobody else gets the port."""

import contextlib
import socket
import subprocess
import sys

from safeconnect import wait_for_port

SERVER = """
import os, socket
port = int(os.environ["PORT"])
print(port, flush=True)
input()  # the server starts later
with socket.create_server(("127.0.0.1", port)):
    input()
"""
COMMAND = ["safeconnect", "ports", "--", sys.executable, "-c", SERVER]

with contextlib.ExitStack() as stack:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    runs = [stack.enter_context(subprocess.Popen(COMMAND, **pipes)) for _ in range(2)]
    try:
        ports = [int(run.stdout.readline()) for run in runs]
        print(ports)
        assert ports[0] != ports[1], "both have the same port"
        for run, port in zip(runs, ports, strict=True):
            with contextlib.suppress(OSError), socket.socket() as other:
                other.bind(("127.0.0.1", port))
                raise AssertionError("another program could take the port")
            run.stdin.write("start\n")
            run.stdin.flush()
            wait_for_port(("127.0.0.1", port), timeout=30)
    finally:
        for run in runs:
            run.terminate()

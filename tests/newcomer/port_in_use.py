"""A server fails with "address already in use", though nobody listens. Find out who has its port."""

import errno
import json
import subprocess
import sys

from safeconnect import bind_socket

CLIENT = """
import socket
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sock.connect(sock.getsockname())  # after some thousand tries at a closed port it would have happened by itself
print(sock.getsockname()[1], flush=True)
input()
"""


def safeconnect(*arguments):
    return json.loads(subprocess.run(["safeconnect", *arguments, "--json"], stdout=subprocess.PIPE, check=False).stdout)


def codes(port):
    return [finding["code"] for finding in safeconnect("doctor", f"127.0.0.1:{port}")["findings"]]


with subprocess.Popen([sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
    port = int(client.stdout.readline())
    failure = None
    try:
        bind_socket(("127.0.0.1", port)).close()
    except OSError as error:
        failure = error
    assert failure is not None, "the port is free"
    assert failure.errno == errno.EADDRINUSE
    assert str(client.pid) in failure.__notes__[0]

    (found,) = safeconnect("ports", str(port))["sockets"]
    assert found["local"] == found["remote"], "it is not connected to itself"
    assert [owner["pid"] for owner in found["owners"]] == [client.pid]
    assert "target-port-held" in codes(port)
    client.terminate()

assert "target-port-in-time-wait" in codes(port)  # the advice now is to wait for up to a minute

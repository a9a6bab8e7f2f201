"""A server that is killed and started again every 200 ms: run as a script, it keeps a log of all that reaches it.

Each line of the log is ``<generation> connection <ms since it listens>`` or ``<generation> request <client> <number>``.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

REQUEST = struct.Struct("!IQ")  # client, number
LIFE = 0.2


def serve(address, log, generation):
    """Answer requests until killed; in one thread, for a fork has no other."""
    listener = socket.create_server(address, backlog=1024)
    began = time.monotonic()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    connections = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                sock = listener.accept()[0]
                connections[sock.fileno()] = sock
                poll.register(sock, select.POLLIN)
                os.write(log, b"%d connection %d\n" % (generation, (time.monotonic() - began) * 1000))
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = connections[number].recv(REQUEST.size)
            if not data:
                poll.unregister(number)
                connections.pop(number).close()
                continue
            os.write(log, b"%d request %d %d\n" % (generation, *REQUEST.unpack(data)))
            with contextlib.suppress(OSError):
                connections[number].sendall(data)


def main():
    """Serve, kill, serve again, until standard input ends."""
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    generation = 0
    while True:
        generation += 1
        pid = os.fork()
        if not pid:
            serve(("127.0.0.1", int(sys.argv[1])), log, generation)
        is_over = select.select([sys.stdin], [], [], LIFE)[0]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if is_over:
            return


if __name__ == "__main__":
    main()

"""Send back to everybody what they sent: a process of its own, run by its path, imports nothing of the package.

``python _echo.py HOST PORT`` says so in a line when it listens, and ends when there is nothing more to read.
"""

from __future__ import annotations

import contextlib
import socketserver
import sys
import threading


class Echo(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Until the other side has said all, or the connection is lost."""
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    """Each connection has a thread: one that nobody reads from holds up no other."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until the end."""
    host, port = sys.argv[1:]
    server = Server((host, int(port)), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

"""The server that clients connect to, and what it knows of them: which addresses they came from."""

import contextlib
import socket
import threading

HOST = "127.0.0.1"


class Listener:
    """Accepts every connection and closes it at once: a client then fails in its own protocol, after its connect."""

    def __init__(self):
        self._sources = []
        self._server = socket.create_server((HOST, 0), backlog=128)
        self.port = self._server.getsockname()[1]
        self.address = f"{HOST}:{self.port}"
        self.url = f"http://{self.address}/"
        self._arrived = threading.Event()
        self._last = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            sock, source = self._server.accept()
            sock.close()
            if source[1] == self._last:
                return
            self._sources.append(source)
            self._arrived.set()

    def until_connected(self, function, *arguments, **keywords):
        """Call it in a thread and wait for its connect only: for clients that then go on to retry."""
        failed = []

        def call():
            try:
                function(*arguments, **keywords)
            except BaseException as error:  # noqa: BLE001 - as a rule because the server closes at once
                failed.append(error)

        threading.Thread(target=call, daemon=True).start()
        if not self._arrived.wait(30):
            raise TimeoutError(f"no connect within 30 s; {failed}")

    def end(self):
        """Stop, and return from where all came."""
        with contextlib.closing(socket.socket()) as last:
            last.bind((HOST, 0))
            self._last = last.getsockname()[1]
            last.connect((HOST, self.port))
            self._thread.join()
        self._server.close()
        return self._sources

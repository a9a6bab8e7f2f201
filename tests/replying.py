"""A server that answers numbered requests as each of them asks: late, in part, twice, never; and keeps account."""

import contextlib
import socket
import struct
import threading

from safeconnect._sockets.lifecycle import reset

REQUEST = struct.Struct("!QBI")  # number, what to do, milliseconds
REPLY = struct.Struct("!Q")

ANSWER, CLOSE, RESET, HALF, TWICE, NEVER, GREET, CLOSE_AFTER = range(8)


def request(number, what=ANSWER, milliseconds=0):
    return REQUEST.pack(number, what, milliseconds)


def number_of(reply):
    return REPLY.unpack(reply)[0]


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


class ReplyingServer:
    """Serves on a port of its own, each connection in a thread. ``requests``: (connection, number), as they came."""

    def __init__(self, host="127.0.0.1"):
        self.requests = []
        self.accepted = 0
        self._ended = threading.Event()
        self._connections = set()
        self._threads = []
        self._lock = threading.Condition()
        self._listener = socket.create_server((host, 0))
        self.address = self._listener.getsockname()
        self._accepting = None
        self.start()

    def start(self):
        """Listen (again) on the same port."""
        if self._listener is None:
            self._listener = socket.create_server(self.address)
        self._accepting = threading.Thread(target=self._accept, args=[self._listener])
        self._accepting.start()

    def stop(self, *, end=reset):
        """Stop listening and end every connection: as a process that is killed does, with a RST, or with ``close``."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        listener.close()
        self.end_all(end)

    def has_accepted(self, count):
        """Wait until so many connections have been accepted."""
        with self._lock:
            return self._lock.wait_for(lambda: self.accepted >= count, 5) and self.accepted == count

    def end_all(self, end=reset):
        """End every connection there is."""
        with self._lock:
            connections = list(self._connections)
        for sock in connections:
            if end is not reset:
                self.end_quietly(sock)
                continue
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # connect() to AF_UNSPEC resets a connection that another thread reads from.
                _disconnect(sock)

    @staticmethod
    def end_quietly(sock):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.stop(end=None)
        self.end_all(None)
        for thread in self._threads:
            thread.join()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(sock)
                self.accepted += 1
                number = self.accepted
                self._lock.notify_all()
            thread = threading.Thread(target=self._serve, args=[sock, number])
            # Those that have ended are let go: since Python 3.13 each keeps its stack until then, and 400 fill 32 bits.
            self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
            thread.start()

    def _serve(self, sock, connection):
        try:
            with sock, contextlib.suppress(OSError):
                while data := read_exactly(sock, REQUEST.size):
                    number, what, milliseconds = REQUEST.unpack(data)
                    self.requests.append((connection, number))
                    if not self._answer(sock, number, what, milliseconds):
                        return
        finally:
            with self._lock:
                self._connections.discard(sock)

    def _answer(self, sock, number, what, milliseconds):
        """Do as asked; says whether to go on."""
        self._ended.wait(milliseconds / 1000)
        reply = REPLY.pack(number)
        if what == CLOSE:
            return False
        if what == RESET:
            reset(sock)
            return False
        if what == HALF:
            sock.sendall(reply[:3])
            return False
        if what == TWICE:
            sock.sendall(reply + REPLY.pack(number + 1000))
        elif what != NEVER:
            sock.sendall(reply)
        return what != CLOSE_AFTER


def _disconnect(sock):
    import ctypes

    address = struct.pack("H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None).connect(sock.fileno(), address, len(address))

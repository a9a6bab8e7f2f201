"""A connection pool that checks a connection before it uses it again."""

import select

from safeconnect import create_connection, peer_closed, reset, testing, unread_bytes


class Pool:
    def __init__(self, address):
        self._address = address
        self._idle = []

    def ask(self, question):
        sock = self._take()
        sock.sendall(question)
        reply = sock.recv(len(b"re: " + question))
        self._idle.append(sock)
        return reply

    def close(self):
        while self._idle:
            self._idle.pop().close()

    def _take(self):
        while self._idle:
            sock = self._idle.pop()
            if not peer_closed(sock) and not unread_bytes(sock):
                return sock
            reset(sock)
        return create_connection(self._address, timeout=5)

    def wait_for_the_peer(self):
        select.select(self._idle, [], [])


def answers(peer):
    while data := peer.recv():
        peer.sendall(b"re: " + data)
        if peer.number == 1:
            return  # the first connection is closed after one reply
        if peer.number == 2:
            peer.sendall(b"a second reply")  # that nobody has asked for


with testing.serve(answers) as server:
    pool = Pool(server.address)
    for question in (b"one", b"two"):
        assert pool.ask(question) == b"re: " + question
        pool.wait_for_the_peer()
    assert pool.ask(b"three") == b"re: three"
    assert pool.ask(b"four") == b"re: four"
    assert len(server.connections) == 3, "the third was used twice"
    pool.close()

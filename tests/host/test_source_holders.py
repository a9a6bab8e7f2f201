"""Who has a source port that a connect was to come from: notes, gathered once and only on the way to an error."""

import os
import socket

import psutil  # before any test pretends to be on another platform
import pytest

from safeconnect import Backoff, PortRange, PortSet, Retry
from safeconnect._host import tcp_table
from safeconnect._sockets.endpoint import written

from .. import support
from ..drivers import each_driver
from ..support import held_port, linux_only, resolver


@linux_only
@each_driver
class TestWhoHasThem:
    """The notes on a source port that somebody has."""

    ME = f"{psutil.Process().name()} (process {os.getpid()})"

    @pytest.fixture
    def looks(self, monkeypatch):
        """How often the sockets of this host are listed."""
        found = []
        listed = tcp_table.sockets
        monkeypatch.setattr(tcp_table, "sockets", lambda: found.append(1) or listed())
        return found

    @pytest.fixture
    def taken(self, server):
        """A connection of a plain client, and the address and port that it comes from."""
        with socket.create_connection(server.getsockname(), 5, ("127.0.0.1", 0)) as sock:
            yield sock.getsockname()
            support.reset(sock)

    def notes(self, connect, target, **settings):
        with pytest.raises(OSError, match=r".") as caught:
            connect(target, 5, **settings)
        return [note for note in caught.value.__notes__ if "held by" in note or "TIME_WAIT" in note]

    def test_a_connection(self, connect, taken, server, looks):
        target = written(server.getsockname())
        expected = [f"{written(taken)} is held by {self.ME}, ESTABLISHED, connected to {target}"]
        for settings in ({"source_address": taken}, {"source_ports": str(taken[1])}):
            with support.listening() as other:
                assert self.notes(connect, other.getsockname(), **settings) == expected
        assert len(looks) == 2

    def test_a_server(self, connect, looks):
        with support.listening() as server, support.listening() as other:
            own = server.getsockname()
            found = self.notes(connect, other.getsockname(), source_address=own)
        assert found == [f"{written(own)} is held by {self.ME}, LISTEN"]
        assert len(looks) == 1

    def test_one_that_is_over(self, connect, server):
        with socket.create_connection(server.getsockname(), 5, ("127.0.0.1", 0)) as sock:
            own = sock.getsockname()
            peer = server.accept()[0]
        peer.close()
        support.wait_until(lambda: "TIME_WAIT" in {row.state for row in tcp_table.sockets() if row.local == own})
        (note,) = self.notes(connect, server.getsockname(), source_address=own)
        target = written(server.getsockname())
        assert note == f"{written(own)} is in TIME_WAIT for up to 60 s, once connected to {target}"

    def test_a_bound_one_beside_others(self, connect, taken, server):
        with held_port() as held:
            bound = held.getsockname()[1]
            with support.listening() as other:
                found = self.notes(connect, other.getsockname(), source_ports=PortSet([taken[1], bound]))
        assert found[1:] == [f"port {bound} is held by a socket that is bound and no more"]
        assert found[0].startswith(f"{written(taken)} is held by {self.ME}, ESTABLISHED")

    def test_once_after_many_tries(self, connect, taken, server, looks):
        retry = Retry(attempts=3, backoff=Backoff(0.001))
        with support.listening() as other:
            assert len(self.notes(connect, other.getsockname(), source_address=taken, retry=retry)) == 1
        assert len(looks) == 1

    def test_once_for_several_addresses(self, connect, taken, looks, monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", resolver(("127.0.0.1", 7), ("127.0.0.1", 8)))
        assert len(self.notes(connect, ("db.example", 7), source_address=taken)) == 1
        assert len(looks) == 1

    def test_nobody_looks_while_there_is_hope(self, connect, taken, server, looks):
        ports = PortSet([taken[1], PortRange(20700, 20710)])
        with support.listening() as other, connect(other.getsockname(), 5, source_ports=ports) as sock:
            support.reset(sock)
        assert looks == []

    def test_the_targets_own_port_is_nobodys(self, connect, server, looks):
        port = server.getsockname()[1]
        assert self.notes(connect, server.getsockname(), source_ports=str(port)) == []
        assert looks == []

"""What keeps a server from its port: as rows of a table, and on the real kernel."""

import socket

import pytest

from safeconnect._host import holders, tcp_table
from safeconnect._host.tcp_rows import Holding, Owner, TcpSocket, holdings, in_the_way

from .. import support
from ..support import linux_only, needs_ipv6

HERE = ("127.0.0.1", 80)
ME = (Owner(7, "python"),)


def row(local=HERE, peer=None, state="ESTABLISHED"):
    return TcpSocket(local, peer, state, ipv6=":" in local[0])


SERVER = row(state="LISTEN")
ELSEWHERE = row(("127.0.0.9", 80), state="LISTEN")
ITSELF = row(peer=HERE)
OVER = row(peer=HERE, state="TIME_WAIT")
CLIENT = row(("192.0.2.9", 80), ("192.0.2.1", 443))
TO_IT = row(("127.0.0.1", 40000), HERE)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ([], []),
        ([TO_IT], []),
        ([ITSELF, TO_IT], [ITSELF]),
        ([OVER, CLIENT], [OVER, CLIENT]),
        ([SERVER, ITSELF, CLIENT], []),
        ([ELSEWHERE, ITSELF, CLIENT], [ITSELF]),
        ([row(("0.0.0.0", 80), state="LISTEN"), ITSELF], []),
        ([row(("::", 80), state="LISTEN"), ITSELF], []),
        ([row(("::1", 80), state="LISTEN"), ITSELF], [ITSELF]),
    ],
)
def test_what_is_in_the_way(table, found):
    assert in_the_way(table, {"127.0.0.1"}, 80) == found


@pytest.mark.parametrize(
    ("each", "owners", "text"),
    [
        (SERVER, ME, "127.0.0.1:80 is held by python (process 7), LISTEN"),
        (ITSELF, ME, "127.0.0.1:80 is held by python (process 7), ESTABLISHED, connected to itself"),
        (CLIENT, ME, "192.0.2.9:80 is held by python (process 7), ESTABLISHED, connected to 192.0.2.1:443"),
        (OVER, (), "127.0.0.1:80 is in TIME_WAIT for up to 60 s, once connected to itself"),
        (
            row(peer=("192.0.2.1", 5), state="FIN_WAIT_2"),
            (),
            "127.0.0.1:80 is held by a process that is gone or may not be seen, FIN_WAIT_2, connected to 192.0.2.1:5",
        ),
    ],
)
def test_as_it_is_written(each, owners, text):
    assert [str(holding) for holding in holdings({each: owners})] == [text]


def test_those_alike_are_put_together_and_servers_come_first():
    clients = {row(peer=("192.0.2.1", port)): ME for port in range(5)}
    found = holdings({**clients, ITSELF: ME, OVER: (), SERVER: ME})
    assert [(each.state, each.sockets) for each in found] == [
        ("LISTEN", 1),
        ("ESTABLISHED", 1),
        ("TIME_WAIT", 1),
        ("ESTABLISHED", 5),
    ]
    assert str(found[-1]) == "127.0.0.1:80 is held by python (process 7), ESTABLISHED (5 times)"
    assert found[1] == Holding(HERE, "ESTABLISHED", HERE, ME)


@linux_only
class TestOnTheKernel:
    def test_a_socket_that_met_itself(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            (found,) = holders.in_the_way([sock.getsockname(), ("192.0.2.1", sock.getsockname()[1])])
            with pytest.raises(OSError, match="in use"):
                support.serve_plainly(sock.getsockname()[1])
            support.reset(sock)
        assert found.is_self_connected
        assert found.sockets == 1
        assert holders.in_the_way([found.local]) == []

    @needs_ipv6
    def test_an_address_of_ipv6(self):
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
            sock.connect(sock.getsockname())
            (found,) = holders.in_the_way([sock.getsockname()])
            support.reset(sock)
        assert found.local[0] == "::1"

    def test_nobody_looks_for_another_host(self, monkeypatch):
        monkeypatch.setattr(tcp_table, "sockets", lambda: pytest.fail("that takes long"))
        assert holders.in_the_way([("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)]) == []
        assert holders.in_the_way([]) == []

    def test_a_table_that_cannot_be_read(self, monkeypatch):
        def fail():
            raise PermissionError(1, "not permitted")

        monkeypatch.setattr(tcp_table, "sockets", fail)
        assert holders.in_the_way([HERE]) == []

    def test_many_kinds_are_cut_off(self, monkeypatch):
        rows = [row((f"127.0.0.{last}", 80), ("192.0.2.1", 5)) for last in range(1, 9)]
        monkeypatch.setattr(tcp_table, "sockets", lambda: rows)
        monkeypatch.setattr(tcp_table, "owners", lambda found: dict.fromkeys(found, ME))
        assert len(holders.in_the_way([HERE])) == 5
        error = OSError()
        holders.tell_port(error, 80)
        assert len(error.__notes__) == 6
        assert error.__notes__[-1] == "and 3 more sockets of port 80"

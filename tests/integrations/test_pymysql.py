"""PyMySQL, through the client, against mariadbd."""

import contextlib
import socket
import time

import pytest

from safeconnect import Connector

from .. import support
from . import kit

pymysql = pytest.importorskip("pymysql", reason="PyMySQL is not installed")

from safeconnect.integrations.pymysql import Connection, connect  # noqa: E402 - where there is one

pytestmark = pytest.mark.filterwarnings("ignore:The 'reconnect' argument is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with kit.mariadb(tmp_path_factory.mktemp("mariadb")) as port:
        yield port


@contextlib.contextmanager
def connected(port, host="127.0.0.1", **keywords):
    connection = connect(host=host, port=port, user="root", **{"connect_timeout": 5} | keywords)
    with connection:
        yield connection


def ask(connection, query="SELECT 7"):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def test_an_ordinary_exchange(server):
    with connected(server) as connection:
        assert ask(connection) == (7,)
        assert connection.get_host_info() == f"socket 127.0.0.1:{server}"
        assert isinstance(connection, pymysql.connections.Connection)
    assert not connection.open


def test_timeouts_bind_address_and_options_arrive(server):
    own = Connector(options=[(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 7)])
    with connected(server, bind_address="127.0.0.3", read_timeout=9, connector=own) as connection:
        sock = connection._sock
        assert sock.getsockname()[0] == "127.0.0.3"
        assert sock.gettimeout() == 9
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7


def test_ping_connects_again_just_as_safely(server, monkeypatch):
    came = []
    connect = Connector.connect
    monkeypatch.setattr(Connector, "connect", lambda *given: came.append(given[1]) or connect(*given))
    with connected(server) as connection:
        connection._sock.shutdown(socket.SHUT_RDWR)
        connection.ping(reconnect=True)
        assert ask(connection) == (7,)
        connection.close()
        connection.ping(reconnect=True)
        assert ask(connection) == (7,)
    assert came == [("127.0.0.1", server)] * 3


def test_an_open_connection_that_cannot_connect_again_is_closed(server):
    with connected(server) as connection, support.held_port() as held:
        connection.port = held.getsockname()[1]
        with pytest.raises(pymysql.err.OperationalError, match="Can't connect to MySQL server"):
            connection.connect()
        assert not connection.open


def test_a_socket_of_the_callers_is_used(server, monkeypatch):
    connection = Connection(host="nowhere.invalid", user="root", defer_connect=True)
    connection.connect(socket.create_connection(("127.0.0.1", server), 5))
    with connection:
        assert ask(connection) == (7,)


def test_a_unix_socket_is_left_to_pymysql(server, tmp_path):
    with connected(server) as connection:
        path = ask(connection, "SELECT @@socket")[0]
    with connected(0, unix_socket=path) as connection:
        assert connection.get_host_info() == "Localhost via UNIX socket"


def test_a_dead_first_address_costs_no_more_than_the_delay(server, hole, monkeypatch):
    kit.names_lead_to(monkeypatch, hole, ("127.0.0.1", server))
    began = time.monotonic()
    with connected(server, "two.test", connect_timeout=30) as connection:
        assert time.monotonic() - began < support.SOON
        assert ask(connection) == (7,)


def test_a_refusal_is_its_operational_error():
    with support.held_port() as held, pytest.raises(pymysql.err.OperationalError) as caught:
        Connection(host="127.0.0.1", port=held.getsockname()[1], user="root")
    number, text = caught.value.args
    assert number == 2003
    assert text.startswith("Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)")
    assert isinstance(caught.value.original_exception, ConnectionRefusedError)
    assert caught.value.__cause__ is caught.value.original_exception
    assert "ConnectionRefusedError" in caught.value.traceback
    assert "failed after" in caught.value.__notes__[0]


def test_silence_ends_at_the_deadline(hole):
    began = time.monotonic()
    with pytest.raises(pymysql.err.OperationalError, match="timed out") as caught:
        Connection(host=hole[0], port=hole[1], user="root", connect_timeout=0.2)
    assert 0.2 <= time.monotonic() - began < support.SOON
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_what_is_no_connect_error_passes_as_it_is(monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Connector, "connect", broken)
    with pytest.raises(KeyboardInterrupt):
        Connection(host="127.0.0.1", user="root")

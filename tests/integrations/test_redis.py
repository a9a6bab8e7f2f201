"""redis-py, through the client, against redis-server."""

import socket
import time

import pytest

from safeconnect import Connector

from .. import support
from . import kit

redis = pytest.importorskip("redis", "6", reason="redis-py is not installed")

from redis.backoff import NoBackoff  # noqa: E402 - where there is one
from redis.retry import Retry  # noqa: E402

from safeconnect.integrations.redis import Connection, SSLConnection  # noqa: E402

ONCE = Retry(NoBackoff(), 0)
LATE = "Timeout connecting to server"
IN_MEMORY = ["--save", "", "--appendonly", "no"]


def client_of(port, connection_class=Connection, **keywords):
    keywords = {"host": "127.0.0.1", "port": port, "retry": ONCE} | keywords
    pool = redis.ConnectionPool(connection_class=connection_class, **keywords)
    return redis.Redis.from_pool(pool)


@pytest.fixture(scope="module")
def server():
    port = kit.free_port()
    plain = ["--port", str(port), "--bind", "127.0.0.1", "--protected-mode", "no"]
    with kit.daemon("redis-server", *plain, *IN_MEMORY, port=port):
        yield port


def test_an_ordinary_exchange(server):
    with client_of(server) as client:
        client.set("name", "value")
        assert client.get("name") == b"value"


def test_from_a_url(server):
    pool = redis.ConnectionPool.from_url(f"redis://127.0.0.1:{server}/1", connection_class=Connection)
    with redis.Redis.from_pool(pool) as client:
        assert client.ping()
        assert isinstance(pool.get_connection(), Connection)


def test_over_tls(tmp_path):
    trustme = pytest.importorskip("trustme", reason="TLS tests need trustme")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca")
    own = ca.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    port = kit.free_port()
    tls = ["--tls-cert-file", str(tmp_path / "cert"), "--tls-key-file", str(tmp_path / "key")]
    tls += ["--tls-ca-cert-file", str(tmp_path / "ca"), "--tls-auth-clients", "no"]
    tls += ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
    with (
        kit.daemon("redis-server", *tls, *IN_MEMORY, port=port),
        client_of(port, SSLConnection, ssl_ca_certs=str(tmp_path / "ca"), connector=Connector()) as client,
    ):
        assert client.ping()
        assert isinstance(client.connection_pool.get_connection(), Connection)


def test_timeouts_keepalive_and_options_arrive(server):
    options = {socket.TCP_KEEPIDLE: 33, socket.TCP_KEEPCNT: 7}
    own = Connector(source_address=("127.0.0.3", 0), options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)])
    with client_of(
        server,
        socket_timeout=7,
        socket_connect_timeout=5,
        socket_keepalive=True,
        socket_keepalive_options=options,
        connector=own,
    ) as client:
        connection = client.connection_pool.get_connection()
        sock = connection._sock
        assert sock.gettimeout() == 7
        assert sock.getsockname()[0] == "127.0.0.3"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert {name: sock.getsockopt(socket.IPPROTO_TCP, name) for name in options} == options
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536  # Linux counts its own needs
        client.connection_pool.release(connection)


def test_without_keepalive_there_is_none(server):
    with client_of(server, socket_keepalive=False) as client:
        connection = client.connection_pool.get_connection()
        assert not connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        client.connection_pool.release(connection)


def test_a_dead_first_address_costs_no_more_than_the_delay(server, hole, monkeypatch):
    kit.names_lead_to(monkeypatch, hole, ("127.0.0.1", server))
    began = time.monotonic()
    with client_of(server, host="two.test", socket_connect_timeout=30) as client:
        assert client.ping()
    assert time.monotonic() - began < support.SOON


def test_a_refusal_is_its_connection_error():
    with (
        support.held_port() as held,
        client_of(held.getsockname()[1]) as client,
        pytest.raises(redis.ConnectionError, match=r"Error 111 connecting to 127\.0\.0\.1:") as caught,
    ):
        client.ping()
    refused = [each for each in kit.chain(caught.value) if isinstance(each, ConnectionRefusedError)]
    assert "failed after" in refused[-1].__notes__[0]


def test_silence_ends_at_the_deadline(hole):
    began = time.monotonic()
    with client_of(hole[1], socket_connect_timeout=0.2) as client, pytest.raises(redis.TimeoutError, match=LATE):
        client.ping()
    assert 0.2 <= time.monotonic() - began < support.SOON


def test_where_it_has_no_timeout_the_connectors_is_the_deadline(hole):
    settings = {"socket_timeout": None, "socket_connect_timeout": None, "connector": Connector(timeout=0.2)}
    with client_of(hole[1], **settings) as client, pytest.raises(redis.TimeoutError, match=LATE):
        client.ping()


def test_its_own_retries_go_on(monkeypatch):
    tries = []
    connect = Connector.connect
    monkeypatch.setattr(Connector, "connect", lambda *given: tries.append(given) or connect(*given))
    with client_of(1, retry=Retry(NoBackoff(), 2)) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    assert len(tries) == 3

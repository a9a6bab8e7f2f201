"""redis.asyncio with safe connects."""

import contextlib
import os
import socket
import time

import pytest

from safeconnect import ConnectMemory, Connector

from .. import support
from . import kit
from .kit import Trace, dead_addresses, leading_to, on_every_loop, run

redis = pytest.importorskip("redis.asyncio", reason="redis is not installed")
from redis.asyncio.retry import Retry  # noqa: E402 - only where redis is
from redis.backoff import NoBackoff  # noqa: E402
from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: E402
from redis.exceptions import TimeoutError as RedisTimeoutError  # noqa: E402

from safeconnect.integrations.redis_asyncio import Connection, SSLConnection  # noqa: E402 - it needs redis

ONCE = Retry(NoBackoff(), 0)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """Ports of a redis-server: plain, and TLS; and the file with its authority's certificate."""
    trustme = pytest.importorskip("trustme", reason="TLS tests need trustme")
    folder = tmp_path_factory.mktemp("redis")
    ca = trustme.CA()
    server = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    port, tls_port = kit.free_port(), kit.free_port()
    command = f"redis-server --bind 127.0.0.1 --port {port} --tls-port {tls_port} --tls-auth-clients no --dir {folder}"
    command += f" --tls-cert-file {folder}/cert.pem --tls-key-file {folder}/key.pem --tls-ca-cert-file {folder}/ca.pem"
    with kit.daemon(*command.split(), "--save", "", "--appendonly", "no", port=port):
        yield port, tls_port, str(folder / "ca.pem")


@contextlib.asynccontextmanager
async def client(kind=Connection, **arguments):
    pool = redis.ConnectionPool(connection_class=kind, **{"retry": ONCE} | arguments)
    async with redis.Redis.from_pool(pool) as made:
        yield made


async def ping(**arguments):
    async with client(**arguments) as made:
        return await made.ping()


def failing(expected, loop="asyncio", **arguments):
    return support.ran_into(expected, run, lambda: ping(**arguments), loop)


@on_every_loop
def test_an_exchange(redis_server, loop):
    key = f"safeconnect:{os.getpid()}"

    async def main():
        async with client(host="localhost", port=redis_server[0], decode_responses=True) as made:
            await made.set(key, "a" * 100_000)
            assert await made.get(key) == "a" * 100_000
            assert await made.delete(key) == 1

    run(main, loop)


@on_every_loop
def test_an_exchange_over_tls(redis_server, loop):
    _, port, authority = redis_server
    assert run(lambda: ping(kind=SSLConnection, host="localhost", port=port, ssl_ca_certs=authority), loop)
    failing(RedisConnectionError, loop, kind=SSLConnection, host="localhost", port=port)  # an unknown authority


def test_a_url(redis_server):
    async def main():
        pool = redis.ConnectionPool.from_url(f"redis://127.0.0.1:{redis_server[0]}/0", connection_class=Connection)
        async with redis.Redis.from_pool(pool) as made:
            assert await made.ping()

    run(main)


@on_every_loop
def test_a_dead_first_address_costs_the_attempt_delay(redis_server, loop, hole):
    began = time.monotonic()
    names = leading_to(hole, ("127.0.0.1", redis_server[0]))
    assert run(lambda: ping(host="db.test", connector=names), loop)
    assert 0.25 <= time.monotonic() - began < support.SOON


def test_a_memory_keeps_dead_addresses_out_of_the_way(redis_server, hole):
    trace, good = Trace(), ("127.0.0.1", redis_server[0])
    names = leading_to(hole, good, memory=ConnectMemory(), trace=trace)
    for _ in range(2):
        assert run(lambda: ping(host="db.test", connector=names))
    assert trace.targets == [hole, good, good]


def test_options_are_set(redis_server):
    seen = {}

    class Spy(Connection):
        async def _connect(self):
            await super()._connect()
            sock = self._writer.get_extra_info("socket")
            for level, name in [
                (socket.IPPROTO_TCP, "TCP_NODELAY"),
                (socket.SOL_SOCKET, "SO_KEEPALIVE"),
                (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
                (socket.SOL_SOCKET, "SO_SNDBUF"),
            ]:
                seen[name] = sock.getsockopt(level, getattr(socket, name))

    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)]
    arguments = {"kind": Spy, "host": "127.0.0.1", "port": redis_server[0], "connector": Connector(options=options)}
    keepalive = {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_KEEPIDLE: 77}}
    assert run(lambda: ping(**arguments, **keepalive))
    # Linux counts its own part of the buffer in (socket(7)).
    assert seen == {"TCP_NODELAY": 1, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 77, "SO_SNDBUF": 2 * 65536}
    assert run(lambda: ping(**arguments, socket_keepalive=False))
    assert seen["SO_KEEPALIVE"] == 0


def test_options_that_the_platform_refuses(redis_server):
    for refused in ({12345: 1}, {socket.TCP_KEEPIDLE: "long"}):
        keepalive = {"socket_keepalive": True, "socket_keepalive_options": refused}
        failing(RedisConnectionError, host="127.0.0.1", port=redis_server[0], **keepalive)


@on_every_loop
def test_a_refused_connect(loop):
    with support.held_port() as held:
        _, port = held.getsockname()
        error = failing(RedisConnectionError, loop, host="127.0.0.1", port=port)
        assert str(error) == f"Error 111 connecting to 127.0.0.1:{port}. Connection refused."
        (ours,) = (each for each in kit.chain(error) if isinstance(each, ConnectionRefusedError))
        assert ours.__notes__[0].startswith(f"127.0.0.1:{port}: failed after ")


def test_redis_pys_own_retry_goes_on(redis_server):
    with support.held_port() as held:
        trace = Trace(held)
        arguments = {"port": held.getsockname()[1], "retry": Retry(NoBackoff(), 1), "socket_timeout": 0.1}
        # The second connect succeeds, but the server there says nothing.
        failing(RedisTimeoutError, host="127.0.0.1", connector=Connector(trace=trace), **arguments)
        assert trace.targets == [held.getsockname()] * 2


@on_every_loop
@pytest.mark.parametrize(
    "arguments",
    [{"socket_connect_timeout": 0.4}, {"socket_connect_timeout": None, "socket_timeout": None, "connector": 0.4}],
    ids=["redis's timeout", "the connector's timeout"],
)
def test_one_deadline_for_all_addresses(loop, arguments):
    with dead_addresses() as holes:
        began = time.monotonic()
        names = leading_to(*holes, timeout=arguments.get("connector", 9), happy_eyeballs_delay=0.01)
        error = failing(RedisTimeoutError, loop, host="db.test", **arguments | {"connector": names})
        assert 0.4 <= time.monotonic() - began < 2.3  # six of them would be 2.4
        (ours,) = (each for each in kit.chain(error) if hasattr(each, "__notes__"))
        assert len(ours.__notes__) == 6


def test_the_deadline_covers_the_tls_handshake():
    with support.listening() as silent:  # the kernel accepts, and nobody answers
        _, port = silent.getsockname()
        began = time.monotonic()
        failing(RedisTimeoutError, kind=SSLConnection, host="127.0.0.1", port=port, socket_connect_timeout=0.3)
        assert 0.3 <= time.monotonic() - began < support.SOON


def test_an_unknown_name():
    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = failing(RedisConnectionError, host="db.test", port=7, connector=Connector(resolver=unknown))
    assert str(error) == "Error -2 connecting to db.test:7. Name or service not known."


@on_every_loop
def test_a_cancelled_connect_leaves_nothing_behind(loop, hole):
    trace = Trace()
    work = {"host": hole[0], "port": hole[1], "connector": Connector(trace=trace)}
    run(lambda: trace.cancel_with_the_first_attempt(ping(**work)), loop)


def test_a_wrong_connector():
    with pytest.raises(TypeError, match="connector must be a Connector, not object"):
        Connection(connector=object())

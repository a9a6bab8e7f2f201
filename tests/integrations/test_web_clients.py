"""Every HTTP client, through the client: exchanges, races, refusals, deadlines, and no connection to itself."""

import socket
import time
from ipaddress import ip_address

import pytest

import safeconnect

from .. import support
from . import kit, web_clients
from .web_clients import error_names, xmlrpc_client

every_client = pytest.mark.parametrize("fetch", web_clients.ALL, ids=lambda fetch: fetch.__name__)
every_client_with_proxies = pytest.mark.parametrize("fetch", web_clients.WITH_PROXIES, ids=lambda fetch: fetch.__name__)
OF_THE_STANDARD_LIBRARY = ("http_client", "urllib_request", "xmlrpc_client")


@pytest.fixture(autouse=True)
def client_is_there(fetch):
    if fetch.__name__ not in OF_THE_STANDARD_LIBRARY:
        pytest.importorskip(fetch.__name__, reason=f"{fetch.__name__} is not installed")


@pytest.fixture
def connects(monkeypatch):
    """The addresses that were connected to by a `Connector`."""
    came = []
    connect = safeconnect.Connector.connect

    def noting(self, address, *arguments):
        came.append(address)
        return connect(self, address, *arguments)

    monkeypatch.setattr(safeconnect.Connector, "connect", noting)
    return came


def answer(fetch, path="/hello"):
    return 7 if fetch is xmlrpc_client else f"GET {path}".encode()


@every_client
def test_an_ordinary_exchange(fetch, connects):
    with kit.web_server() as port:
        assert fetch(f"http://127.0.0.1:{port}/hello", 5) == answer(fetch)
    assert connects == [("127.0.0.1", port)]


@every_client
def test_a_name_that_changes_its_address(fetch):
    """DNS rebinding: the name was public when it was looked at, and is loopback when it is connected to."""
    looked_up = []

    def resolver(host, port, *_):
        looked_up.append(host)
        address = "192.88.98.1" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connector = safeconnect.Connector(timeout=5, resolver=resolver, allow=safeconnect.is_global_address)
    assert safeconnect.is_global_address(ip_address(resolver("rebinding.test", 80)[0][4][0]))
    with support.listening() as private:
        with pytest.raises(Exception, match=r"allow does not permit 127\.0\.0\.1"):
            fetch(f"http://rebinding.test:{private.getsockname()[1]}/", 5, connector=connector)
        private.settimeout(0)
        with pytest.raises(BlockingIOError):
            private.accept()
    assert len(looked_up) == 2


@every_client
def test_an_exchange_over_tls(fetch, connects):
    server, client = kit.certificates()
    with kit.web_server(server) as port:
        assert fetch(f"https://localhost:{port}/hello", 5, context=client) == answer(fetch)
    assert connects == [("localhost", port)]


@every_client_with_proxies
def test_an_exchange_through_a_proxy(fetch, connects):
    with kit.web_server() as port:
        # Nobody looks the name up but the proxy, which asks no one.
        body = fetch("http://nowhere.invalid/hello", 5, proxy=f"http://127.0.0.1:{port}")
    assert body in (b"GET http://nowhere.invalid/hello", b"GET http://nowhere.invalid:80/hello")
    assert connects == [("127.0.0.1", port)]


@every_client_with_proxies
def test_an_exchange_over_tls_through_a_proxy(fetch, connects):
    server, client = kit.certificates()
    with kit.web_server() as proxy, kit.web_server(server) as port:
        body = fetch(f"https://localhost:{port}/hello", 5, context=client, proxy=f"http://127.0.0.1:{proxy}")
    assert body == b"GET /hello"
    assert connects == [("127.0.0.1", proxy)]


@every_client
def test_a_dead_first_address_costs_no_more_than_the_delay(fetch, hole, monkeypatch):
    with kit.web_server() as port:
        kit.names_lead_to(monkeypatch, hole, ("127.0.0.1", port))
        began = time.monotonic()
        assert fetch(f"http://two.test:{port}/hello", 30) == answer(fetch)
        assert time.monotonic() - began < support.SOON


@every_client
def test_a_refusal_is_the_clients_own_error_and_tells_the_story(fetch):
    with support.held_port() as held:
        port = held.getsockname()[1]
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is asserted below
            fetch(f"http://127.0.0.1:{port}/", 5)
    assert name_of(caught.value) == error_names(fetch)[0]
    cause = caught_cause(caught.value, ConnectionRefusedError)
    assert cause.__notes__[0].startswith(f"127.0.0.1:{port}: failed after ")


@every_client
def test_silence_ends_at_the_deadline(fetch, hole):
    began = time.monotonic()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is asserted below
        fetch(f"http://127.0.0.1:{hole[1]}/", 0.2)
    assert 0.2 <= time.monotonic() - began < support.SOON
    assert name_of(caught.value) == error_names(fetch)[1]
    assert caught_cause(caught.value, TimeoutError)


@every_client
def test_where_the_client_has_no_timeout_the_connectors_is_the_deadline(fetch, hole):
    connector = safeconnect.Connector(timeout=0.2)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is asserted below
        fetch(f"http://127.0.0.1:{hole[1]}/", None, connector)
    assert name_of(caught.value) == error_names(fetch)[1]


@every_client
def test_the_connectors_settings_are_used(fetch, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    came = []

    def resolver(host, port, *_):
        came.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    connector = safeconnect.Connector(resolver=resolver, all_errors=True)
    with kit.web_server() as port:
        assert fetch(f"http://db.internal:{port}/hello", 5, connector) == answer(fetch)
    assert [str(host).strip("b'") for host in came] == ["db.internal"]


@every_client
def test_what_is_no_connector_is_refused(fetch):
    with pytest.raises(TypeError, match="connector must be a Connector, not int"):
        fetch("http://127.0.0.1:1/", 5, 7)


def name_of(error):
    return f"{type(error).__module__}.{type(error).__name__}"


def caught_cause(error, kind):
    found = [each for each in kit.chain(error) if isinstance(each, kind)]
    assert found, kit.chain(error)
    return found[-1]

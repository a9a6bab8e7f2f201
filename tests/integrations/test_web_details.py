"""What single HTTP clients let their users set arrives at the socket; what they promise about errors holds."""

import http.client
import pickle
import socket
import sys

import pytest

from safeconnect import Connector, NoDelay
from safeconnect.integrations import web

from . import kit

KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
QUIET = (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 7)


def is_set(sock, option):
    return sock.getsockopt(*option[:2]) == option[2]


@pytest.fixture
def port():
    with kit.web_server() as port:
        yield port


@pytest.fixture
def urllib3():
    pytest.importorskip("urllib3", "2", reason="urllib3 2 is not installed")
    from safeconnect.integrations import urllib3

    return urllib3


class TestUrllib3:
    @pytest.fixture
    def connection(self, urllib3, port):
        made = []

        def make(host="127.0.0.1", **keywords):
            made.append(urllib3.HTTPConnection(host, port, **keywords))
            return made[-1]

        yield make
        for each in made:
            each.close()

    def test_timeout_source_address_and_options_arrive(self, connection):
        own = Connector(options=[KEEPALIVE, (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)])
        client = connection(timeout=5, source_address=("127.0.0.3", 0), socket_options=[QUIET], connector=own)
        client.connect()
        assert client.sock.gettimeout() == 5
        assert client.sock.getsockname()[0] == "127.0.0.3"
        assert is_set(client.sock, KEEPALIVE)
        assert is_set(client.sock, QUIET), "the client's options come last"
        assert not client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_its_own_default_options_stay(self, connection):
        client = connection()
        client.connect()
        assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.sock.gettimeout() is None

    def test_a_tunnel_through_a_proxy_may_have_no_timeout(self, urllib3, port):
        server, client = kit.certificates()
        with (
            kit.web_server(server) as target,
            urllib3.ProxyManager(f"http://127.0.0.1:{port}", ssl_context=client) as manager,
        ):
            assert manager.request("GET", f"https://localhost:{target}/hello").data == b"GET /hello"

    def test_options_may_be_none(self, connection):
        client = connection(socket_options=None, connector=Connector(options=[NoDelay()], timeout=5))
        client.connect()
        assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.sock.gettimeout() is None, "the connector's timeout is for the connect"

    def test_a_host_in_brackets(self, connection, port):
        client = connection("[127.0.0.1]")
        client.connect()
        assert client.sock.getpeername() == ("127.0.0.1", port)

    @pytest.mark.parametrize("host", ["a" * 64 + ".test", "two..dots"])
    def test_a_host_that_is_no_name(self, connection, host):
        from urllib3.exceptions import LocationParseError

        with pytest.raises(LocationParseError, match=f"{host}', label empty or too long"):
            connection(host).connect()

    def test_a_name_that_is_unknown(self, connection, monkeypatch):
        from urllib3.exceptions import NameResolutionError

        def unknown(*_):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(NameResolutionError, match=r"Failed to resolve 'nowhere\.test'") as caught:
            connection("nowhere.test", timeout=5).connect()
        assert isinstance(caught.value.__cause__, socket.gaierror)
        assert caught.value.__notes__ == caught.value.__cause__.__notes__

    def test_the_recipe_for_ipv4_only(self, connection, monkeypatch, port):
        asked = []
        getaddrinfo = socket.getaddrinfo

        def noting(host, port, family=0, *more):
            asked.append(family)
            return getaddrinfo(host, port, family, *more)

        monkeypatch.setattr(socket, "getaddrinfo", noting)
        monkeypatch.setattr("urllib3.util.connection.allowed_gai_family", lambda: socket.AF_INET)
        client = connection("localhost", connector=Connector(resolution_delay=0.05))
        client.connect()
        assert client.sock.getpeername() == ("127.0.0.1", port)
        assert set(asked) == {socket.AF_INET}

    def test_the_audit_event_stays(self, connection, port):
        events = []
        listening = True

        def hook(name, arguments):
            if listening and name == "http.client.connect":
                events.append(arguments)

        sys.addaudithook(hook)
        try:
            client = connection()
            client.connect()
        finally:
            listening = False  # hooks cannot be taken away
        assert events == [(client, "127.0.0.1", port)]

    def test_its_own_retries_go_on(self, urllib3):
        from urllib3.exceptions import MaxRetryError, NewConnectionError

        with urllib3.PoolManager(retries=2) as manager, pytest.raises(MaxRetryError) as caught:
            manager.request("GET", "http://127.0.0.1:1/")
        assert isinstance(caught.value.reason, NewConnectionError)
        assert "failed after" in caught.value.reason.__notes__[0]

    def test_pools_of_both_schemes_are_safe(self, urllib3):
        manager = urllib3.PoolManager()
        for scheme, pool in (("http", urllib3.HTTPConnectionPool), ("https", urllib3.HTTPSConnectionPool)):
            assert type(manager.connection_from_url(f"{scheme}://127.0.0.1:8080")) is pool


class TestRequests:
    @pytest.fixture
    def requests(self):
        return pytest.importorskip("requests", "2.30", reason="requests is not installed")

    def test_the_connectors_options_and_the_requests_timeouts_arrive(self, requests, port):
        from safeconnect.integrations.requests import HTTPAdapter

        own = Connector(options=[KEEPALIVE], source_address=("127.0.0.3", 0))
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(connector=own))
            with session.get(f"http://127.0.0.1:{port}/", timeout=(5, 7), stream=True) as answer:
                sock = answer.raw.connection.sock or answer.raw._fp.fp.raw._sock  # whoever owns it now
                assert is_set(sock, KEEPALIVE)
                assert sock.getsockname()[0] == "127.0.0.3"
                assert sock.gettimeout() == 7

    def test_an_adapter_is_pickled_with_its_session(self, requests, port):
        from safeconnect.integrations.requests import HTTPAdapter
        from safeconnect.integrations.urllib3 import HTTPConnectionPool

        with requests.Session() as session:
            session.mount("http://", HTTPAdapter())
            with pickle.loads(pickle.dumps(session)) as again:
                adapter = again.get_adapter("http://127.0.0.1/")
                assert again.get(f"http://127.0.0.1:{port}/", timeout=5).ok
                assert isinstance(adapter.poolmanager.connection_from_url("http://127.0.0.1"), HTTPConnectionPool)

    def test_socks_proxies_are_left_to_it(self, requests):
        pytest.importorskip("socks", reason="PySocks is not installed")
        from safeconnect.integrations.requests import HTTPAdapter

        manager = HTTPAdapter().proxy_manager_for("socks5://127.0.0.1:1080")
        assert "urllib3.contrib.socks" in str(manager.pool_classes_by_scheme)


class TestHttpx:
    @pytest.fixture
    def httpx(self):
        return pytest.importorskip("httpx", "0.25.1", reason="httpx is not installed")

    def test_timeout_local_address_and_options_arrive(self, httpx, port):
        from safeconnect.integrations.httpx import HTTPTransport

        transport = HTTPTransport(local_address="127.0.0.3", socket_options=[KEEPALIVE], verify=False)
        with (
            httpx.Client(transport=transport, timeout=httpx.Timeout(5, read=7)) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/") as answer,
        ):
            sock = answer.extensions["network_stream"].get_extra_info("socket")
            assert sock.getsockname()[0] == "127.0.0.3"
            assert is_set(sock, KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.gettimeout() == 7

    def test_its_error_has_the_notes(self, httpx):
        from safeconnect.integrations.httpx import HTTPTransport

        with (
            httpx.Client(transport=HTTPTransport(verify=False)) as client,
            pytest.raises(httpx.ConnectError, match="Connection refused") as caught,
        ):
            client.get("http://127.0.0.1:1/")
        assert caught.value.__notes__[0].startswith("127.0.0.1:1: failed after ")

    def test_errors_of_other_kinds_pass(self, httpx):
        from safeconnect.integrations.httpx import HTTPTransport

        with httpx.Client(transport=HTTPTransport(verify=False)) as client, pytest.raises(httpx.UnsupportedProtocol):
            client.get("gopher://127.0.0.1:1/")


class TestStandardLibrary:
    def test_timeout_and_source_address_arrive(self, port):
        client = web.HTTPConnection("127.0.0.1", port, timeout=5, source_address=("127.0.0.3", 0))
        client.connect()
        assert client.sock.gettimeout() == 5
        assert client.sock.getsockname()[0] == "127.0.0.3"
        client.close()

    def test_classes_are_the_standard_ones_kind(self):
        assert issubclass(web.HTTPSConnection, http.client.HTTPSConnection)
        assert web.HTTPSConnection("127.0.0.1").port == 443

    @pytest.mark.parametrize(("given", "kept"), [({}, 9), ({"timeout": None}, None)], ids=["left out", "None"])
    def test_without_a_timeout_the_socket_has_the_processs(self, port, given, kept, monkeypatch):
        socket.setdefaulttimeout(9)
        try:
            client = web.HTTPConnection("127.0.0.1", port, connector=Connector(timeout=5), **given)
            client.connect()
        finally:
            socket.setdefaulttimeout(None)
        assert client.sock.gettimeout() == kept
        client.close()

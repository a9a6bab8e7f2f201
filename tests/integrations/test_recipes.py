"""The recipes of docs/clients.md for clients that take a connected socket, against servers of the same libraries."""

import contextlib
import socket
import threading
import time

import pytest

from .. import support
from ..clients.client import recipe
from ..namespace import ROOT
from . import kit

PAGE = ROOT / "docs" / "clients.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


@pytest.fixture(autouse=True)
def threads_end():
    """The libraries' threads outlive their connections by a moment."""
    others = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - others:
        if thread.name != "safeconnect lookup":
            thread.join(30)


@contextlib.contextmanager
def ssh_server():
    paramiko = pytest.importorskip("paramiko", reason="paramiko is not installed")

    class Anybody(paramiko.ServerInterface):
        def check_auth_password(self, username, password):
            return paramiko.AUTH_SUCCESSFUL

        def get_allowed_auths(self, username):
            return "password"

    def serve():
        # The client may leave in the middle of the handshake.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            sock, _ = listener.accept()
            transport = paramiko.Transport(sock)
            transport.add_server_key(key)
            transport.start_server(server=Anybody())
            transport.join()

    key = paramiko.ECDSAKey.generate()
    thread = threading.Thread(target=serve)
    with support.listening() as listener:
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def websocket_server():
    server = pytest.importorskip("websockets.sync.server", reason="websockets is not installed")

    def echo(connection):
        for message in connection:
            connection.send(message)

    with server.serve(echo, "127.0.0.1", 0) as serving:
        threading.Thread(target=serving.serve_forever).start()
        try:
            yield serving.socket.getsockname()[1]
        finally:
            serving.shutdown()


@pytest.fixture
def open_ssh(monkeypatch):
    paramiko = pytest.importorskip("paramiko", reason="paramiko is not installed")
    # The recipe trusts the keys that the system knows; the test server's is made up.
    made = paramiko.SSHClient.__init__

    def trusting(self):
        made(self)
        self.set_missing_host_key_policy(paramiko.AutoAddPolicy())

    monkeypatch.setattr(paramiko.SSHClient, "__init__", trusting)

    def opened(host, port):
        login = {"username": "me", "password": "secret", "allow_agent": False, "look_for_keys": False}
        return recipe("open_ssh")(host, port, **login)

    return opened


@pytest.fixture
def open_websocket():
    pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    return recipe("open_websocket")


def is_alive(client):
    if hasattr(client, "get_transport"):
        return client.get_transport().is_authenticated()
    client.send("hello")
    return client.recv(timeout=10) == "hello"


SERVERS = {"open_ssh": ssh_server, "open_websocket": websocket_server}
every_recipe = pytest.mark.parametrize("name", SERVERS)


@every_recipe
def test_an_ordinary_exchange(name, request):
    opened = request.getfixturevalue(name)
    with SERVERS[name]() as port, opened("127.0.0.1", port) as client:
        assert is_alive(client)


@every_recipe
def test_a_dead_first_address_costs_no_more_than_the_delay(name, request, hole, monkeypatch):
    opened = request.getfixturevalue(name)
    with SERVERS[name]() as port:
        kit.names_lead_to(monkeypatch, hole, ("127.0.0.1", port))
        began = time.monotonic()
        with opened("two.test", port) as client:
            assert is_alive(client)
            assert time.monotonic() - began < 4 * support.SOON  # the handshake of SSH is slow


@every_recipe
def test_a_refusal_is_the_standard_one(name, request):
    opened = request.getfixturevalue(name)
    with support.held_port() as held, pytest.raises(ConnectionRefusedError) as caught:
        opened(*held.getsockname())
    assert "failed after" in caught.value.__notes__[0]

"""Fetch URLs that users enter, with requests, but nothing from this host or the networks around it."""

import requests

from safeconnect import Connector, is_global_address, testing
from safeconnect.integrations.requests import HTTPAdapter


def fetch(url, allow=is_global_address):
    with requests.Session() as session:
        session.trust_env = False  # a proxy would look names up by itself
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(connector=Connector(allow=allow)))
        return session.get(url, timeout=5).text


def is_refused(url, **settings):
    try:
        fetch(url, **settings)
    except requests.ConnectionError as error:
        return "allow does not permit" in str(error)
    return False


def secret(peer):
    peer.recv()
    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecret")


def redirect(peer):
    if b"/moved" in peer.recv():
        peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % private.encode())
    else:
        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")


with (
    testing.serve(secret) as inside,
    testing.serve(redirect, host="127.0.0.2") as outside,
    testing.names({"rebound.test": "127.0.0.1"}),
):
    private = f"http://127.0.0.1:{inside.port}/"
    for host in ("127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "rebound.test"):
        assert is_refused(f"http://{host}:{inside.port}/"), host

    public = f"http://127.0.0.2:{outside.port}/"  # stands for a server on the Internet
    assert fetch(public, allow=["127.0.0.2"]) == "hello"
    assert is_refused(public + "moved", allow=["127.0.0.2"]), "the redirect was followed"
    assert not inside.connections

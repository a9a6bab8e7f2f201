"""smtplib, imaplib and poplib, through the client."""

import contextlib
import imaplib
import poplib
import smtplib
import socket
import ssl
import time

import pytest

from safeconnect import Connector
from safeconnect.integrations import mail

from .. import support
from . import kit

SMTP = (b"220 hello\r\n", {b"ehlo": b"250 hello\r\n", b"LHLO": b"250 hello\r\n", b"QUIT": b"221 bye\r\n"})
SMTP[1][b"lhlo"] = SMTP[1][b"ehlo"]
SMTP[1][b"noop"] = b"250 fine\r\n"
IMAP = (
    b"* OK hello\r\n",
    {
        b"CAPABILITY": b"* CAPABILITY IMAP4REV1\r\nTAG OK done\r\n",
        b"NOOP": b"TAG OK fine\r\n",
        b"LOGOUT": b"* BYE bye\r\nTAG OK done\r\n",
    },
)
POP = (b"+OK hello\r\n", {b"NOOP": b"+OK fine\r\n", b"QUIT": b"+OK bye\r\n"})

PLAIN = {"SMTP": SMTP, "LMTP": SMTP, "IMAP4": IMAP, "POP3": POP}
OVER_TLS = {"SMTP_SSL": (SMTP, "context"), "IMAP4_SSL": (IMAP, "ssl_context"), "POP3_SSL": (POP, "context")}
STANDARD = {"SMTP": smtplib, "LMTP": smtplib, "IMAP4": imaplib, "POP3": poplib}
every_client = pytest.mark.parametrize("name", PLAIN)


def make(name, host, port, **keywords):
    if "MTP" in name:
        keywords.setdefault("local_hostname", "localhost")
    return getattr(mail, name)(host, port, **keywords)


@contextlib.contextmanager
def ended(client):
    """The client, logged off at the end."""
    try:
        yield client
    finally:
        client.logout() if hasattr(client, "logout") else client.quit()


def is_answered(client):
    client.noop()
    return True


@every_client
def test_an_ordinary_exchange(name):
    connector = Connector(options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])
    with (
        kit.line_server(*PLAIN[name]) as port,
        ended(make(name, "127.0.0.1", port, timeout=5, connector=connector)) as client,
    ):
        assert isinstance(client, getattr(STANDARD[name], name))
        assert is_answered(client)
        assert client.sock.gettimeout() == 5
        assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize("name", OVER_TLS)
def test_an_exchange_over_tls(name):
    server, context = kit.certificates()
    protocol, keyword = OVER_TLS[name]
    with (
        kit.line_server(*protocol, context=server) as port,
        ended(make(name, "localhost", port, timeout=5, **{keyword: context})) as client,
    ):
        assert is_answered(client)
        assert client.sock.version().startswith("TLS")
        assert client.sock.gettimeout() == 5


@pytest.mark.parametrize("name", OVER_TLS)
def test_a_failed_handshake_leaves_nothing_open(name):
    server, _ = kit.certificates()
    protocol, keyword = OVER_TLS[name]
    stranger = ssl.create_default_context()
    with kit.line_server(*protocol, context=server) as port, pytest.raises(ssl.SSLError, match="verify failed"):
        make(name, "localhost", port, timeout=5, **{keyword: stranger})


@every_client
def test_a_dead_first_address_costs_no_more_than_the_delay(name, hole, monkeypatch):
    with kit.line_server(*PLAIN[name]) as port:
        kit.names_lead_to(monkeypatch, hole, ("127.0.0.1", port))
        began = time.monotonic()
        with ended(make(name, "two.test", port, timeout=30)) as client:
            assert time.monotonic() - began < support.SOON
            assert is_answered(client)


@every_client
def test_a_refusal_tells_the_story(name):
    with support.held_port() as held, pytest.raises(ConnectionRefusedError) as caught:
        make(name, *held.getsockname(), timeout=5)
    assert "failed after" in caught.value.__notes__[0]


@every_client
def test_silence_ends_at_the_deadline(name, hole):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        make(name, *hole, timeout=0.2)
    assert 0.2 <= time.monotonic() - began < support.SOON


@every_client
def test_without_a_timeout_the_connectors_is_the_deadline_of_the_connect_only(name, hole):
    connector = Connector(timeout=0.2)
    with pytest.raises(TimeoutError):
        make(name, *hole, connector=connector)
    with kit.line_server(*PLAIN[name]) as port, ended(make(name, "127.0.0.1", port, connector=connector)) as client:
        assert client.sock.gettimeout() is None


@every_client
def test_a_timeout_of_0_is_refused_as_ever(name):
    with pytest.raises(ValueError, match=r"Non-blocking socket \(timeout=0\) is not supported"):
        make(name, "127.0.0.1", 1, timeout=0)


def test_smtplib_connects_from_its_source_address_and_says_so(capsys):
    client = mail.SMTP(timeout=5, local_hostname="localhost", source_address=("127.0.0.3", 0))
    client.set_debuglevel(1)
    with kit.line_server(*SMTP) as port, ended(client):
        client.connect("127.0.0.1", port)
        assert client.sock.getsockname()[0] == "127.0.0.3"
    assert f"connect: to ('127.0.0.1', {port}) ('127.0.0.3', 0)" in capsys.readouterr().err

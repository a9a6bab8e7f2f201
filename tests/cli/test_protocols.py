"""The exchanges by which a server says that it is ready: bytes in, verdict out."""

import itertools
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect._wait.policy import NotReadyError
from safeconnect.cli import _protocols
from safeconnect.cli._protocols import LIMIT


def http(*ranges):
    return _protocols.http(_protocols.http_request("web", "/", None), ranges or ((200, 299),))


def postgresql():
    return _protocols.postgresql("me", "app")


def expecting():
    return _protocols.send_and_expect(b"PING", b"+PONG\r\n")


def over_tls():
    return _protocols.over_tls(http(), ssl.create_default_context(), "localhost")


EXCHANGES = [http, postgresql, _protocols.mysql, _protocols.redis, expecting, over_tls]


def verdict(exchange, pieces):
    """Return what an exchange says to these pieces and the end of the stream: nothing if the server is ready."""
    try:
        next(exchange)
        for data in itertools.chain(pieces, itertools.repeat(b"", 2)):
            exchange.send(data)
    except StopIteration:
        return ""
    except NotReadyError as error:
        return str(error)
    raise AssertionError("it reads on after the end of the stream")


def pg(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


def pg_error(code, text):
    return pg(b"E", b"SFATAL\0C" + code + b"\0M" + text + b"\0\0")


def packet(body):
    return len(body).to_bytes(3, "little") + b"\0" + body


CASES = [
    (http, b"HTTP/1.1 200 OK\r\n", ""),
    (http, b"HTTP/1.0 204\r\n", ""),
    (http, b"HTTP/1.1 299 \n", ""),
    (http, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", ""),
    (http, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Service Unavailable\r\n", "HTTP status 503 Service Unavailable"),
    (http, b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP status 302 Found"),
    (http, b"HTTP/1.1 101 Switching Protocols\r\n", "HTTP status 101 Switching Protocols"),
    (http, b"HTTP/1.1 500\r\n", "HTTP status 500"),
    (http, b"HTTP/1.1 500 " + b"x" * 300 + b"\n", f"HTTP status 500 {'x' * 200}..."),
    (http, b"HTTP/1.1 2000 OK\r\n", r"this is not HTTP: it sent b'HTTP/1.1 2000 OK\r\n'"),
    (http, b"SSH-2.0-x\r\n", r"this is not HTTP: it sent b'SSH-2.0-x\r\n'"),
    (http, b"HTTP/1.1 200 OK", "it closed the connection after b'HTTP/1.1 200 OK'"),
    (http, b"HTTP/1.1 100 Continue\r\n\r\n", r"it closed the connection after b'HTTP/1.1 100 Continue\r\n\r\n'"),
    (http, b"", "it closed the connection and sent nothing"),
    (postgresql, pg(b"R", b"\0\0\0\0"), ""),
    (postgresql, pg(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), ""),
    (postgresql, pg(b"N", b"SNOTICE\0\0") + pg(b"v", b"\0" * 8) + pg(b"R", b"\0\0\0\5salt"), ""),
    (postgresql, pg_error(b"28000", b"no pg_hba.conf entry"), ""),
    (postgresql, pg_error(b"3D000", b"database does not exist"), ""),
    (postgresql, pg_error(b"57P03", b"starting up"), "starting up (SQLSTATE 57P03)"),
    (postgresql, pg_error(b"53300", b"sorry, too many clients"), "sorry, too many clients (SQLSTATE 53300)"),
    (postgresql, pg(b"E", b""), "an error (SQLSTATE missing)"),
    (postgresql, b"Ecould not fork new process", "this is not PostgreSQL: it sent b'Ecoul'"),
    (postgresql, b"HTTP/1.1 400 Bad Request\r\n", "this is not PostgreSQL: it sent b'HTTP/'"),
    (postgresql, b"R\0\0\0\0", r"this is not PostgreSQL: it sent b'R\x00\x00\x00\x00'"),
    (postgresql, pg(b"R", b"\0\0\0\0")[:-1], r"it closed the connection after b'R\x00\x00\x00\x08\x00\x00\x00'"),
    (_protocols.mysql, packet(b"\x0a8.0.36\0" + b"\1" * 60), ""),
    (_protocols.mysql, packet(b"\xff\x10\x04Too many connections"), "Too many connections (error 1040)"),
    (_protocols.mysql, packet(b"\xff\x10\x04#08004Too many connections"), "Too many connections (error 1040)"),
    (_protocols.mysql, packet(b"\xff\x69\x04Host '10.0.0.1' is blocked"), "Host '10.0.0.1' is blocked (error 1129)"),
    (_protocols.mysql, packet(b"\xff"), "an error (error 0)"),
    (_protocols.mysql, packet(b"\x099.0\0"), r"this is not MySQL: it sent b'\x05\x00\x00\x00\t9.0\x00'"),
    (_protocols.mysql, packet(b"\x0a8.0"), r"this is not MySQL: it sent b'\x04\x00\x00\x00\n8.0'"),
    (_protocols.mysql, b"220 mail ready\r\n", "this is not MySQL: it sent b'220 '"),
    (_protocols.mysql, b"\0\0\0\0", r"this is not MySQL: it sent b'\x00\x00\x00\x00'"),
    (_protocols.redis, b"+PONG\r\n", ""),
    (_protocols.redis, b"-NOAUTH Authentication required.\r\n", ""),
    (_protocols.redis, b"-NOPERM User default has no permissions to run the 'ping' command\r\n", ""),
    (_protocols.redis, b"-LOADING Redis is loading the dataset\r\n", "LOADING Redis is loading the dataset"),
    (_protocols.redis, b"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN Link with MASTER is down"),
    (_protocols.redis, b"-BUSY Redis is busy running a script.\r\n", "BUSY Redis is busy running a script."),
    (_protocols.redis, b"-ERR max number of clients reached\r\n", "ERR max number of clients reached"),
    (_protocols.redis, b"-NOAUTHENTICATION\r\n", "NOAUTHENTICATION"),
    (_protocols.redis, b"HTTP/1.1 400 Bad Request\r\n", "this is not Redis: it sent b'HTTP/1.1 400 Bad Request'"),
    (_protocols.redis, b"+PONG", "it closed the connection after b'+PONG'"),
    (expecting, b"+PONG\r\n and more", ""),
    (expecting, b"-ERR\r\n", r"it sent b'-ERR\r\n' in the place of b'+PONG\r\n'"),
    (expecting, b"", r"it sent b'' in the place of b'+PONG\r\n'"),
]  # fmt: skip


@pytest.mark.parametrize(("exchange", "data", "text"), CASES)
def test_what_it_says(exchange, data, text):
    assert verdict(exchange(), [data]) == text


@pytest.mark.parametrize(("exchange", "data", "text"), [case for case in CASES if case[0] is not expecting])
def test_it_is_the_same_in_pieces(exchange, data, text):
    told = verdict(exchange(), [bytes([byte]) for byte in data])
    assert bool(told) == bool(text)
    assert told == text or told.startswith(("it closed", "this is not"))


def test_what_is_sent():
    assert next(http()).startswith(b"GET / HTTP/1.1\r\nHost: web\r\nUser-Agent: safeconnect/")
    assert next(postgresql()) == (b"\0\0\0\x3b\0\3\0\0user\0me\0database\0app\0application_name\0safeconnect\0\0")
    assert next(_protocols.mysql()) == b""
    assert next(_protocols.redis()) == b"*1\r\n$4\r\nPING\r\n"
    assert next(expecting()) == b"PING"


def test_it_is_sent_once():
    for exchange, beginning in ((http(), b"H"), (postgresql(), b"R"), (_protocols.redis(), b"+"), (expecting(), b"+")):
        assert next(exchange)
        assert exchange.send(beginning) == b""


def test_credentials():
    request = _protocols.http_request("web", "/", ("Aladdin", "open sesame"))
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in request  # RFC 7617, section 2
    assert request.endswith(b"\r\n\r\n")


def test_ranges_of_statuses():
    for status, text in ((200, ""), (399, ""), (401, ""), (400, "HTTP status 400")):
        assert verdict(http((200, 399), (401, 401)), [b"HTTP/1.1 %d\r\n" % status]) == text


PIECES = st.lists(st.binary(max_size=200))
# What gets further into an exchange than any bytes do.
BEGINNINGS = st.sampled_from(
    [b"", b"HTTP/1.1 ", b"HTTP/1.1 100\n", b"R\0\0\0\x08", b"E\0\0\0\x20C", b"\x08\0\0\0\xff", b"-", b"\x16\3\3\0\x7a"]
)


@pytest.mark.parametrize("exchange", EXCHANGES)
@given(beginning=BEGINNINGS, pieces=PIECES)
def test_any_bytes_have_a_verdict(exchange, beginning, pieces):
    assert isinstance(
        verdict(exchange(), [beginning, *pieces] if beginning else [each for each in pieces if each]), str
    )


@pytest.mark.parametrize("exchange", [http, postgresql, _protocols.mysql, _protocols.redis, over_tls])
@pytest.mark.parametrize("data", [b"x", b"\n", b"\xff\xff\0\0", b"N\0\0\0\4", b"HTTP/1.1 100\n\n"], ids=repr)
def test_none_reads_without_a_limit(exchange, data):
    pieces = itertools.repeat(data * 4096)
    told = verdict(exchange(), itertools.islice(pieces, 10 * LIMIT // len(data * 4096)))
    assert "it closed the connection" not in told
    assert told

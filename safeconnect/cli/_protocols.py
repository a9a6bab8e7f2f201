"""The exchanges by which a server says that it is ready, without a driver: HTTP, PostgreSQL, MySQL and Redis.

Nothing here does I/O. An `Exchange` is a generator: it yields what to send (b"" for nothing), gets what came then (b""
at the end of the stream), returns when the server is ready and raises `NotReadyError` when it is not. It reads at most
`LIMIT` bytes; how long it may take is up to the caller. `over_tls` makes of any exchange one through TLS.
"""

from __future__ import annotations

import re
import ssl
import struct
from base64 import b64encode
from functools import partial

from .. import __version__
from .._text import shown
from .._wait.policy import Greeting, NotReadyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    Exchange = Generator[bytes, bytes, None]
    Reading = Generator[bytes, bytes, bytes]

LIMIT = 65_536  # bytes of one exchange
_RECORD = 16_384  # bytes: TLS has at most so many in a record
_MOST_SENT = 64  # bytes of what a server sent, in a message
_LONGEST_TEXT = 200  # characters of a server's message
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})(?: ([^\r\n]*))?\r?\n")
_SWITCHING = 101
_FINAL = 200


class _Stream:
    """The bytes to be sent before the next read, and those that have come and were not taken yet."""

    def __init__(self) -> None:
        self._sending = b""
        self._received = bytearray()
        self._first = b""  # for messages
        self._count = 0

    def send(self, data: bytes) -> None:
        self._sending += data

    def _more(self) -> Generator[bytes, bytes, None]:
        sending, self._sending = self._sending, b""
        data = yield sending
        if not data:
            came = f" after {_sent(self._first)}" if self._first else " and sent nothing"
            raise NotReadyError(f"it closed the connection{came}")
        self._first += data[: _MOST_SENT - len(self._first)]
        self._count += len(data)
        if self._count > LIMIT:
            raise NotReadyError(f"it sent more than {LIMIT} bytes, which began with {_sent(self._first)}")
        self._received += data

    def exactly(self, count: int) -> Reading:
        while len(self._received) < count:
            yield from self._more()
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def line(self) -> Reading:
        """Read up to and with the next line feed."""
        position = -1
        while (position := self._received.find(b"\n", max(position, 0))) < 0:
            position = len(self._received)
            yield from self._more()
        return (yield from self.exactly(position + 1))


def _sent(data: bytes | bytearray) -> str:
    return shown(bytes(data[:_MOST_SENT]))


def _text(data: bytes) -> str:
    text = data.decode(errors="replace").strip()
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def send_and_expect(sending: bytes, expected: bytes) -> Exchange:
    """Send bytes; ready if the first that come are those expected."""
    greeting = Greeting(expected)
    while greeting.missing:
        data = yield sending
        sending = b""
        greeting.received(data[: greeting.missing])
    if not greeting.is_right:
        raise NotReadyError(greeting.text)


def http_request(host: str, path: str, credentials: tuple[str, str] | None) -> bytes:
    """Return a GET request: RFC 9112, section 3; the credentials are Basic's, RFC 7617.

    :param host: the value of the field Host.
    :param path: the path with its query, encoded.
    """
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"User-Agent: safeconnect/{__version__}", "Accept: */*"]
    if credentials is not None:
        lines.append(f"Authorization: Basic {b64encode(':'.join(credentials).encode()).decode()}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("ascii")


def http(request: bytes, statuses: Sequence[tuple[int, int]]) -> Exchange:
    """Ready if the response has one of the statuses, in ranges. A redirect is its own status, and not followed.

    Responses of status 1xx may come first and say nothing yet: RFC 9110, section 15.2.
    """
    stream = _Stream()
    stream.send(request)
    while True:  # no longer than the limit of the stream allows
        line = yield from stream.line()
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise NotReadyError(f"this is not HTTP: it sent {_sent(line)}")
        status = int(found[1])
        if status >= _FINAL or status == _SWITCHING:
            break
        while (yield from stream.line()).strip():
            pass
    if not any(first <= status <= last for first, last in statuses):
        raise NotReadyError(f"HTTP status {status} {_text(found[2] or b'')}".rstrip())


def postgresql(user: str, database: str) -> Exchange:
    """Ready if the server asks for a password, lets the user in, or refuses this user.

    That is what pg_isready does: any answer to a StartupMessage but the error 57P03 (cannot_connect_now: it starts,
    stops or recovers) means that it accepts connections. Unlike there, 53300 (too_many_connections) means: not yet.
    TLS is not asked for: a server that insists on it says so in an error, and is ready. The user need not exist; the
    name stands in the server's log.

    Sources: https://www.postgresql.org/docs/current/protocol-message-formats.html,
    https://www.postgresql.org/docs/current/errcodes-appendix.html, and PQping in
    https://www.postgresql.org/docs/current/libpq-connect.html.
    """
    names = ("user", user, "database", database, "application_name", "safeconnect")
    parameters = b"".join(name.encode() + b"\0" for name in names) + b"\0"
    stream = _Stream()
    stream.send(struct.pack(">II", len(parameters) + 8, 3 << 16) + parameters)
    while True:
        head = yield from stream.exactly(5)
        kind, size = head[:1], int.from_bytes(head[1:], "big") - 4
        if kind not in b"RENv" or not 0 <= size <= LIMIT:
            raise NotReadyError(f"this is not PostgreSQL: it sent {_sent(head)}")
        body = yield from stream.exactly(size)
        if kind == b"R":  # AuthenticationOk, or what it wants to see
            return
        if kind == b"E":
            fields = {field[:1]: field[1:] for field in body.split(b"\0")}
            code, text = _text(fields.get(b"C", b"")), _text(fields.get(b"M", b""))
            if code in ("", "57P03", "53300"):
                raise NotReadyError(f"{text or 'an error'} (SQLSTATE {code or 'missing'})")
            return
        # A notice, or the version of the protocol that it has: an answer follows.


def mysql() -> Exchange:
    """Ready if the server greets with a packet of protocol version 10. An error in its place says why it does not.

    Source: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html, and there
    Protocol::HandshakeV10 and ERR_Packet. MariaDB sends the same: https://mariadb.com/kb/en/connection/.
    """
    stream = _Stream()
    head = yield from stream.exactly(4)
    size = int.from_bytes(head[:3], "little")
    if not 0 < size <= LIMIT:
        raise NotReadyError(f"this is not MySQL: it sent {_sent(head)}")
    body = yield from stream.exactly(size)
    if body[:1] == b"\xff":
        text = re.sub(rb"^#.{5}", b"", body[3:], flags=re.DOTALL)  # without the SQLSTATE, where there is one
        raise NotReadyError(f"{_text(text) or 'an error'} (error {int.from_bytes(body[1:3], 'little')})")
    if body[:1] != b"\n" or b"\0" not in body[1:]:  # version 10, and the end of the server's version
        raise NotReadyError(f"this is not MySQL: it sent {_sent(head + body)}")


def redis() -> Exchange:
    """Ready if the server answers PING, or refuses it to a user without a password or permission.

    Any other error, such as LOADING, MASTERDOWN, BUSY, MISCONF, or that there are too many clients, means: not yet.

    Sources: https://redis.io/docs/latest/commands/ping/ and
    https://redis.io/docs/latest/develop/reference/protocol-spec/.
    """
    stream = _Stream()
    stream.send(b"*1\r\n$4\r\nPING\r\n")
    line = (yield from stream.line()).rstrip()
    if line == b"+PONG" or line.partition(b" ")[0] in (b"-NOAUTH", b"-NOPERM"):
        return
    if line[:1] == b"-":
        raise NotReadyError(_text(line[1:]))
    raise NotReadyError(f"this is not Redis: it sent {_sent(line)}")


def over_tls(exchange: Exchange, context: ssl.SSLContext, name: str) -> Exchange:
    """Return the exchange through TLS.

    :param name: the name or address in the server's certificate.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        if (yield from _repeated(tls.do_handshake, incoming, outgoing)) is not None:
            raise NotReadyError("it closed the connection during the TLS handshake")
        data = next(exchange)
        while True:
            if data:
                tls.write(data)
            data = exchange.send((yield from _repeated(partial(tls.read, _RECORD), incoming, outgoing)) or b"")
    except StopIteration:
        return
    except ssl.SSLCertVerificationError as error:
        raise NotReadyError(f"its certificate is not accepted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise NotReadyError(f"TLS failed: {error.reason or error}") from None


def _repeated(
    call: Callable[[], bytes | None], incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> Generator[bytes, bytes, bytes | None]:
    """Call until TLS has what it needs; return the result, or b"" at the end of the stream."""
    while True:
        try:
            return call()
        except ssl.SSLWantReadError:
            data = yield outgoing.read()
            if data:
                incoming.write(data)
            else:
                incoming.write_eof()
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

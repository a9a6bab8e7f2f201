"""The targets of ``safeconnect wait``: ``HOST:PORT`` and URLs. Nothing here connects to anything.

The syntax is that of RFC 3986. What a scheme does not use is refused, not ignored, but for the query of a database: it
has settings for a driver, as ``?sslmode=require``. Credentials are never printed.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys

from .._text import shown
from ._argument_types import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Statuses = Sequence[tuple[int, int]]

OK_STATUSES: Statuses = ((200, 299),)
_LOWEST_STATUS, _HIGHEST_STATUS = 200, 599
# sockaddr_un has room for so many bytes and a NUL: unix(7).
_LONGEST_PATH = 107 if sys.platform == "linux" else 103

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.DOTALL,
)
_ENDPOINT = re.compile(r"(?P<host>\[[^][]*\]|[^][:]*)(?::(?P<port>[^:]*))?")
_SECRETS = re.compile(r"(//).*@", re.DOTALL)  # a password may hold a slash, wrongly
_HOST_ALONE = re.compile(r"(?:\[[^][]*\]|[^][:]*)(?::\d*)?", re.ASCII)
_STATUSES = re.compile(r"(\d{3})(?:-(\d{3}))?", re.ASCII)
_REQUEST_SAFE = "/%:@!$&'()*+,;=~?"  # in a path with its query: RFC 3986, section 3.3 and 3.4


class _Scheme:
    """The parts that a URL may have.

    :ivar port: the default; None if a port must be given.
    :ivar path: what follows the port, as a pattern.
    """

    __slots__ = ("has_credentials", "has_query", "is_tls", "path", "port")

    def __init__(
        self,
        port: int | None,
        path: str,
        *,
        has_query: bool = False,
        has_credentials: bool = True,
        is_tls: bool = False,
    ) -> None:
        self.port = port
        self.path = path
        self.has_query = has_query
        self.has_credentials = has_credentials
        self.is_tls = is_tls


_ANY = ".*"
_DATABASE = "(/[^/]*)?"
_SCHEMES = {
    "tcp": _Scheme(None, "/?", has_credentials=False),
    "http": _Scheme(80, _ANY, has_query=True),
    "https": _Scheme(443, _ANY, has_query=True, is_tls=True),
    "postgresql": _Scheme(5432, _DATABASE, has_query=True),
    "postgres": _Scheme(5432, _DATABASE, has_query=True),
    "mysql": _Scheme(3306, _DATABASE, has_query=True),
    "mariadb": _Scheme(3306, _DATABASE, has_query=True),
    "redis": _Scheme(6379, _DATABASE, has_query=True),
    "rediss": _Scheme(6379, _DATABASE, has_query=True, is_tls=True),
}


class WaitTarget:
    """A target of ``safeconnect wait``. Not a dataclass: these take long to load.

    :ivar scheme: of the URL; ``"tcp"`` for ``HOST:PORT``.
    :ivar path: of the Unix socket; of an HTTP request, with its query; or the name of a database, with a slash.
    :ivar credentials: user and password; None if there are none.
    """

    __slots__ = ("credentials", "host", "path", "port", "scheme")

    def __init__(
        self, scheme: str, host: str = "", port: int = 0, path: str = "", credentials: tuple[str, str] | None = None
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.credentials = credentials

    def _parts(self) -> tuple[object, ...]:
        return self.scheme, self.host, self.port, self.path, self.credentials

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WaitTarget) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None for a Unix socket."""
        return None if self.scheme == "unix" else (self.host, self.port)

    @property
    def has_exchange(self) -> bool:
        """Return True if the scheme names a protocol, in which the server itself says that it is ready."""
        return self.scheme not in ("tcp", "unix")

    @property
    def is_tls(self) -> bool:
        """Return True if the exchange goes through TLS."""
        return self.has_exchange and _SCHEMES[self.scheme].is_tls

    @property
    def endpoint(self) -> str:
        """Host and port as people write them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the field Host (RFC 9110, section 7.2): without a scope id, and in ASCII."""
        host = self.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
        return host if self.port == _SCHEMES[self.scheme].port else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.scheme == "tcp":
            return self.endpoint
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.endpoint}{self.path}"


def wait_target(text: str) -> WaitTarget:
    """Return the target in ``HOST:PORT``, as `target` reads it, or in a URL.

    :raises argparse.ArgumentTypeError: it is neither.

    >>> str(wait_target("tcp://[::1]:80")), str(wait_target("https://me:secret@example.org/health?full"))
    ('[::1]:80', 'https://example.org:443/health?full')
    """
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "unix" and not rest.isdecimal():  # that is a port of the host with the name unix
        return WaitTarget("unix", path=_socket_path(rest))
    if "://" not in text:
        return WaitTarget("tcp", *target(text))
    found = _URL.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT or SCHEME://HOST, not {_shown(text)}")
    from urllib.parse import quote  # for URLs alone, here and below

    scheme = found["scheme"].lower()
    known = _SCHEMES.get(scheme)
    if known is None:
        raise argparse.ArgumentTypeError(
            f"unknown scheme {shown(scheme)} in {_shown(text)}: there are unix, {', '.join(_SCHEMES)}"
        )
    _check_parts(text, scheme, known, found)
    userinfo, at, endpoint = found["authority"].rpartition("@")
    path = found["path"]
    if scheme.startswith("http"):
        path += found["query"] or ""
        path = quote(path if path.startswith("/") else f"/{path}", safe=_REQUEST_SAFE, errors="surrogateescape")
    elif path == "/":
        path = ""
    host, port = _host_and_port(text, scheme, endpoint, known.port)
    return WaitTarget(scheme, host, port, path, _credentials(text, userinfo) if at else None)


def _socket_path(rest: str) -> str:
    """Return the path in what follows ``unix:``, which is not percent-decoded."""
    if not hasattr(socket, "AF_UNIX"):
        raise argparse.ArgumentTypeError("Python has no Unix sockets on this system")
    path = rest.removeprefix("//")
    if not path or (rest.startswith("//") and not path.startswith("/")):
        raise argparse.ArgumentTypeError(f"expected unix:PATH or unix:///PATH, not {shown('unix:' + rest)}")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise argparse.ArgumentTypeError(
            f"a Unix socket has a path of at most {_LONGEST_PATH} bytes, not {shown(path)}"
        )
    return path


def _check_parts(text: str, scheme: str, known: _Scheme, found: re.Match[str]) -> None:
    """Refuse the parts of a URL that its scheme does not have."""
    from urllib.parse import unquote

    path = found["path"]
    rest = path + (found["query"] or "") + (found["fragment"] or "")
    is_cut = known.path != _ANY or _HOST_ALONE.fullmatch(found["authority"]) is None
    if "@" in rest and "@" not in found["authority"] and is_cut:
        raise argparse.ArgumentTypeError(f"write / as %2F, ? as %3F and # as %23 in a password, in {_shown(text)}")
    if re.fullmatch(known.path, path, re.DOTALL) is None:
        raise argparse.ArgumentTypeError(f"{scheme}:// takes no path {shown(path)} in {_shown(text)}")
    if known.path == _DATABASE and not unquote(path).isprintable():
        raise argparse.ArgumentTypeError(f"the name of a database takes no control character in {_shown(text)}")
    if found["query"] is not None and not known.has_query:
        raise argparse.ArgumentTypeError(f"{scheme}:// takes nothing after '?' here: leave it out of {_shown(text)}")
    if found["fragment"] is not None:
        raise argparse.ArgumentTypeError(f"nothing is sent of what follows '#': leave it out of {_shown(text)}")
    if "@" in found["authority"] and not known.has_credentials:
        raise argparse.ArgumentTypeError(f"{scheme}:// takes no user and password in {_shown(text)}")


def _host_and_port(text: str, scheme: str, endpoint: str, default: int | None) -> tuple[str, int]:
    """Return what stands between the credentials and the path."""
    found = _ENDPOINT.fullmatch(endpoint)
    if found is not None:
        if "%" in found["host"] and not found["host"].startswith("["):
            raise argparse.ArgumentTypeError(f"write the host without '%' in {_shown(text)}")
        if not found["host"]:
            raise argparse.ArgumentTypeError(f"there is no host in {_shown(text)}")
        port = found["port"] or default  # RFC 3986, section 3.2.3: the port may be empty
        if port is None:
            raise argparse.ArgumentTypeError(f"{scheme}:// needs a port, {scheme}://HOST:PORT, in {_shown(text)}")
        endpoint = f"{found['host']}:{port}"
    try:
        return target(endpoint)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, in {_shown(text)}") from None


def _credentials(text: str, userinfo: str) -> tuple[str, str]:
    from urllib.parse import unquote

    user, _, password = (unquote(part) for part in userinfo.partition(":"))
    if ":" in user or not (user + password).isprintable():
        # RFC 7617, section 2: a user has no colon, and neither of them a control character.
        raise argparse.ArgumentTypeError(f"a user takes no colon and no control character in {_shown(text)}")
    return user, password


def _shown(text: str) -> str:
    """Return a URL for a message, without user and password."""
    return shown(_SECRETS.sub(r"\1***@", text))


def statuses(text: str) -> Statuses:
    """Return the ranges in ``200-399,401``.

    >>> statuses("200-399,401")
    ((200, 399), (401, 401))
    """
    ranges = []
    for part in text.split(","):
        found = _STATUSES.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not _LOWEST_STATUS <= first <= last <= _HIGHEST_STATUS:
            raise argparse.ArgumentTypeError(
                f"expected statuses of {_LOWEST_STATUS} to {_HIGHEST_STATUS} such as 200-399,401, not {shown(text)}"
            )
        ranges.append((first, last))
    return tuple(ranges)


def wrong_use(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the arguments of ``wait`` as a whole; nothing if they fit together."""
    talking = next((each for each in arguments.targets if each.has_exchange), None)
    schemes = {each.scheme for each in arguments.targets}
    for is_wrong, message in (
        (
            arguments.gone and arguments.expect,
            "--expect is not allowed with --gone: nobody is there to send anything",
        ),
        (arguments.send and not arguments.expect, "--send needs --expect: the answer that says that the server is up"),
        (
            arguments.expect and talking,
            f"--expect is not allowed with {talking}: the protocol itself has the answer; take tcp://HOST:PORT",
        ),
        (
            arguments.gone and talking,
            f"--gone is not allowed with {talking}: it waits until nobody listens at a port; take tcp://HOST:PORT",
        ),
        (arguments.status and not schemes & {"http", "https"}, "--status needs a target http:// or https://"),
        (
            arguments.insecure and not any(each.is_tls for each in arguments.targets),
            "--insecure needs a target https:// or rediss://",
        ),
    ):
        if is_wrong:
            return message
    return ""

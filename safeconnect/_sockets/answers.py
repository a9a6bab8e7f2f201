"""A lookup to make in another thread, or by a user-supplied resolver, and how to read the answer."""

from __future__ import annotations

import _socket
import errno
import socket
from socket import IPPROTO_TCP, SOCK_STREAM

from ..ports import MAX_PORT
from . import resolve
from .lifecycle import scoped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..typing import Candidate, Resolver, SockAddr

# linux/net.h: flags that some resolvers add to the type of the socket, as socket() takes them.
_TYPE_FLAGS = getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)


class Question:
    """A lookup to make elsewhere or later: the function to call, its arguments, and how to read the answer.

    :param resolver: called instead of `socket.getaddrinfo`, with its signature.
    :raises TypeError: as `resolve.look_up`.
    :raises ValueError: as `resolve.look_up`.
    """

    __slots__ = ("_address", "_tail", "arguments", "resolver")

    def __init__(self, address: tuple[Any, ...], resolver: Resolver | None = None, family: int = 0) -> None:
        if type(address) is not tuple:
            resolve.check_address(address)
        self._tail: SockAddr
        host, port, self._tail = (*address, ()) if len(address) == 2 else resolve.with_scope(address)
        if type(port) is not int or not 0 <= port <= MAX_PORT:
            resolve.check_address(address)
            resolve.check_port(port)
        self._address = host, port
        encoded = resolve.encode(host) if type(host) is str else host
        resolve.check_host(encoded)
        self.resolver: Resolver = resolver or socket.getaddrinfo
        self.arguments: tuple[Any, ...] = (host, port, family, SOCK_STREAM)
        if self.resolver is resolve.STANDARD:
            # The function that it calls itself, without its conversions. The hash of an enumeration's member is slow.
            self.resolver = _socket.getaddrinfo
            self.arguments = (encoded, port, int(family), _socket.SOCK_STREAM)

    def ask(self) -> Sequence[Candidate]:
        """Call the resolver in this thread.

        :raises OSError: as `resolve.look_up`.
        """
        try:
            found = self.resolver(*self.arguments)
        except OSError as error:
            raise self.noted(error)  # noqa: B904 - it is the same error
        return self.read(found)

    def noted(self, error: OSError) -> OSError:
        """Return the error of a lookup with a note that says what was looked up."""
        return resolve.noted(error, *self._address)

    def read(self, found: Any) -> Sequence[Candidate]:
        """Return the candidates of an answer.

        :raises OSError: there are none.
        """
        try:
            answer = found if self.resolver is _socket.getaddrinfo else usable(found)
            return resolve.read(resolve.of_family(self.arguments[2], answer), self._tail)
        except OSError as error:
            raise self.noted(error)  # noqa: B904 - it is the same error


def usable(found: Iterable[Any]) -> list[Candidate]:
    """Return the candidates for TCP of an answer that is not the standard library's own, as socket() takes them.

    A resolver that ignores hints answers for UDP as well. A type of 0 means any type, as some resolvers leave it
    (c-ares), so it is a stream here. socket.create_connection() would fail with it: ESOCKTNOSUPPORT.

    :raises OSError: there are candidates, but none for TCP, or none whose zone this host knows.
    """
    answer = list(found)
    streams: list[Candidate] = []
    failure: OSError | None = None
    for family, kind, proto, name, sockaddr in answer:
        kind_alone = kind & ~_TYPE_FLAGS
        if kind_alone != SOCK_STREAM and (kind_alone or proto not in {0, IPPROTO_TCP}):
            continue
        try:
            streams.append((family, kind or SOCK_STREAM, proto, name, scoped(family, sockaddr)))
        except OSError as error:
            failure = error  # other addresses may be usable
    if streams or not answer:
        return streams
    if failure is not None:
        raise failure
    types = ", ".join(sorted({_type_name(each[1]) for each in answer}))
    raise OSError(errno.ESOCKTNOSUPPORT, f"the resolver has no address for TCP (SOCK_STREAM), only for {types}")


def _type_name(kind: int) -> str:
    try:
        return socket.SocketKind(kind).name
    except ValueError:
        return f"type {kind}"

"""Read the answer of a resolver that may not be the standard library's own."""

from __future__ import annotations

import errno
import socket
from socket import IPPROTO_TCP, SOCK_STREAM

from .lifecycle import scoped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..typing import Candidate

# linux/net.h: flags that some resolvers add to the type of the socket, as socket() takes them.
_TYPE_FLAGS = getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)


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

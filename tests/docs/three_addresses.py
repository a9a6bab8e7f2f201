"""The client whose traceback the documentation shows: a name with three addresses, none of which answers."""

import socket

from safeconnect import create_connection

from ..support import black_hole


def resolver(host, port, *_):
    found = [(socket.AF_INET6, ("2001:db8::7", port, 0, 0)), (socket.AF_INET, ("127.0.0.7", port))]
    found.append((socket.AF_INET, ("127.0.0.8", port)))
    return [(family, socket.SOCK_STREAM, 6, "", sockaddr) for family, sockaddr in found]


if __name__ == "__main__":
    with black_hole(host="127.0.0.8", port=5432):
        create_connection(("db.internal", 5432), timeout=1, resolver=resolver)

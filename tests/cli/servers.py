"""Scripted servers for ``safeconnect wait``."""

from safeconnect import testing

from .terminal import written

ONE_TRY = ("--timeout", "0", "--attempt-timeout", "20")
RESPONSE = b"HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def answering(answer, *, ends=b"\r\n\r\n", requests=None, serve=testing.serve, **settings):
    """A server that reads up to the end of a request and then sends an answer."""

    def handle(peer):
        request = b""
        while not request.endswith(ends):
            data = peer.recv()
            if not data:
                return
            request += data
        if requests is not None:
            requests.append(request)
        peer.sendall(answer)

    return serve(handler=handle, **settings)


def url(server, scheme="http", rest="/"):
    return f"{scheme}://{written(server.address)}{rest}"

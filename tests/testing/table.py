"""Each fault and what clients make of it. Run as a script it prints the table of ``docs/testing.md``."""

import asyncio
import http.client
import socket
import sys
import time

import trio
import urllib3

import safeconnect
from safeconnect import testing

TIMEOUT = 0.3
FAULTS = [
    "refused",
    "blackhole",
    "self_connecting",
    "silent",
    "resets",
    "half_closes",
    "drips",
    "crossed_replies",
    "never_reads",
]
# At once, the reset may come in connect or after it. A busy client would find several bytes after short pauses; those
# that read whole lines find them anyhow.
ARGUMENTS = {"resets": ["first_byte"], "drips": [0.5], ("drips", "http.client"): [0.01], ("drips", "urllib3"): [0.01]}
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def stdlib(address, timeout):
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(REQUEST)
        return sock.recv(100)


def by_http_client(address, timeout):
    connection = http.client.HTTPConnection(*address[:2], timeout=timeout)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def by_urllib3(address, timeout):
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        return pool.request("GET", f"http://{address[0]}:{address[1]}/").data


def by_asyncio(address, timeout):
    async def main():
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(*address[:2])
            try:
                writer.write(REQUEST)
                return await reader.read(100)
            finally:
                writer.transport.abort()

    return asyncio.run(main())


def by_trio(address, timeout):
    async def main():
        with trio.fail_after(timeout):
            async with await trio.open_tcp_stream(*address[:2]) as stream:
                await stream.send_all(REQUEST)
                return await stream.receive_some(100)

    return trio.run(main)


def ours(address, timeout):
    with safeconnect.create_connection(address, timeout) as sock:
        sock.sendall(REQUEST)
        return sock.recv(100)


# What they raise besides OSErrors.
ERRORS = (urllib3.exceptions.HTTPError, http.client.HTTPException, trio.TooSlowError, trio.BrokenResourceError)
CLIENTS = {
    "socket": stdlib,
    "http.client": by_http_client,
    "urllib3": by_urllib3,
    "asyncio": by_asyncio,
    "trio": by_trio,
    "safeconnect": ours,
}


def outcome(fault, client, timeout=TIMEOUT):
    """What a client makes of a fault: the class of its error or what it has got, and the seconds that took."""
    arguments = ARGUMENTS.get((fault, client), ARGUMENTS.get(fault, ()))
    with getattr(testing, fault)(*arguments) as made:
        began = time.monotonic()
        try:
            got = CLIENTS[client](made.address, timeout)
        except OSError as error:
            while isinstance(error, ExceptionGroup) or (type(error) is OSError and error.__cause__ is not None):
                error = error.__cause__ or error.exceptions[0]  # trio's
            what = type(error).__name__
        except ExceptionGroup as group:
            what = type(group.exceptions[0]).__name__
        except (
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            trio.TooSlowError,
            trio.BrokenResourceError,
        ) as error:
            what = type(error).__name__
        else:
            what = said(got)
        return what, time.monotonic() - began


def said(got):
    if got == REQUEST[: len(got)] and got:
        return "its own request" if len(got) > 1 else "a byte"
    return "nothing" if not got else repr(got)


def cell(what, seconds):
    text = what if " " in what or what == "nothing" else f"`{what}`"
    return f"{text}, {seconds * 1000:.0f} ms" if seconds >= 0.01 else text


def main():
    print(f"| fault | {' | '.join(CLIENTS)} |")
    print("|---|" + "---|" * len(CLIENTS))
    for fault in FAULTS:
        print(f"| `{fault}` | {' | '.join(cell(*outcome(fault, client)) for client in CLIENTS)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

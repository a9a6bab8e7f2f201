"""What clients make of a connection to themselves, and whether a server can start afterwards.

Each client connects in a host of its own (`safeconnect.testing.exposed_host`) whose only source port is the target's,
where nobody listens: a plain connect meets itself at once. It closes what it gets in its ordinary way, and a server
then tries to bind the port with SO_REUSEADDR. Linux with user namespaces.
"""

import shutil
import sys

from measure import PACKAGES, arguments, report, show, target

from safeconnect.testing import exposed_host, namespaces_unavailable

_SOCKET = """
    sock = {call}
    print("connected to itself" if sock.getsockname()[:2] == sock.getpeername()[:2] else "connected")
    sock.close()
"""
_STREAM = """
    async def main():
        stream = await {call}
        own, peer = stream{own}, stream{peer}
        print("connected to itself" if own[:2] == peer[:2] else "connected")
        {close}
    {run}
"""
_TRIO = {"own": ".socket.getsockname()", "peer": ".socket.getpeername()", "close": "await stream.aclose()"}
_ANYIO = {
    "own": ".extra(anyio.abc.SocketAttribute.local_address)",
    "peer": ".extra(anyio.abc.SocketAttribute.remote_address)",
    "close": "await stream.aclose()",
    "run": "anyio.run(main)",
}
_WRITER = {
    "own": "[1].get_extra_info('sockname')",
    "peer": "[1].get_extra_info('peername')",
    "close": "stream[1].close(); await stream[1].wait_closed()",
    "run": "asyncio.run(main())",
}
_RACED = {"own": ".getsockname()", "peer": ".getpeername()", "close": "stream.close()", "run": "asyncio.run(main())"}
_FOUND = "[(socket.AF_INET, socket.SOCK_STREAM, 6, '', address)]"
CLIENTS = {
    "standard library": _SOCKET.format(call="socket.create_connection(address, 5)"),
    "urllib3": _SOCKET.format(call="urllib3.util.connection.create_connection(address, 5)"),
    "asyncio": _STREAM.format(call="asyncio.open_connection(*address)", **_WRITER),
    "aiohappyeyeballs": _STREAM.format(call=f"aiohappyeyeballs.start_connection({_FOUND})", **_RACED),
    "trio": _STREAM.format(call="trio.open_tcp_stream(*address)", run="trio.run(main)", **_TRIO),
    "anyio": _STREAM.format(call="anyio.connect_tcp(*address)", **_ANYIO),
    "safeconnect": _SOCKET.format(call="safeconnect.create_connection(address, 5)"),
    "safeconnect.asyncio": _STREAM.format(call="safeconnect.asyncio.open_connection(address)", **_WRITER),
    "safeconnect.trio": _STREAM.format(
        call="safeconnect.trio.open_tcp_stream(*address)", run="trio.run(main)", **_TRIO
    ),
}
_CONNECT = """
import asyncio, socket, sys
import aiohappyeyeballs, anyio, trio, urllib3
import safeconnect.asyncio, safeconnect.trio
address = ("127.0.0.1", int(sys.argv[1]))
try:
{code}
except OSError as error:
    print(type(error).__name__)
"""
_BIND = """
import socket, sys
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", int(sys.argv[1])))
        print("at once")
    except OSError as error:
        print(error.strerror)
"""


def meet(code: str) -> dict[str, str]:
    """What the client says, and what the server."""
    with exposed_host() as host:
        said = host.run_python(_CONNECT.format(code=code), str(host.port), check=True).stdout.strip()
        return {"connect": said, "server": host.run_python(_BIND, str(host.port), check=True).stdout.strip()}


def meet_curl() -> dict[str, str]:
    """The same with curl, which takes its own request for the answer."""
    with exposed_host() as host:
        done = host.run(["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{host.port}/"])
        said = done.stderr.strip() or f"exit status {done.returncode}"
        return {"connect": said, "server": host.run_python(_BIND, str(host.port), check=True).stdout.strip()}


def main() -> None:
    """Let every client meet itself, tell what it made of that, and write it down."""
    options = arguments(__doc__, rounds=1, quick=1).parse_args()
    reason = namespaces_unavailable()
    if reason:
        sys.exit(reason)
    results = {name: meet(code) for name, code in CLIENTS.items()}
    packages = [*PACKAGES, "aiohappyeyeballs", "anyio", "trio"]
    if shutil.which("curl"):
        results["curl"] = meet_curl()
    rows = [(name, said["connect"], said["server"]) for name, said in results.items()]
    show("A connect that can only meet itself", ("client", "connect", "server binds"), rows)
    ours = [said for name, said in results.items() if name.startswith("safeconnect")]
    met = all(said["server"] == "at once" and said["connect"].endswith("Error") for said in ours)
    report(
        "meetings", options, results, [target("safeconnect: an error, and the port is free at once", met=met)], packages
    )


if __name__ == "__main__":
    main()

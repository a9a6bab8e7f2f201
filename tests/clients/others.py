"""Event loops, and clients of remote calls, shells, names, proxies and mail."""

import asyncio

from .client import Client
from .listener import HOST


def anyio(at):
    import anyio

    async def main():
        await (await anyio.connect_tcp(HOST, at.port)).aclose()

    anyio.run(main)


def trio(at):
    import trio

    async def main():
        await (await trio.open_tcp_stream(HOST, at.port)).aclose()

    trio.run(main)


def trio_options(at, integrations):
    import trio

    from safeconnect.integrations.trio import SocketFactory

    async def main():
        trio.socket.set_custom_socket_factory(SocketFactory(at.port))
        await (await trio.open_tcp_stream(HOST, at.port)).aclose()

    trio.run(main)


def twisted(at):
    from twisted.internet import defer, endpoints, protocol, reactor

    endpoint = endpoints.TCP4ClientEndpoint(reactor, HOST, at.port, timeout=5)
    done = endpoint.connect(protocol.Factory.forProtocol(protocol.Protocol))
    done.addBoth(lambda _: reactor.crash())
    assert isinstance(done, defer.Deferred)
    reactor.run(installSignalHandlers=False)


def twisted_socket(at, connector):
    import socket

    from twisted.internet import protocol, reactor

    with connector.connect((HOST, at.port), 5) as sock:
        reactor.adoptStreamConnection(sock.fileno(), socket.AF_INET, protocol.Factory.forProtocol(protocol.Protocol))


def grpc(at):
    import grpc

    with grpc.insecure_channel(at.address) as channel:
        at.until_connected(grpc.channel_ready_future(channel).result, 30)


def thrift(at):
    from thrift.transport.TSocket import TSocket

    TSocket(HOST, at.port).open()


def thrift_socket(at, connector):
    from thrift.transport.TSocket import TSocket

    transport = TSocket(HOST, at.port)
    transport.setHandle(connector.connect((HOST, at.port), 5))
    transport.write(b"message")


def paramiko(at):
    import paramiko

    paramiko.SSHClient().connect(HOST, at.port, "me", "secret", timeout=5, allow_agent=False, look_for_keys=False)


def paramiko_socket(at, connector):
    import paramiko

    sock = connector.connect((HOST, at.port), 5)
    paramiko.SSHClient().connect(HOST, at.port, "me", "secret", sock=sock, allow_agent=False, look_for_keys=False)


def asyncssh(at):
    import asyncssh

    asyncio.run(asyncssh.connect(HOST, at.port, connect_timeout=5, known_hosts=None, config=None).__aenter__())


def asyncssh_socket(at, connector):
    import asyncssh

    sock = connector.connect((HOST, at.port), 5)
    asyncio.run(asyncssh.connect(sock=sock, known_hosts=None, config=None).__aenter__())


def telnetlib3(at):
    import telnetlib3

    asyncio.run(telnetlib3.open_connection(HOST, at.port))


def pysocks(at):
    import socks

    with socks.socksocket() as sock:
        sock.set_proxy(socks.SOCKS5, HOST, at.port)
        sock.settimeout(5)
        sock.connect(("192.0.2.1", 80))


def python_socks(at):
    from python_socks.sync import Proxy

    Proxy.from_url(f"socks5://{at.address}").connect("192.0.2.1", 80, timeout=5)


def python_socks_asyncio(at):
    from python_socks.async_.asyncio import Proxy

    async def main():
        await Proxy.from_url(f"socks5://{at.address}").connect("192.0.2.1", 80, timeout=5)

    asyncio.run(main())


def dnspython(at):
    import dns.message
    import dns.query

    dns.query.tcp(dns.message.make_query("example.org", "A"), HOST, 5, at.port)


def dnspython_socket(at, connector):
    import dns.message
    import dns.query

    sock = connector.connect((HOST, at.port), 5)
    sock.settimeout(0)
    dns.query.tcp(dns.message.make_query("example.org", "A"), HOST, 5, at.port, sock=sock)


def dnspython_asyncio(at):
    import dns.asyncquery
    import dns.message

    asyncio.run(dns.asyncquery.tcp(dns.message.make_query("example.org", "A"), HOST, 5, at.port))


def aiosmtplib(at):
    import aiosmtplib

    asyncio.run(aiosmtplib.SMTP(hostname=HOST, port=at.port, timeout=5).connect())


def aioftp(at):
    import aioftp

    asyncio.run(aioftp.Client(connection_timeout=5).connect(HOST, at.port))


CLIENTS = (
    Client("anyio", "anyio", anyio, instead="`safeconnect.anyio`"),
    Client("trio", "trio", trio, options=trio_options, instead="`safeconnect.trio`"),
    Client(
        "Twisted",
        "Twisted",
        twisted,
        socket=twisted_socket,
        instead="[`adoptStreamConnection()`](#clients-that-take-a-socket)",
    ),
    Client("grpcio", "grpcio", grpc, instead="compiled"),
    Client("thrift", "thrift", thrift, socket=thrift_socket, instead="[`setHandle()`](#clients-that-take-a-socket)"),
    Client("paramiko", "paramiko", paramiko, socket=paramiko_socket, instead="[`sock=`](#paramiko)"),
    Client("asyncssh", "asyncssh", asyncssh, socket=asyncssh_socket, instead="[`sock=`](#clients-that-take-a-socket)"),
    Client("telnetlib3", "telnetlib3", telnetlib3),
    Client("PySocks", "PySocks", pysocks, instead="use python-socks"),
    Client("python-socks", "python-socks", python_socks),
    Client("python-socks, asyncio", "python-socks", python_socks_asyncio),
    Client(
        "dnspython, TCP",
        "dnspython",
        dnspython,
        socket=dnspython_socket,
        instead="[`sock=`](#clients-that-take-a-socket)",
    ),
    Client("dnspython, TCP, asyncio", "dnspython", dnspython_asyncio),
    Client("aiosmtplib", "aiosmtplib", aiosmtplib),
    Client("aioftp", "aioftp", aioftp),
)

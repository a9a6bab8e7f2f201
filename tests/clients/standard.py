"""The clients of Python's standard library."""

import asyncio

from .client import PYTHON, Client
from .listener import HOST


def create_connection(at):
    import socket

    socket.create_connection((HOST, at.port), 5).close()


def socket_connect(at):
    import socket

    with socket.socket() as sock:
        sock.connect((HOST, at.port))


def socket_options(at, integrations):
    import socket

    with socket.socket() as sock:
        for option in integrations.socket_options(at.port):
            sock.setsockopt(*option)
        sock.connect((HOST, at.port))


def open_connection(at):
    async def main():
        _, writer = await asyncio.open_connection(HOST, at.port)
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())


def sock_connect(at):
    import socket

    async def main():
        with socket.socket() as sock:
            sock.settimeout(0)
            await asyncio.get_running_loop().sock_connect(sock, (HOST, at.port))

    asyncio.run(main())


def http_client(at):
    import http.client

    http.client.HTTPConnection(HOST, at.port, timeout=5).request("GET", "/")


def web_connection(at, connector):
    from safeconnect.integrations.web import HTTPConnection

    HTTPConnection(HOST, at.port, timeout=5, connector=connector).request("GET", "/")


def urllib_request(at):
    import urllib.request

    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(at.url, timeout=5)


def web_handler(at, connector):
    import urllib.request

    from safeconnect.integrations.web import HTTPHandler

    urllib.request.build_opener(HTTPHandler(connector=connector)).open(at.url, timeout=5)


def xmlrpc_client(at):
    import xmlrpc.client

    xmlrpc.client.ServerProxy(at.url).system.listMethods()


def web_transport(at, connector):
    import xmlrpc.client

    from safeconnect.integrations.web import Transport

    xmlrpc.client.ServerProxy(at.url, transport=Transport(connector=connector)).system.listMethods()


def smtplib(at):
    import smtplib

    smtplib.SMTP(HOST, at.port, timeout=5)


def mail_smtp(at, connector):
    from safeconnect.integrations.mail import SMTP

    SMTP(HOST, at.port, timeout=5, connector=connector)


def imaplib(at):
    import imaplib

    imaplib.IMAP4(HOST, at.port, timeout=5)


def mail_imap(at, connector):
    from safeconnect.integrations.mail import IMAP4

    IMAP4(HOST, at.port, timeout=5, connector=connector)


def poplib(at):
    import poplib

    poplib.POP3(HOST, at.port, timeout=5)


def mail_pop(at, connector):
    from safeconnect.integrations.mail import POP3

    POP3(HOST, at.port, timeout=5, connector=connector)


def ftplib(at):
    import ftplib

    ftplib.FTP(timeout=5).connect(HOST, at.port)


def socket_handler(at):
    import logging.handlers

    logging.handlers.SocketHandler(HOST, at.port).createSocket()


def syslog_handler(at):
    import logging.handlers
    import socket

    logging.handlers.SysLogHandler((HOST, at.port), socktype=socket.SOCK_STREAM)


def multiprocessing_client(at):
    from multiprocessing.connection import Client

    Client((HOST, at.port)).close()


WEB = "(#httpclient-urllibrequest-xmlrpcclient)"
MAIL = "(#smtplib-imaplib-poplib)"
ASYNCIO = "[in asyncio](asyncio-and-trio.md)"

CLIENTS = (
    Client("socket: create_connection", PYTHON, create_connection, instead="[ours](usage.md)"),
    Client(
        "socket: connect",
        PYTHON,
        socket_connect,
        options=socket_options,
        instead="[options](#clients-that-take-socket-options)",
    ),
    Client("asyncio: open_connection", PYTHON, open_connection, instead=ASYNCIO),
    Client("asyncio: sock_connect", PYTHON, sock_connect, instead=ASYNCIO),
    Client("http.client", PYTHON, http_client, integration=web_connection, instead=f"[`HTTPConnection`]{WEB}"),
    Client("urllib.request", PYTHON, urllib_request, integration=web_handler, instead=f"[`HTTPHandler`]{WEB}"),
    Client("xmlrpc.client", PYTHON, xmlrpc_client, integration=web_transport, instead=f"[`Transport`]{WEB}"),
    Client("smtplib", PYTHON, smtplib, integration=mail_smtp, instead=f"[`SMTP`]{MAIL}"),
    Client("imaplib", PYTHON, imaplib, integration=mail_imap, instead=f"[`IMAP4`]{MAIL}"),
    Client("poplib", PYTHON, poplib, integration=mail_pop, instead=f"[`POP3`]{MAIL}"),
    Client("ftplib", PYTHON, ftplib, instead="[`patched()`](#ftplib)"),
    Client("logging, SocketHandler", PYTHON, socket_handler),
    Client("logging, SysLogHandler", PYTHON, syslog_handler),
    Client("multiprocessing", PYTHON, multiprocessing_client),
)

"""The standard library's mail with safe connects: smtplib, imaplib, poplib.

For programs that make their own connections and do not want to patch the whole process (`install`, `patched`). Each
class is the standard one of its name with one more keyword:

:param connector: a `Connector`, for ``retry``, ``memory``, ``options``. Its timeout applies to the connect if the
    client has none. None: a plain one.
:raises TypeError: ``connector`` is not a `Connector`.

Every other argument is the standard one's. ``timeout`` is a deadline for names and all addresses together; after the
connect it is, as usual, the timeout of each read and write. The errors of a failed connect are those of
`create_connection`.
"""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import ssl
import sys

from .._connect.blocking import Connector
from .._sockets.lifecycle import DEFAULT_TIMEOUT
from . import _common


class _SMTP(smtplib.SMTP):
    """Comes between `smtplib.SMTP` and its subclasses, which wrap its socket or make their own."""

    connector: Connector

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        _check_timeout(timeout)
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)  # type: ignore[attr-defined]
        return _common.connect(self.connector, (host, port), timeout, self.source_address)


class SMTP(_common.Client, _SMTP):
    """`smtplib.SMTP` that never connects to itself, races addresses and keeps one deadline.

    >>> mail = SMTP(timeout=5, local_hostname="localhost")  # mail.connect(host, port) connects
    """


class SMTP_SSL(_common.Client, smtplib.SMTP_SSL, _SMTP):  # noqa: N801 - smtplib's name
    """`smtplib.SMTP_SSL` with the connect of `SMTP`."""


class LMTP(_common.Client, smtplib.LMTP, _SMTP):
    """`smtplib.LMTP` with the connect of `SMTP`; smtplib itself connects to Unix sockets."""


class IMAP4(_common.Client, imaplib.IMAP4):
    """`imaplib.IMAP4` that never connects to itself, races addresses and keeps one deadline."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        _check_timeout(timeout)
        sys.audit("imaplib.open", self, self.host, self.port)
        # In imaplib, None is the default timeout and not a wait without a limit.
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        return _common.connect(self.connector, (self.host or None, self.port), timeout)


class IMAP4_SSL(IMAP4, imaplib.IMAP4_SSL):  # noqa: N801 - imaplib's name
    """`imaplib.IMAP4_SSL` with the connect of `IMAP4`."""

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        return _wrapped(super()._create_socket(timeout), self.ssl_context, self.host)


class POP3(_common.Client, poplib.POP3):
    """`poplib.POP3` that never connects to itself, races addresses and keeps one deadline."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        _check_timeout(timeout)
        return _common.connect(self.connector, (self.host, self.port), timeout)


class POP3_SSL(POP3, poplib.POP3_SSL):  # noqa: N801 - poplib's name
    """`poplib.POP3_SSL` with the connect of `POP3`."""

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        return _wrapped(super()._create_socket(timeout), self.context, self.host)  # type: ignore[attr-defined]  # not in typeshed


def _check_timeout(timeout: float | None) -> None:
    # The message of all three modules, word for word.
    if timeout is not None and not timeout:
        raise ValueError("Non-blocking socket (timeout=0) is not supported")


def _wrapped(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise

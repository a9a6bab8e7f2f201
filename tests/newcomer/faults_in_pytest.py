"""Test a client of your own against three ways in which a connection fails."""

import socket

import pytest


class AskError(Exception):
    pass


def ask(address, timeout):
    """The client under test: it wants a reply of ten bytes."""
    try:
        with socket.create_connection(address, timeout) as sock:
            sock.sendall(b"question?\n")
            reply = b""
            while data := sock.recv(10 - len(reply)):
                reply += data
    except OSError as error:
        raise AskError("no connection") from error
    if len(reply) < 10:
        raise AskError("half a reply")
    return reply


def test_it_works(safeconnect_echo):
    assert ask(safeconnect_echo.address, timeout=5) == b"question?\n"


def test_nobody_listens(safeconnect_refused):
    with pytest.raises(AskError, match="no connection"):
        ask(safeconnect_refused.address, timeout=5)


def test_no_answer_to_the_connect(safeconnect_blackhole):
    with pytest.raises(AskError, match="no connection"):
        ask(safeconnect_blackhole.address, timeout=0.2)


def test_the_reply_ends_early(safeconnect_half_closes_factory):
    server = safeconnect_half_closes_factory(b"half")
    with pytest.raises(AskError, match="half a reply"):
        ask(server.address, timeout=5)

"""The faults of `safeconnect.testing`: what a block keeps until its end must not hold who has run into it."""

import socket

from safeconnect import create_connection, testing
from safeconnect.testing import names

from .kit import drops


def test_a_name_that_fails():
    error = socket.gaierror(socket.EAI_AGAIN, "try again")
    error.add_note("as the test wants it")
    with names({"db.test": error}):
        for timeout in (None, 5, 5):
            drops(lambda: socket.getaddrinfo("db.test", 80), socket.gaierror)
            drops(lambda: create_connection(("db.test", 80), timeout), socket.gaierror)  # noqa: B023 - called at once
    assert error.__notes__ == ["as the test wants it"]
    assert error.__traceback__ is None


class UncopiedError(OSError):
    def __init__(self, *, text):
        super().__init__(text)


def test_a_name_whose_error_cannot_be_copied():
    with names({"db.test": UncopiedError(text="no")}):
        error = None
        try:
            socket.getaddrinfo("db.test", 80)
        except UncopiedError as caught:
            error = str(caught)
    assert error == "no"


def test_a_connect_that_the_guard_refuses():
    def call():
        with testing.guard():
            create_connection(("192.0.2.1", 80), 5)

    drops(call, PermissionError)


def test_a_script_without_an_end():
    drops(lambda: testing.Script({"192.0.2.1": "silent"}).connect(timeout=None), AssertionError)

"""A server, a blocking connection to it, and tests that every driver runs."""

import inspect

import pytest

from safeconnect import PersistentConnection

from ..replying import ReplyingServer
from .kit import AT_ONCE, RUNNERS


@pytest.fixture
def server():
    with ReplyingServer() as replying_server:
        yield replying_server


@pytest.fixture
def connection(server):
    with PersistentConnection(server.address, retry=AT_ONCE) as persistent:
        yield persistent


@pytest.fixture(params=RUNNERS)
def connect(request):
    """In an asynchronous test: the class of persistent connections of each driver, which also runs the test."""
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run = arguments.pop("connect")
    run(lambda connect: pyfuncitem.obj(connect=connect, **arguments))
    return True

"""The text in SAFECONNECT: what is right, what is wrong, what it becomes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import ConnectMemory, Connector, KeepAlive, Retry, UserTimeout
from safeconnect._run.settings import _KINDS, chosen, read, written
from safeconnect._run.traces import Traces


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("1", {}),
        ("on", {}),
        ("timeout=5s", {"timeout": "5s"}),
        (" timeout=5 ,, retry=3\n", {"timeout": "5", "retry": "3"}),
        ("memory trace", {"memory": "on", "trace": "stderr"}),
        ('trace="a, b.jsonl",memory', {"trace": "a, b.jsonl", "memory": "on"}),
        ("trace=/a=b", {"trace": "/a=b"}),
    ],
)
def test_right(text, settings):
    assert read(text) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeout", "timeout: expected a value, as in timeout=..."),
        ("timeout=1,timeout=2", "timeout: it is given twice"),
        ("nonsense=1", "there is no setting 'nonsense', only timeout, retry,"),
        ("ja", "there is no setting 'ja'"),
        ("memory = on", "expected NAME=VALUE at '= on'"),
        ("timeout = 5", "timeout: expected a value, as in timeout=..."),
        ('trace="a', "expected NAME=VALUE at 'trace=\"a'"),
        ('trace="a"b', "expected NAME=VALUE at 'trace=\"a\"b'"),
        ("=5", "expected NAME=VALUE at '=5'"),
        ("1,timeout=5", "there is no setting '1'"),
        ("timeout=", "timeout: expected seconds, 0 or more, or a time such as 500ms or 1m, not ''"),
        ("timeout=soon", "timeout: expected seconds"),
        ("timeout=0", "timeout: expected more than 0 seconds"),
        ("attempt-timeout=none", "attempt-timeout: expected seconds"),
        ("retry=0", "retry: expected a number of rounds, 1 or more, or 'deadline', not '0'"),
        ("retry=²", "retry: expected a number of rounds"),
        ("retry=10000000", "retry: expected a number of rounds"),
        ("keepalive=1s", "keepalive: expected 2 to 32767 seconds, not '1s'"),
        ("user-timeout=0", "user-timeout: expected more than 0 seconds"),
        ("user-timeout=1000000h", "user-timeout: seconds must be 0.001-"),
        ("memory=off", "memory: expected nothing or 'on', not 'off'"),
        ('clients="redis,nonsense"', "clients: expected names among asyncio, "),
        ("trace=", "trace: expected stderr or the name of a file"),
        ("trace=\x1b", "trace: the name of the file cannot have quotes or control characters: '\\x1b'"),
    ],
)
def test_wrong(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        chosen(read(text))


def test_what_install_is_given():
    text = 'timeout=5s,retry=3,attempt-timeout=500ms,keepalive=30s,user-timeout=10,memory,clients="redis,urllib3",trace'
    arguments = chosen(read(text))
    connector = arguments.pop("connector")
    assert arguments == {"clients": ("redis", "urllib3")}
    assert isinstance(connector.memory, ConnectMemory)
    assert isinstance(connector.trace, Traces)
    assert connector == Connector(
        timeout=5,
        retry=Retry(attempts=3),
        attempt_timeout=0.5,
        options=[KeepAlive.detecting(30), UserTimeout(10)],
        memory=connector.memory,
        trace=connector.trace,
    )


def test_without_settings_it_is_given_nothing():
    assert chosen(read("1")) == {}


def test_until_the_deadline_and_without_a_limit():
    assert chosen({"retry": "deadline", "timeout": "none"})["connector"] == Connector(
        timeout=None, retry=Retry(attempts=None)
    )


@given(st.dictionaries(st.sampled_from(list(_KINDS)), st.text(st.characters(exclude_characters='"'))))
def test_what_is_written_is_read(settings):
    assert read(written(settings)) == settings

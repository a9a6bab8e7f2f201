"""The text in SAFECONNECT: what is right, what is wrong, what it becomes."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import ConnectMemory, Connector, KeepAlive, Retry, UserTimeout
from safeconnect._run.settings import _KINDS, chosen, read, written
from safeconnect._run.traces import Traces

from .. import support
from ..support import linux_only


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
        ("timeout=0", "timeout: expected 0.001 to 2147483 seconds, not '0'"),
        ("timeout=1e9", "timeout: expected 0.001 to 2147483 seconds, not '1e9'"),
        ("timeout=0.0009", "timeout: expected 0.001 to 2147483 seconds, not '0.0009'"),
        ("attempt-timeout=none", "attempt-timeout: expected seconds"),
        ("retry=0", "retry: expected a number of rounds, 1 or more, or 'deadline', not '0'"),
        ("retry=²", "retry: expected a number of rounds"),
        ("retry=10000000", "retry: expected a number of rounds"),
        ("keepalive=1s", "keepalive: expected 2 to 32767 seconds, not '1s'"),
        ("attempt-timeout=2147484", "attempt-timeout: expected 0.001 to 2147483 seconds"),
        ("user-timeout=0", "user-timeout: expected 0.001 to 2147483 seconds"),
        ("user-timeout=1000000h", "user-timeout: expected 0.001 to 2147483 seconds"),
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


@linux_only
def test_a_relative_file_in_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="trace: the folder in which the file is to be is gone"):
        chosen({"trace": "file"})
    assert isinstance(chosen({"trace": "/file"})["connector"].trace, Traces)


@pytest.mark.parametrize("seconds", ["0.001", "2147483"])
def test_the_least_and_the_most_time_can_be_waited(seconds):
    text = f"timeout={seconds},attempt-timeout={seconds}"
    with support.listening() as server:
        for settings in (text, text + ",retry=2"):
            connector = chosen(read(settings))["connector"]
            with suppress(TimeoutError):  # a millisecond may be too short
                connector.connect(server.getsockname()).close()


@given(st.dictionaries(st.sampled_from(list(_KINDS)), st.text(st.characters(exclude_characters='"'))))
def test_what_is_written_is_read(settings):
    assert read(written(settings)) == settings

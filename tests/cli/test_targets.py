"""The targets of `wait`: their syntax, and the options that go with them."""

import argparse
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect.cli import _targets
from safeconnect.cli._targets import WaitTarget, statuses, wait_target

from .terminal import call

needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Python has no Unix sockets here")


@pytest.mark.parametrize(
    ("text", "target", "written"),
    [
        ("db:5432", WaitTarget("tcp", "db", 5432), "db:5432"),
        (":80", WaitTarget("tcp", "localhost", 80), "localhost:80"),
        ("tcp://db:5432", WaitTarget("tcp", "db", 5432), "db:5432"),
        ("TCP://[::1]:80/", WaitTarget("tcp", "::1", 80), "[::1]:80"),
        ("unix:80", WaitTarget("tcp", "unix", 80), "unix:80"),
        ("http://web", WaitTarget("http", "web", 80, "/"), "http://web:80/"),
        ("http://web:/", WaitTarget("http", "web", 80, "/"), "http://web:80/"),
        ("http://web:8000/a/b?c=d&e", WaitTarget("http", "web", 8000, "/a/b?c=d&e"), "http://web:8000/a/b?c=d&e"),
        ("http://web?a", WaitTarget("http", "web", 80, "/?a"), "http://web:80/?a"),
        ("https://[::1]/", WaitTarget("https", "::1", 443, "/"), "https://[::1]:443/"),
        ("http://web/ü \r\n", WaitTarget("http", "web", 80, "/%C3%BC%20%0D%0A"), "http://web:80/%C3%BC%20%0D%0A"),
        ("http://web/@me", WaitTarget("http", "web", 80, "/@me"), "http://web:80/@me"),
        ("http://web/\udcff", WaitTarget("http", "web", 80, "/%FF"), "http://web:80/%FF"),
        ("http://a:b%40c@web/", WaitTarget("http", "web", 80, "/", ("a", "b@c")), "http://web:80/"),
        ("http://a@web/", WaitTarget("http", "web", 80, "/", ("a", "")), "http://web:80/"),
        ("postgresql://db", WaitTarget("postgresql", "db", 5432), "postgresql://db:5432"),
        ("postgres://u:p@db:1/app", WaitTarget("postgres", "db", 1, "/app", ("u", "p")), "postgres://db:1/app"),
        ("postgres://db/app?sslmode=a&b=c", WaitTarget("postgres", "db", 5432, "/app"), "postgres://db:5432/app"),
        ("rediss://cache?ssl_cert_reqs=none", WaitTarget("rediss", "cache", 6379), "rediss://cache:6379"),
        ("mysql://db/app", WaitTarget("mysql", "db", 3306, "/app"), "mysql://db:3306/app"),
        ("mariadb://db", WaitTarget("mariadb", "db", 3306), "mariadb://db:3306"),
        ("redis://:p@cache/0", WaitTarget("redis", "cache", 6379, "/0", ("", "p")), "redis://cache:6379/0"),
        ("rediss://cache:6380", WaitTarget("rediss", "cache", 6380), "rediss://cache:6380"),
    ],
)
def test_right(text, target, written):
    assert wait_target(text) == target
    assert str(target) == written


@needs_unix
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/a b", "/run/a b"),
        ("unix:///run/a%20b", "/run/a%20b"),
        ("UNIX:./app.sock", "./app.sock"),
        ("unix:app.sock", "app.sock"),
    ],
)
def test_right_paths(text, path):
    assert wait_target(text) == WaitTarget("unix", path=path)
    assert str(wait_target(text)) == f"unix:{path}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("db", "expected HOST:PORT"),
        ("ftp://db", "unknown scheme 'ftp' in 'ftp://db': there are unix, tcp, http, "),
        ("://db:1", "expected HOST:PORT or SCHEME://HOST"),
        ("tcp://db", "needs a port, tcp://HOST:PORT, in 'tcp://db'"),
        ("tcp://db:", "needs a port"),
        ("tcp://db:1/a", "tcp:// takes no path '/a'"),
        ("tcp://db:1?a", r"takes nothing after '\?' here"),
        ("tcp://me@db:1", "tcp:// takes no user and password in "),
        ("http://", "there is no host in 'http://'"),
        ("http://:80", "there is no host"),
        ("http://web:http/", "the port must be a number from 1 to 65535 .* in 'http://web:http/'"),
        ("http://web:0/", "the port must be a number"),
        ("http://web/#top", "nothing is sent of what follows '#'"),
        ("http://::1/", "an IPv6 address takes brackets"),
        ("http://[web]/", "there is no IPv6 address between the brackets"),
        ("http://a%20b/", "write the host without '%' in "),
        ("http://a..b/", "is no name of a host"),
        ("http://a%3Ab:c@web/", "a user takes no colon and no control character"),
        ("http://a:b%0Dc@web/", "a user takes no colon and no control character"),
        ("postgresql:///app", "there is no host"),
        ("postgresql://me:12?x@db/app", r"write / as %2F, \? as %3F and # as %23 in a password"),
        ("postgresql://db/app/x", "postgresql:// takes no path '/app/x'"),
        ("postgresql://db/a%00b", "the name of a database takes no control character"),
        ("postgresql://one:1,two:2/app", "postgresql://one:1,two:2/app"),
    ],
)
def test_wrong(text, reason):
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        wait_target(text)


@needs_unix
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unix:", "expected unix:PATH or unix:///PATH"),
        ("unix://", "expected unix:PATH or unix:///PATH"),
        ("unix://run/x", "expected unix:PATH or unix:///PATH, not 'unix://run/x'"),
        (f"unix:/{'x' * 108}", "a Unix socket has a path of at most 10"),
    ],
)
def test_wrong_paths(text, reason):
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        wait_target(text)


def test_where_there_are_no_unix_sockets(monkeypatch):
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(argparse.ArgumentTypeError, match="Python has no Unix sockets on this system"):
        wait_target("unix:/run/x")


ENDS_EARLY = "write / as %2F, ? as %3F and # as %23 in a password"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://me:secret@db/", "unknown scheme"),
        ("ftp://me:sec/ret@db/", "unknown scheme"),
        ("tcp://me:secret@db:1", "takes no user and password"),
        ("tcp://me:1/secret@db:1", ENDS_EARLY),
        ("http://me:secret@web:x/", "the port must be a number"),
        ("http://me:secret@web/#", "nothing is sent of what follows '#'"),
        ("http://me:secret/x@web/", ENDS_EARLY),
        ("http://me:sec?ret@web/", ENDS_EARLY),
        ("redis://:secret/x@cache", ENDS_EARLY),
        ("postgresql://me:sec#ret@db/app", ENDS_EARLY),
        ("postgresql://me:1/secret@db", ENDS_EARLY),
        ("postgresql://me:1/x/secret@db", ENDS_EARLY),
    ],
)
def test_no_message_has_a_password(text, message):
    done = call("wait", text)
    assert done.returncode == 2
    assert "argument TARGET: " in done.stderr
    assert message in done.stderr
    assert not [part for part in ("secret", "sec/", "sec?", "sec#", "ret@") if part in done.stderr]
    assert "://***@" in done.stderr


@given(
    st.text(st.characters(codec="utf-8"))
    | st.binary().map(lambda data: os.fsdecode(b"http://web/" + data))
    | st.from_regex(r"\A(tcp|https?|redis|unix):(//)?[^\n]*")
)
def test_any_text_is_a_target_or_refused(text):
    try:
        target = wait_target(text)
    except argparse.ArgumentTypeError:
        return
    assert wait_target(str(target)) == WaitTarget(target.scheme, target.host, target.port, target.path)
    if target.scheme in ("http", "https"):
        assert (target.path + target.host_header).isascii()
        assert " " not in target.path


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("http://web", "web"),
        ("http://web:80", "web"),
        ("https://web:80", "web:80"),
        ("http://[fe80::1%eth0]:8000", "[fe80::1]:8000"),
        ("http://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_field_host(text, field):
    assert wait_target(text).host_header == field


@pytest.mark.parametrize(
    ("text", "ranges"),
    [("200", ((200, 200),)), ("200-399,401", ((200, 399), (401, 401))), ("599,200-200", ((599, 599), (200, 200)))],
)
def test_statuses(text, ranges):
    assert statuses(text) == ranges


@pytest.mark.parametrize("text", ["", "20", "2xx", "100", "600", "399-200", "200,", "200-", "200 - 299", "٢٠٠"])
def test_wrong_statuses(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected statuses of 200 to 599 such as 200-399,401, not "):
        statuses(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["db:1", "--send", "x"], "--send needs --expect"),
        (["db:1", "redis://db", "--expect", "x"], "--expect is not allowed with redis://db:6379: the protocol itself"),
        (["http://me:secret@web", "--gone"], "--gone is not allowed with http://web:80/: it waits until nobody"),
        (["db:1", "--gone", "--expect", "x"], "--expect is not allowed with --gone"),
        (["redis://db", "--status", "200"], "--status needs a target http:// or https://"),
        (["http://web", "--status", "1"], "argument --status: expected statuses of 200 to 599"),
        (["http://web", "--insecure"], "--insecure needs a target https:// or rediss://"),
        (["db:1", "--send", r"\q", "--expect", "x"], r"argument --send: unknown escape \q"),
        (["db:1", "--send", "", "--expect", "x"], "argument --send: expected one byte or more"),
        (["ftp://db"], "argument TARGET: unknown scheme 'ftp'"),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    done = call("wait", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: safeconnect wait ")
    assert message in done.stderr
    assert "secret" not in done.stderr


def test_each_scheme_is_in_the_help():
    helped = call("wait", "--help").stdout
    assert [scheme for scheme in _targets._SCHEMES if f"{scheme}://" not in helped] == []

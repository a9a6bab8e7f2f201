"""What lets the first side of a simultaneous open wait for the second, and what becomes of them without it."""

import errno
import shutil
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from safeconnect import simultaneous_open
from safeconnect._simultaneous import shared
from safeconnect._sockets.lifecycle import reset

from .. import namespace, support
from ..support import linux_only
from .kit import A, B, check_and_reset, free_addresses, meet


@linux_only
class TestWithoutAFilter:
    """As on other platforms: both must be connecting in the same microseconds, or refusals must be lost."""

    @pytest.fixture(autouse=True)
    def no_filter(self, monkeypatch):
        monkeypatch.setattr(shared, "open_syn_filter", lambda *_: None)

    def test_where_resets_are_dropped(self):
        if not shutil.which("nft"):
            pytest.skip("nft is not installed (Debian: nftables)")
        code = """
            import subprocess, threading
            from safeconnect._simultaneous import shared
            from safeconnect import simultaneous_open
            shared.open_syn_filter = lambda *_: None
            rules = "add table ip t; add chain ip t c { type filter hook output priority 0; }; "
            subprocess.run(["nft", rules + "add rule ip t c tcp flags rst drop"], check=True)
            a, b = ("127.0.0.1", 20811), ("127.0.0.1", 20812)
            for _ in range(5):
                got = []
                other = threading.Thread(target=lambda: got.append(simultaneous_open(b, a, timeout=20)))
                other.start()
                got.append(simultaneous_open(a, b, timeout=20))
                other.join()
                print(len(got))
                a, b = ("127.0.0.1", a[1] + 2), ("127.0.0.1", b[1] + 2)
                for sock in got:
                    sock.close()
        """
        assert namespace.run(code).split() == ["2"] * 5

    def test_nobody_comes(self):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out") as caught:
            simultaneous_open(A, B, timeout=0.3)
        assert 0.3 <= time.monotonic() - began < support.SOON
        assert caught.value.__notes__[0].startswith(f"{A[0]}:{A[1]} and {B[0]}:{B[1]} did not meet in ")
        assert "Connection refused" in caught.value.__notes__[0]

    def test_the_filter_is_linuxs(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        assert shared.open_syn_filter(socket.AF_INET, A) is None


@linux_only
class TestFilters:
    @pytest.fixture(params=["as it may", "without filters"])
    def kind(self, request, monkeypatch):
        if request.param == "without filters":
            monkeypatch.setattr(shared, "_attach_filter", lambda _: False)

    @support.both_families
    def test_the_first_waits_behind_the_seconds(self, kind, family):
        """Deterministic: one SYN is sent while the other side is there but not yet connecting."""
        a, b = free_addresses(support.LOOPBACK[family])
        with shared.open_syn_filter(family, b), socket.socket(family) as first, socket.socket(family) as second:
            for sock, local in ((first, a), (second, b)):
                sock.settimeout(0)
                shared.bind_shared(sock, local)
            assert first.connect_ex(b) == errno.EINPROGRESS
            assert first.connect_ex(b) == errno.EALREADY, "neither refused nor accepted"
            second.connect_ex(a)
            assert second.getpeername()[:2] == a
            assert first.getpeername()[:2] == b
            reset(first)
            reset(second)

    def test_they_meet(self, kind):
        check_and_reset(*meet())

    def test_a_kernel_without_either(self, monkeypatch):
        monkeypatch.setattr(shared, "_attach_filter", lambda _: False)
        monkeypatch.setattr(shared, "_LOWEST_TTL", {socket.AF_INET: (socket.IPPROTO_IP, 9999)})
        before = support.descriptors()
        assert shared.open_syn_filter(socket.AF_INET, A) is None
        assert support.descriptors() == before

    def test_no_privilege_is_needed(self):
        code = """
            import contextlib, os
            from tests.simultaneous.kit import check_and_reset, meet
            check_and_reset(*meet())  # and so all is imported
            # Who is not root has none, nor has root of a user namespace over the network it came from.
            with contextlib.suppress(OSError):
                os.setgroups([])
                os.setresuid(65534, 65534, 65534)  # a change that gives up all capabilities
            for _ in range(20):
                check_and_reset(*meet())
            print("met")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
            env=namespace.surroundings(),
        )
        assert done.stdout == "met\n"

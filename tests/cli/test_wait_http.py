"""``safeconnect wait`` for http and https."""

import pytest

from safeconnect import testing
from safeconnect.cli import _exchanges

from ..support import linux_only, needs_ipv6
from .servers import ONE_TRY, RESPONSE, answering, url
from .terminal import call, written

pytestmark = linux_only


class TestHttp:
    @pytest.mark.parametrize(
        ("status", "options", "seen"),
        [
            (b"200 OK", (), ""),
            (b"204 No Content", (), ""),
            (b"302 Found", (), "HTTP status 302 Found"),
            (b"302 Found", ("--status", "200-399"), ""),
            (b"401 Unauthorized", ("--status", "200-299,401"), ""),
            (b"200 OK", ("--status", "204"), "HTTP status 200 OK"),
            (b"503 \x1b[2J", (), r"HTTP status 503 \x1b[2J"),
        ],
    )
    def test_its_status(self, status, options, seen):
        with answering(RESPONSE % status) as server:
            done = call("wait", url(server), *ONE_TRY, *options)
        assert done.returncode == (124 if seen else 0)
        assert (f"{url(server)} was not up at the only try: not ready once; the last after " in done.stderr) is bool(
            seen
        )
        assert done.stderr.endswith(f": {seen}\n") or not seen

    def test_the_request(self):
        requests = []
        with answering(RESPONSE % b"200 OK", requests=requests) as server:
            port = server.address[1]
            assert call("wait", f"http://me:it%3A@localhost:{port}/a?b=c").returncode == 0
        first, *fields = requests[0].decode().split("\r\n")
        assert first == "GET /a?b=c HTTP/1.1"
        assert f"Host: localhost:{port}" in fields
        assert "Authorization: Basic bWU6aXQ6" in fields  # me:it:

    @needs_ipv6
    def test_over_ipv6(self):
        requests = []
        with answering(RESPONSE % b"200 OK", requests=requests, host="::1") as server:
            assert call("wait", url(server)).returncode == 0
        assert f"Host: [::1]:{server.address[1]}\r\n".encode() in requests[0]

    def test_a_server_that_becomes_ready(self):
        answers = [RESPONSE % b"503 Starting", RESPONSE % b"503 Starting", RESPONSE % b"200 OK"]
        with testing.serve(lambda peer: peer.sendall(answers.pop(0))) as server:
            done = call("wait", url(server), "-v")
        assert done.returncode == 0
        assert done.stderr.count(f"{url(server)}: HTTP status 503 Starting\n") == 1
        assert f"{url(server)} is up after " in done.stderr
        assert ", 3 tries\n" in done.stderr

    @pytest.mark.parametrize(
        ("fault", "each", "seen"),
        [
            (testing.silent, "0.2", "connected, then timed out once"),
            (lambda: testing.drips(0.05, data=RESPONSE % b"200 OK"), "0.3", "connected, then timed out once"),
            (lambda: testing.half_closes(b"HTTP/1.1 200"), "20", "it closed the connection after b'HTTP/1.1 200'"),
            (lambda: testing.serve(lambda _: None), "20", "not ready once"),
            (lambda: testing.serve(lambda peer: peer.sendall(b"x" * 100_000)), "20", "it sent more than 65536 bytes"),
            (
                lambda: testing.serve(lambda peer: peer.sendall(b"SSH-2.0\r\n")),
                "20",
                "this is not HTTP: it sent b'SSH-",
            ),
        ],
    )
    def test_faults(self, fault, each, seen):
        with fault() as server:
            done = call("wait", url(server), "--timeout", "0", "--attempt-timeout", each)
        assert done.returncode == 124
        # A peer that closes early may answer the request with a reset.
        assert seen in done.stderr or "connected, then reset once" in done.stderr

    @pytest.mark.parametrize(("status", "exit_status"), [("503", 0), ("200", 124)])
    def test_the_whole_response_is_read(self, monkeypatch, status, exit_status):
        monkeypatch.setattr(_exchanges, "_DRAIN_SECONDS", 30)
        seen = []

        def handle(peer):
            peer.recv()
            peer.sendall(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n")
            peer.socket.settimeout(0.2)
            try:
                peer.socket.recv(1)  # a reset would come now
            except OSError as error:
                seen.append(type(error))
            peer.sendall(b"busy")

        with testing.serve(handle) as server:
            assert call("wait", url(server), *ONE_TRY, "--status", status).returncode == exit_status
        assert seen == [TimeoutError]

    def test_a_response_without_an_end_is_read_for_a_moment(self):
        with testing.serve(lambda peer: (peer.sendall(RESPONSE % b"200 OK"), peer.wait())) as server:
            assert call("wait", url(server), *ONE_TRY).returncode == 0

    def test_gone_is_for_ports(self):
        with testing.refused() as closed:
            assert call("wait", f"tcp://{written(closed.address)}", "--gone").returncode == 0


class TestTls:
    @pytest.fixture(autouse=True)
    def _trustme(self, monkeypatch):
        pytest.importorskip("trustme", reason="TLS tests need trustme")
        _exchanges._context.cache_clear()
        yield
        _exchanges._context.cache_clear()

    def test_verified(self, tmp_path):
        with answering(RESPONSE % b"200 OK", serve=testing.tls) as server:
            target = f"https://localhost:{server.address[1]}/"
            (tmp_path / "ca").write_bytes(server.authority)
            done = call("wait", target, *ONE_TRY)
            assert done.returncode == 124
            assert "its certificate is not accepted: unable to get local issuer certificate\n" in done.stderr
            _exchanges._context.cache_clear()
            assert call("wait", target, *ONE_TRY, SSL_CERT_FILE=str(tmp_path / "ca")).returncode == 0
            _exchanges._context.cache_clear()
            assert call("wait", target, *ONE_TRY, "--insecure").returncode == 0

    def test_the_name_in_the_certificate(self, tmp_path):
        with answering(RESPONSE % b"200 OK", serve=testing.tls, host="0.0.0.0", name="other.test") as server:
            (tmp_path / "ca").write_bytes(server.authority)
            target = f"https://127.0.0.1:{server.address[1]}/"
            done = call("wait", target, *ONE_TRY, SSL_CERT_FILE=str(tmp_path / "ca"))
            assert done.returncode == 124
            assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in done.stderr
            assert call("wait", target, *ONE_TRY, "--insecure").returncode == 0

    def test_redis(self):
        with answering(b"+PONG\r\n", ends=b"PING\r\n", serve=testing.tls) as server:
            assert call("wait", url(server, "rediss", ""), *ONE_TRY, "--insecure").returncode == 0

    def test_a_response_in_several_records(self):
        def handle(peer):
            peer.recv()
            for byte in RESPONSE % b"200 OK":
                peer.sendall(bytes([byte]))

        with testing.tls(handler=handle) as server:
            assert call("wait", url(server, "https"), *ONE_TRY, "--insecure").returncode == 0

    @pytest.mark.parametrize(
        ("fault", "each", "seen"),
        [
            (lambda: answering(RESPONSE % b"400 Bad Request", ends=b""), "20", "TLS failed: "),
            (testing.silent, "0.3", "connected, then timed out once"),
            (testing.half_closes, "20", "it closed the connection during the TLS handshake"),
            (lambda: testing.tls(handler=lambda _: None), "20", "it closed the connection and sent nothing"),
        ],
    )
    def test_faults(self, fault, each, seen):
        with fault() as server:
            done = call("wait", url(server, "https"), "--timeout", "0", "--attempt-timeout", each, "--insecure")
        assert done.returncode == 124
        assert seen in done.stderr or "connected, then reset once" in done.stderr

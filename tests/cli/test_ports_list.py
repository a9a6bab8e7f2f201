"""``safeconnect ports``: who listens where, what that means for connects, and the busiest destinations."""

import json
import os
import re

import pytest

from safeconnect import cli, create_connection, ephemeral_ports
from safeconnect._host import tcp_table
from safeconnect._host.tcp_rows import Owner, TcpSocket

from .. import namespace
from ..support import linux_only, reset
from .terminal import WITHOUT_EXTRAS, Terminal, call

# Servers and connections of a small world of its own; then what the command says of them.
WORLD = """
    import os, socket
    from pathlib import Path
    from tests.cli.terminal import call, run

    Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text({reserved!r})
    servers = []
    for host, port in {servers!r}:
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((host, port))
        server.listen(128)
        servers.append(server)
    clients = [socket.create_connection(address, source_address=("127.0.0.1", port) if port else None)
               for address, port in {clients!r}]
    done = {how}("ports", *{arguments!r}, **{settings!r})
    name = Path("/proc/self/comm").read_text().strip()
    print(done.stdout.replace(f"{{name}} ({{os.getpid()}})", "us"), "---", done.stderr, done.returncode, sep="\\n")
"""


def in_world(*arguments, servers=(), clients=(), reserved="", **settings):
    """What it prints, and its messages with the exit status, in a namespace whose source ports are 40000-40009."""
    code = WORLD.format(
        servers=list(servers),
        clients=list(clients),
        reserved=reserved,
        how="run" if "program" in settings else "call",
        arguments=arguments,
        settings=settings,
    )
    printed, _, messages = namespace.run(code, ports="40000 40009").partition("---\n")
    return printed, messages


def squeezed(text):
    """With columns as wide as you please."""
    return re.sub(r" {2,}", "  ", text).strip()


PAGE = namespace.ROOT / "docs/command-line.md"
SERVERS = [
    ("127.0.0.1", 40001),
    ("0.0.0.0", 40004),
    ("127.0.0.1", 8080),
    ("127.0.0.1", 40002),
    ("127.0.0.1", 40002),
    ("127.0.0.9", 40006),
]
CLIENTS = [(("127.0.0.1", 8080), port) for port in (40003, 40005, 40007)]
EXPECTED = """\
listening ports (source ports are taken from 40000-40009 less 40004)
address  port  owner  ephemeral  reserved  exposed  waiting  backlog
127.0.0.1  8080  us  -  -  -  3  128
127.0.0.1  40001  us  yes  -  under pressure  0  128
127.0.0.1 x2  40002  us  yes  -  yes  0  256
0.0.0.0  40004  us  yes  yes  -  0  128
127.0.0.9  40006  us  yes  -  -  0  128

busiest destinations
from  to  source ports  of  share  TIME_WAIT
127.0.0.1  127.0.0.1:8080  3  6  50 %  0"""
EXPOSED = (
    "note: 2 listening ports may be chosen as source ports while the server is down, and a connect then meets itself:"
    " `safeconnect doctor 127.0.0.1:40001` says what to do\n"
)
NOTHING = """\
listening ports (source ports are taken from 40000-40009)
none

busiest destinations
none
"""


class TestText:
    @pytest.mark.parametrize("changes", [{}, {"program": WITHOUT_EXTRAS}, {"NO_COLOR": "1"}], ids=str)
    def test_a_small_world(self, changes):
        printed, messages = in_world(servers=SERVERS, clients=CLIENTS, reserved="40004", **changes)
        assert squeezed(printed) == EXPECTED
        assert messages == f"{EXPOSED}\n0\n"

    @pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")
    def test_the_one_on_the_page(self):
        (shown,) = re.findall(r"```text\n(listening ports.*?)```", PAGE.read_text(), re.DOTALL)
        assert squeezed(re.sub(r"\w+ \(\d+\)", "us", shown)) == EXPECTED

    def test_colours_are_forced(self):
        printed, messages = in_world(servers=SERVERS, clients=CLIENTS, reserved="40004", FORCE_COLOR="1")
        assert re.search("\x1b\\[31m *yes", printed), "exposed: red"
        assert squeezed(re.sub(r"\x1b\[[\d;]*m", "", printed)) == EXPECTED
        assert re.sub(r"\x1b\[[\d;]*m", "", messages) == f"{EXPOSED}\n0\n"

    def test_nothing_there(self):
        assert in_world() == (f"{NOTHING}\n", "\n0\n")

    def test_columns_are_aligned(self):
        printed, _ = in_world(servers=[("127.0.0.1", 80), ("127.0.0.1", 40001)])
        head, *rows = printed.splitlines()[1:4]
        end = head.index("port") + len("port")
        assert [row[:end].rpartition("  ")[2] for row in rows] == ["80", "40001"]
        assert [row.index("us") for row in rows] == [head.index("owner")] * 2

    def test_a_destination_with_half_of_the_ports_and_one_with_more(self):
        servers = [("127.0.0.1", 8080), ("127.0.0.2", 8080)]
        clients = [(address, None) for address, number in zip(servers, (5, 6), strict=True) for _ in range(number)]
        printed, messages = in_world(servers=servers, clients=clients)
        assert "127.0.0.1  127.0.0.2:8080  6  10  60 %  0\n127.0.0.1  127.0.0.1:8080  5  10  50 %  0" in squeezed(
            printed
        )
        assert re.fullmatch(
            r"note: 60 % of the source ports toward 127\.0\.0\.2:8080 are taken: .* EADDRNOTAVAIL\n\n0\n", messages
        )

    def test_ten_destinations_and_how_many_more(self):
        servers = [(f"127.0.0.{last}", 8080) for last in range(1, 14)]
        printed, _ = in_world(servers=servers, clients=[(address, None) for address in servers])
        busiest = printed.partition("busiest destinations\n")[2].strip().splitlines()
        assert len(busiest) == 12
        assert busiest[-1] == "and 3 more"
        told, _ = in_world("--json", servers=servers, clients=[(address, None) for address in servers])
        assert len(json.loads(told)["destinations"]) == 13


class TestJson:
    @pytest.mark.parametrize("settings", [{}, {"program": WITHOUT_EXTRAS}])
    def test_a_small_world(self, settings):
        printed, messages = in_world("--json", servers=SERVERS[:3], clients=CLIENTS, reserved="40004", **settings)
        told = json.loads(re.sub(r'"pid": \d+', '"pid": 1', printed))
        assert messages == EXPOSED.replace("2 listening ports", "1 listening port") + "\n0\n"
        name = told["listening"][0]["owners"][0]["name"]
        assert name.startswith("python")
        row = {"owners": [{"pid": 1, "name": name}], "sockets": 1, "backlog": 128}
        own = {"ephemeral": True, "queue": 0}
        assert told == {
            "ephemeral_ports": "40000-40009",
            "reserved_ports": "40004",
            "listening": [
                {"host": "127.0.0.1", "port": 8080, **row, "queue": 3, "ephemeral": False, "reserved": False}
                | {"exposure": "outside-range"},
                {"host": "127.0.0.1", "port": 40001, **row, **own, "reserved": False, "exposure": "other-parity"},
                {"host": "0.0.0.0", "port": 40004, **row, **own, "reserved": True, "exposure": "reserved"},
            ],
            "destinations": [
                {"local": "127.0.0.1", "host": "127.0.0.1", "port": 8080, "source_ports": 3}
                | {"in_time_wait": 0, "available": 8, "share": 0.375}
            ],
            "self_connected": [],
            "exit_status": 0,
        }

    def test_a_server_of_this_process(self, server):
        address = server.getsockname()
        with create_connection(address, 5) as sock:
            done = call("ports", "--json")
            reset(sock)
        assert done.returncode == 0
        (row,) = [each for each in json.loads(done.stdout)["listening"] if each["port"] == address[1]]
        assert [owner["pid"] for owner in row["owners"]] == [os.getpid()]
        assert (row["host"], row["ephemeral"]) == (address[0], address[1] in ephemeral_ports())


class TestTerminal:
    @pytest.mark.parametrize("changes", [{}, {"program": WITHOUT_EXTRAS}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
    def test_the_words_are_the_same(self, changes, server):
        port = server.getsockname()[1]
        with Terminal("ports", **changes) as terminal:
            assert terminal.end() == 0
        assert re.search(rf"^127\.0\.0\.1 +{port}  .*\({os.getpid()}\)", terminal.text, re.MULTILINE)
        assert ("\x1b[1m" in terminal.shown) == (not changes or "NO_COLOR" in changes), "bold is no colour"
        assert ("\x1b[3" in terminal.shown) == (not changes)
        assert "\x1b[?25l" not in terminal.shown, "nothing moves"


def listing(capsys):
    status = cli.main(["ports"])
    return status, *capsys.readouterr()


LISTENS = TcpSocket(("::", 40001), None, "LISTEN", ipv6=True)


class TestWhatIsNotSeen:
    def test_the_table(self, monkeypatch, capsys):
        def fail():
            raise PermissionError(1, "TCP sockets may not be listed by this user")

        monkeypatch.setattr(tcp_table, "sockets", fail)
        message = "safeconnect: the ports in use cannot be listed: TCP sockets may not be listed by this user\n"
        assert listing(capsys) == (1, "", message)

    @pytest.mark.parametrize(
        ("user", "who"),
        [
            (0, "they are in another pid namespace, as of a container or its host"),
            (1000, "root sees all of this host's"),
        ],
    )
    @linux_only
    def test_owners_and_lengths(self, user, who, monkeypatch, capsys):
        monkeypatch.setattr(tcp_table, "sockets", lambda: [LISTENS])
        monkeypatch.setattr(tcp_table, "owners", lambda found: dict.fromkeys(found, ()))
        monkeypatch.setattr(os, "geteuid", lambda: user)
        status, printed, messages = listing(capsys)
        assert status == 0
        assert re.search(r"^:: +40001  -  .*  \?  +\?$", printed, re.MULTILINE)
        assert f"note: the owners of 1 listening port may not be seen: {who}\n" in messages

    def test_names_of_processes_and_too_many_of_them(self, monkeypatch, capsys):
        many = (Owner(1, "a"), Owner(2, None), Owner(3, "c"), Owner(4, "d"), Owner(5, "e"))
        monkeypatch.setattr(tcp_table, "sockets", lambda: [LISTENS])
        monkeypatch.setattr(tcp_table, "owners", lambda found: dict.fromkeys(found, many))
        _, printed, messages = listing(capsys)
        assert "  a (1), ? (2), c (3) and 2 more  " in printed
        assert "owners" not in messages

    def test_where_a_wildcard_listens_doctor_is_asked_about_localhost(self, monkeypatch, capsys):
        port = ephemeral_ports().first
        monkeypatch.setattr(tcp_table, "sockets", lambda: [TcpSocket(("0.0.0.0", port), None, "LISTEN", ipv6=False)])
        assert f"`safeconnect doctor :{port}` says" in listing(capsys)[2]

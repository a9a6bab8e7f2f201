"""Wrong arguments are refused at once, each by its name; right ones are what the standard library takes."""

import asyncio
import socket
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_network

import pytest
import trio

import safeconnect
import safeconnect.asyncio
import safeconnect.trio
from safeconnect import Connector, NoDelay, PortRange, PortSet, SourcePool, close_gracefully
from safeconnect.cli import _argument_types

from ..drivers import blocking, each_driver
from ..namespace import ROOT
from ..support import listening

HUGE = 10**5000  # more digits than Python makes text of


class Index:
    def __index__(self):
        return 5


class Float:
    def __float__(self):
        return 5.0


FLOATS = [Decimal(5), Fraction(5), Float()]  # Python 3.15 takes them
TIMES = [Index(), *FLOATS] if sys.version_info >= (3, 15) else [Index()]
NO_TIMES = ["5", b"5", 5j, [5]] + ([] if sys.version_info >= (3, 15) else [Decimal("NaN"), *FLOATS])
names_of = {"ids": lambda value: type(value).__name__}


class TestSeconds:
    @each_driver
    @pytest.mark.parametrize("value", NO_TIMES, **names_of)
    def test_what_the_standard_library_refuses(self, connect, address, value):
        with socket.socket() as sock, pytest.raises(TypeError):
            sock.settimeout(value)
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
            connect(address, value)
        with pytest.raises(TypeError, match="happy_eyeballs_delay must be a number of seconds or None, not"):
            connect(address, 5, happy_eyeballs_delay=value)
        with pytest.raises(TypeError, match="attempt_timeout must be a number of seconds or None, not"):
            connect(address, 5, attempt_timeout=value)

    @each_driver
    @pytest.mark.parametrize("value", TIMES, **names_of)
    @pytest.mark.parametrize("host", ["127.0.0.1", "anybody.test"])
    def test_what_it_takes(self, connect, address, host, value):
        settings = {} if host == "127.0.0.1" else {"resolver": lambda *_: [(socket.AF_INET, 1, 6, "", address)]}
        times = ("timeout", "attempt_timeout", "happy_eyeballs_delay", "resolution_delay")
        connector = Connector(**dict.fromkeys(times, value), **settings)
        assert [getattr(connector, name) for name in times] == [5, 5, 5, 5]
        with socket.socket() as sock:
            sock.settimeout(value)
            assert sock.gettimeout() == 5
        if connect is blocking:
            with safeconnect.create_connection((host, address[1]), value, **settings) as sock:
                assert sock.gettimeout() == 5
        else:
            connect((host, address[1]), value, **settings).close()
        connect((host, address[1]), 5, connector=connector).close()

    @pytest.mark.parametrize("value", NO_TIMES, **names_of)
    def test_of_a_connector(self, address, value):
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
            Connector(timeout=value)
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
            Connector().connect(address, value)
        with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not -1"):
            Connector().connect(address, -1)

    @each_driver
    @pytest.mark.parametrize("value", [-1, -0.001, float("nan"), -HUGE], ids=["negative", "a little", "nan", "huge"])
    def test_of_a_wrong_value(self, connect, address, value):
        with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not"):
            connect(address, value)

    def test_elsewhere(self, address):
        with socket.create_connection(address, 5) as sock, pytest.raises(TypeError, match="timeout must be a number"):
            close_gracefully(sock, timeout="1")
        with listening() as server, socket.create_connection(server.getsockname(), 5) as sock:
            server.accept()[0].close()
            assert close_gracefully(sock, timeout=Index()).is_clean
        safeconnect.wait_for_port(address, Index())
        with pytest.raises(TypeError, match="timeout must be a number"):
            safeconnect.wait_for_port(address, "NaN")
        ends = ("127.0.0.1", 20811), ("127.0.0.1", 20812)
        with pytest.raises(TypeError, match="timeout must be a number"):
            safeconnect.simultaneous_open(*ends, timeout="NaN")


class TestNumbersThatAreTooLong:
    def test_ports(self):
        for call in (
            lambda: PortSet([HUGE]),
            lambda: PortRange(HUGE),
            lambda: PortSet.parse(str(9) * 5001),
            lambda: PortRange.parse("9" * 5001),
            lambda: safeconnect.reserve_port(port=HUGE),
            lambda: safeconnect.self_connect_exposure("127.0.0.1", HUGE),
            lambda: safeconnect.bind_socket(("127.0.0.1", HUGE)),
        ):
            with pytest.raises(ValueError, match=r"must be [01]-65535, not"):
                call()
        assert PortRange.parse("0" * 5001 + "80") == PortRange(80)

    def test_options(self):
        with pytest.raises(ValueError, match=r"must be .* not a number of 16610 bits"):
            safeconnect.SynCount(HUGE)

    def test_on_the_command_line(self):
        for read in (_argument_types.target, lambda text: _argument_types.target(f"localhost:{text}")):
            with pytest.raises(Exception, match=r"expected HOST:PORT|from 1 to 65535"):
                read("9" * 5001)
        with pytest.raises(Exception, match="expected a number of 1 or more"):
            _argument_types.count("9" * 5001)
        with pytest.raises(Exception, match="without NUL"):
            _argument_types.target("127.0.0.1\0x:80")
        assert _argument_types.count("007") == 7


class TestSeveralTargets:
    """What other libraries take in one call is refused, and the error says what to do."""

    @each_driver
    @pytest.mark.parametrize("timeout", [None, 5])
    @pytest.mark.parametrize("kind", [list, tuple])
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
    def test_in_the_place_of_one(self, connect, kind, count, timeout):
        targets = kind([("127.0.0.1", 1 + each) for each in range(count)])
        with pytest.raises(TypeError, match=f"must be one target, .* not a {kind.__name__} of .*give a resolver that"):
            connect(targets, timeout)

    @each_driver
    @pytest.mark.parametrize("targets", [iter([("a", 1)]), {("a", 1), ("b", 1)}, {("a", 1): 1}], **names_of)
    def test_what_has_no_order(self, connect, targets):
        with pytest.raises(TypeError, match=f"address must be a tuple .* not {type(targets).__name__}"):
            connect(targets, 5)

    @each_driver
    def test_one_as_a_list_is_one(self, connect, address):
        connect(list(address), 5).close()


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "kind", "match"),
        [
            ({"timeout": -1}, ValueError, "timeout must be 0 or more seconds"),
            ({"timeout": "5"}, TypeError, "timeout must be a number of seconds or None"),
            (
                {"second_attempt_delay": 0},
                ValueError,
                "second_attempt_delay must be 0.1 seconds or more, or None, not 0",
            ),
            ({"second_attempt_delay": "1"}, TypeError, "second_attempt_delay must be a number of seconds or None"),
            ({"second_attempt_delay": -1}, ValueError, "second_attempt_delay must be 0 or more seconds, not -1"),
            ({"attempt_timeout": 0}, ValueError, "attempt_timeout must be more than 0 seconds, not 0"),
            ({"attempt_timeout": -1}, ValueError, "attempt_timeout must be more than 0 seconds, not -1"),
            ({"attempt_timeout": "1"}, TypeError, "attempt_timeout must be a number of seconds or None"),
            ({"happy_eyeballs_delay": -0.1}, ValueError, "happy_eyeballs_delay must be 0 or more"),
            ({"resolution_delay": "x"}, TypeError, "resolution_delay must be a number"),
            ({"trace": 5}, TypeError, "trace must be callable"),
            ({"resolver": "dns"}, TypeError, "resolver must be callable"),
            ({"retry": 3}, TypeError, "retry must be a Retry"),
            ({"attempt_timeout": float("nan")}, ValueError, "attempt_timeout must be more than 0 seconds, not nan"),
            ({"source_address": 5}, TypeError, "source_address must be"),
            ({"allow_self_connect": "no"}, TypeError, "allow_self_connect must be a bool"),
            ({"all_errors": "no"}, TypeError, "all_errors must be a bool"),
            ({"memory": {}}, TypeError, "memory must be a ConnectMemory"),
            ({"options": NoDelay()}, TypeError, "options must be several options"),
            ({"options": [5]}, TypeError, "options must be"),
            ({"family": "AF_INET"}, TypeError, "family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not str"),
            ({"family": None}, TypeError, "family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not NoneType"),
            ({"family": True}, TypeError, "family must be .* not bool"),
            ({"family": False}, TypeError, "family must be .* not bool"),
            ({"family": 4}, ValueError, "family must be socket.AF_UNSPEC, AF_INET or AF_INET6, not 4"),
            ({"allow": 5}, TypeError, "allow must be callable or several networks, not int"),
            ({"allow": "10.0.0.0/8"}, TypeError, r"networks, not str; put it in a list: \['10.0.0.0/8'\]"),
            ({"allow": ip_network("10.0.0.0/8")}, TypeError, r"IPv4Network; put it in a list: \['10.0.0.0/8'\]"),
            ({"allow": b"10.0.0.0/8"}, TypeError, "allow must be callable or several networks, not bytes$"),
            ({"allow": [10]}, TypeError, "allow must be networks such as '10.0.0.0/8', not int: 10"),
            ({"allow": ["a.test"]}, ValueError, "allow must be networks such as '10.0.0.0/8', not 'a.test'"),
            ({"allow": ["10.0.0.1/8"]}, ValueError, "'10.0.0.1/8': 10.0.0.1/8 has host bits set"),
            ({"allow": ["::ffff:10.0.0.0/104"]}, ValueError, "allow must have IPv4 networks as such"),
            ({"allow": []}, ValueError, "allow must have a network in it"),
            ({"nonsense": 5}, TypeError, "nonsense"),
            ({"source_ports": 1.5}, TypeError, "source_ports must be"),
            ({"source_ports": PortSet()}, ValueError, "source_ports holds no port"),
            ({"source_ports": "0"}, ValueError, "source_ports holds no port"),
            (
                {"source_address": ("127.0.0.1", 7), "source_ports": "20000-20499"},
                ValueError,
                "either source_ports or a port",
            ),
            ({"source_address": SourcePool(["::1"]), "source_ports": "20000-20499"}, ValueError, "to the SourcePool"),
            ({"share_source": 1}, TypeError, "share_source must be a bool"),
            ({"source_address": []}, ValueError, "source_address must hold at least one address, not \\[\\]"),
            ({"source_address": set(), "source_ports": "20000-20499"}, ValueError, "at least one address"),
            ({"source_address": ["name"]}, ValueError, "literal addresses, not 'name'"),
            ({"source_address": [("127.0.0.1", 70000)]}, ValueError, "0-65535"),
            ({"source_address": [("127.0.0.1",)]}, TypeError, "must hold addresses"),
            ({"source_address": "an interface with a long name"}, ValueError, "source_address must be 1-15 bytes"),
            *(
                ({"source_address": source}, TypeError, r"source_address must be \(host, port\)")
                for source in (("127.0.0.1",), ("127.0.0.1", 0, 0, 0, 0), {"127.0.0.1": 0})
            ),
            *(
                ({"options": [option]}, TypeError, r"options must be \(level, name, value\) tuples")
                for option in ((1, 2), (1, 2, 3, 4, 5), "TCP_NODELAY", [6, 1, 1], ("a", 1, 1))
            ),
        ],
        ids=str,
    )
    def test_wrong_ones(self, settings, kind, match):
        with pytest.raises(kind, match=match):
            Connector(**settings)
        with pytest.raises(kind, match=match):
            safeconnect.create_connection(("127.0.0.1", 1), **settings)


class TestUnknownSettings:
    """The error names what was called, and what may have been meant."""

    ADDRESS = ("127.0.0.1", 1)

    def refused(self, function, call, meant="retry"):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(f"{function}() got an unexpected keyword argument ")
        assert str(caught.value).endswith(f"; did you mean {meant!r}?")

    def test_blocking(self):
        self.refused("create_connection", lambda: safeconnect.create_connection(self.ADDRESS, retries=3))
        self.refused("Connector", lambda: Connector(retries=3))
        self.refused("Connector", lambda: Connector().replace(retries=3))
        with safeconnect.patched():
            self.refused("create_connection", lambda: socket.create_connection(self.ADDRESS, retries=3))

    def test_a_subclass_by_its_name(self):
        class Mine(Connector):
            __slots__ = ()

        self.refused("Mine", lambda: Mine(retries=3))

    def test_nothing_alike(self):
        with pytest.raises(TypeError, match="keyword argument 'zzz'; there are all_errors, allow, allow_self_c"):
            safeconnect.create_connection(self.ADDRESS, zzz=1)

    def test_a_wrong_value_is_told_as_ever(self):
        with pytest.raises(TypeError, match="retry must be a Retry, not int"):
            safeconnect.create_connection(self.ADDRESS, retry=3)
        with pytest.raises(TypeError, match="retry must be a Retry, not int"):
            asyncio.run(safeconnect.asyncio.create_connection(self.ADDRESS, retry=3))

    @pytest.mark.parametrize("beside", [{}, {"connector": Connector()}], ids=["alone", "beside a connector"])
    def test_on_asyncio(self, beside):
        self.refused(
            "create_connection",
            lambda: asyncio.run(safeconnect.asyncio.create_connection(self.ADDRESS, retries=3, **beside)),
        )
        for ssl in (None, True):
            self.refused(
                "open_connection",
                lambda ssl=ssl: asyncio.run(
                    safeconnect.asyncio.open_connection(self.ADDRESS, ssl=ssl, retries=3, **beside)
                ),
            )
        self.refused(
            "connect_transport",
            lambda: asyncio.run(
                safeconnect.asyncio.connect_transport(asyncio.Protocol, self.ADDRESS, server_hostnam="a", **beside)
            ),
            "server_hostname",
        )

    def test_on_trio(self):
        self.refused(
            "create_connection",
            lambda: trio.run(lambda: safeconnect.trio.create_connection(self.ADDRESS, retries=3)),
        )
        self.refused(
            "open_tcp_stream",
            lambda: trio.run(lambda: safeconnect.trio.open_tcp_stream(*self.ADDRESS, local_adress="a")),
            "local_address",
        )

    def test_on_anyio(self):
        pytest.importorskip("anyio")
        from safeconnect.anyio import connect_tcp

        self.refused("connect_tcp", lambda: asyncio.run(connect_tcp(*self.ADDRESS, retries=3)))

    def test_with_options_all_is_well(self, address):
        safeconnect.create_connection(address, 5, options=[NoDelay()]).close()


@pytest.mark.parametrize("memory", ["None", "safeconnect.ConnectMemory()"])
def test_a_host_in_bytes_after_the_same_one_as_text_under_bb(memory):
    """They have the same hash, so a cache compares them."""
    code = f"""
import socket, safeconnect
memory = {memory}
with socket.create_server(("127.0.0.1", 0)) as server:
    host, port = server.getsockname()
    for each in (host, host.encode()):
        safeconnect.create_connection((each, port), memory=memory).close()
"""
    done = subprocess.run(
        [sys.executable, "-bb", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")

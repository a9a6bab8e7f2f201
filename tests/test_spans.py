"""docs/usage.md makes OpenTelemetry spans of a trace: its own code, with the SDK where there is one, else recorded."""

import contextlib
import re
import socket

import pytest

from safeconnect import create_connection, testing

from .namespace import ROOT
from .support import linux_only, needs_ipv6, needs_port_range, ran_into, resolver

PAGE = ROOT / "docs/usage.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


class Recorder:
    """As much of a tracer and of its spans as the page uses."""

    def __init__(self):
        self.ended = []

    def start_span(self, name, attributes):
        return RecordedSpan(self, name, dict(attributes))

    @contextlib.contextmanager
    def start_as_current_span(self, name, attributes):
        span = self.start_span(name, attributes)
        try:
            yield span
        except Exception:
            span.set_status("ERROR")
            raise
        finally:
            span.end()


class RecordedSpan:
    def __init__(self, recorder, name, attributes):
        self.recorder, self.name, self.attributes, self.status = recorder, name, attributes, "UNSET"

    def set_attributes(self, attributes):
        self.attributes |= attributes

    def set_attribute(self, name, value):
        self.attributes[name] = value

    def set_status(self, status):
        self.status = status

    def end(self):
        self.recorder.ended.append((self.name, self.attributes, self.status))


class Recorded:
    """The page's code with the recorder."""

    def __init__(self):
        self.tracer, self.error = Recorder(), "ERROR"

    def ended(self):
        return self.tracer.ended


class Exported:
    """The page's code with the SDK."""

    def __init__(self):
        sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.trace import StatusCode

        self.exporter = InMemorySpanExporter()
        provider = sdk.TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer, self.error = provider.get_tracer("a client"), StatusCode.ERROR

    def ended(self):
        spans = self.exporter.get_finished_spans()
        *children, outer = spans
        assert {child.parent.span_id for child in children} == {outer.context.span_id}
        assert outer.parent is None
        return [
            (span.name, {name: plain(value) for name, value in span.attributes.items()}, span.status.status_code.name)
            for span in spans
        ]


def plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.fixture(params=[Recorded, Exported], ids=["recorder", "SDK"])
def spans(request):
    return request.param()


@pytest.fixture
def traced_connect(spans):
    code = re.search(
        r"^```python\n(import errno\n.*?class Spans.*?)^```$",
        PAGE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    names = {"socket": socket, "create_connection": create_connection}
    exec(compile(code[1], str(PAGE), "exec"), names)
    return lambda address, **settings: names["traced_connect"](address, spans.tracer, spans.error, **settings)


def lookup(*answers):
    return "DNS lookup db.test", {"dns.question.name": "db.test", "dns.answers": list(answers)}, "UNSET"


def attempt(address, status="ERROR", **more):
    attributes = {
        "network.peer.address": address[0],
        "network.peer.port": address[1],
        "network.transport": "tcp",
        "network.type": "ipv6" if ":" in address[0] else "ipv4",
    }
    named = {name.replace("__", "."): value for name, value in more.items()}
    return f"socket connect {address[0]}:{address[1]}", attributes | named, status


def whole(error=None):
    attributes = {"server.address": "db.test", "server.port": 5432}
    name = "connect db.test:5432"
    return (name, attributes | {"error.type": error}, "ERROR") if error else (name, attributes, "UNSET")


def test_a_refusal_and_then_a_connection(spans, traced_connect):
    with testing.refused() as nobody, testing.echo() as server:
        addresses = resolver(nobody.address, server.address)
        with traced_connect(("db.test", 5432), timeout=5, resolver=addresses) as sock:
            host, port = sock.getsockname()
    assert spans.ended() == [
        lookup("127.0.0.1", "127.0.0.1"),
        attempt(nobody.address, error__type="ConnectionRefusedError"),
        attempt(server.address, "UNSET", network__local__address=host, network__local__port=port),
        whole(),
    ]


@needs_ipv6
def test_the_other_family(spans, traced_connect):
    with testing.refused(host="::1") as nobody:
        ran_into(
            ConnectionRefusedError, traced_connect, ("db.test", 5432), timeout=5, resolver=resolver(nobody.address)
        )
        assert spans.ended() == [
            lookup("::1"),
            attempt(nobody.address, error__type="ConnectionRefusedError"),
            whole("ConnectionRefusedError"),
        ]


def test_one_that_was_overtaken(spans, traced_connect):
    with testing.blackhole() as hole, testing.echo() as server:
        settings = {"resolver": resolver(hole.address, server.address), "happy_eyeballs_delay": 0.01}
        with traced_connect(("db.test", 5432), timeout=5, **settings) as sock:
            host, port = sock.getsockname()
        assert spans.ended()[1:] == [
            attempt(hole.address, error__type="cancelled"),
            attempt(server.address, "UNSET", network__local__address=host, network__local__port=port),
            whole(),
        ]


def test_silence(spans, traced_connect):
    with testing.blackhole() as hole:
        ran_into(TimeoutError, traced_connect, ("db.test", 5432), timeout=0.05, resolver=resolver(hole.address))
        assert spans.ended()[1:] == [attempt(hole.address, error__type="cancelled"), whole("TimeoutError")]


def test_a_name_that_does_not_exist(spans, traced_connect):
    with testing.names({}):
        ran_into(socket.gaierror, traced_connect, ("db.test", 5432), timeout=5)
    failed = {"dns.question.name": "db.test", "error.type": "gaierror"}
    assert spans.ended() == [("DNS lookup db.test", failed, "ERROR"), whole("gaierror")]


@needs_port_range
def test_one_that_met_itself(spans, traced_connect):
    with testing.self_connecting() as nobody, pytest.raises(ConnectionRefusedError):
        traced_connect(("db.test", 5432), timeout=5, resolver=resolver(nobody.address))
    host, port = nobody.address
    met = attempt(nobody.address, error__type="self_connect", network__local__address=host, network__local__port=port)
    assert spans.ended()[1:] == [met] * 16 + [whole("SelfConnectError")]


def test_an_interrupt_leaves_no_span_open(spans, traced_connect):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        traced_connect(("db.test", 5432), timeout=None, resolver=interrupt)
    names = {"dns.question.name": "db.test", "error.type": "cancelled"}
    assert spans.ended()[0] == ("DNS lookup db.test", names, "ERROR")
    assert spans.ended()[-1][0] == "connect db.test:5432"


@linux_only
def test_an_error_of_no_class_of_its_own(spans, traced_connect):
    with pytest.raises(OSError, match="unreachable"):  # TCP has no broadcast
        traced_connect(("db.test", 5432), timeout=5, resolver=resolver(("255.255.255.255", 5432)))
    assert spans.ended()[1][1]["error.type"] == "ENETUNREACH"
    assert spans.ended()[-1] == whole("ENETUNREACH")


def test_the_attributes_are_those_of_the_conventions():
    conventions = pytest.importorskip("opentelemetry.semconv.attributes", reason="opentelemetry is not installed")
    from opentelemetry.semconv._incubating.attributes import dns_attributes
    from opentelemetry.semconv.attributes import error_attributes, network_attributes, server_attributes

    assert conventions
    modules = (dns_attributes, error_attributes, network_attributes, server_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    used = set(re.findall(r"`((?:dns|error|network|server)\.[\w.]+)`", PAGE.read_text()))
    assert len(used) == 11
    assert used <= known

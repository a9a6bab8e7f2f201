"""Connector and ConnectMemory: settings as a value, and what is remembered."""

import copy
import inspect
import pickle
import re
import socket
import threading
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import ConnectMemory, Connector, NoDelay, Retry, RetryBudget, create_connection, is_global_address
from safeconnect._sockets.lifecycle import DEFAULT_TIMEOUT
from safeconnect.typing import AsyncKeywords, Keywords

from ..support import in_threads, python

COPIES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


class TestConnector:
    def test_holds_all_settings_with_their_defaults(self):
        connector = Connector()
        assert connector._values() == {
            "all_errors": False,
            "allow": None,
            "allow_self_connect": False,
            "attempt_timeout": None,
            "family": 0,
            "happy_eyeballs_delay": 0.25,
            "memory": None,
            "options": (),
            "resolution_delay": None,
            "resolver": None,
            "retry": None,
            "second_attempt_delay": 1.0,
            "share_source": False,
            "source_address": None,
            "source_ports": None,
            "timeout": DEFAULT_TIMEOUT,
            "trace": None,
        }

    def test_each_setting_is_a_keyword_and_documented(self):
        names = set(inspect.signature(Connector).parameters) - {"unknown"}
        assert {*AsyncKeywords.__annotations__, "timeout"} - {"connector"} == names
        assert set(re.findall(r":param (\w+):", Connector.__doc__)) == names
        assert names == set(Connector()._values())
        keywords = set(Keywords.__annotations__)
        assert {name for name in keywords if f"``{name}``" in create_connection.__doc__} == keywords

    def test_connects_with_its_own_timeout_or_another(self, server):
        connector = Connector(timeout=3)
        for timeout, expected in ((DEFAULT_TIMEOUT, 3), (5, 5), (None, None)):
            with connector.connect(server.getsockname(), timeout) as sock:
                assert sock.gettimeout() == expected

    def test_can_be_replaced_by_one_with_other_values(self):
        connector = Connector(timeout=3, source_address=["127.0.0.1"], source_ports="20000-20999", retry=Retry())
        other = connector.replace(timeout=4)
        assert (other.timeout, other.retry, other.source) == (4, connector.retry, connector.source)
        assert other.replace(timeout=3) == connector
        assert connector.replace(source_address=None, source_ports=None).source is None
        with pytest.raises(TypeError, match="nonsense"):
            connector.replace(nonsense=1)

    @pytest.mark.parametrize("timeout", [DEFAULT_TIMEOUT, 5, None])
    def test_can_be_copied_and_pickled(self, timeout):
        connector = Connector(timeout=timeout, source_ports="20000-20999", retry=Retry(attempts=2))
        for twin in (copy.copy(connector), copy.deepcopy(connector), pickle.loads(pickle.dumps(connector))):
            assert twin == connector
            assert twin.source == connector.source

    @pytest.mark.parametrize("copied", COPIES)
    def test_is_copied_with_its_memory_and_its_budget(self, copied):
        memory, budget = ConnectMemory(size=3, lifetime=7.5), RetryBudget(tokens=4.5, ratio=0.25)
        memory.remember("host", ("192.0.2.1", 1), seconds=1, now=1)
        budget.failed()
        connector = Connector(memory=memory, retry=Retry(budget=budget))
        twin = copied(connector)
        assert (twin.memory._size, twin.memory._lifetime) == (3, 7.5)
        assert repr(twin.retry.budget).endswith("tokens=4.5 ratio=0.25>")
        if copied is copy.copy:
            assert twin == connector  # a shallow copy shares what it holds
            return
        assert len(twin.memory) == 0
        assert twin.retry.budget.level == 4.5
        twin.retry.budget.failed()
        twin.memory.forget()
        assert (budget.level, len(memory)) == (3.5, 1)

    @pytest.mark.parametrize("copied", COPIES)
    @pytest.mark.parametrize("allow", [["10.0.0.0/8", ip_network("::1")], is_global_address])
    def test_is_copied_with_its_limits(self, copied, allow):
        connector = Connector(family=socket.AF_INET, allow=allow)
        twin = copied(connector)
        assert twin == connector == connector.replace(timeout=5).replace(timeout=DEFAULT_TIMEOUT)
        assert hash(twin) == hash(connector)
        assert twin.allow == (allow if callable(allow) else tuple(map(ip_network, allow)))
        assert connector != connector.replace(allow=["::1"])
        assert connector.replace(allow=None, family=0) == Connector()

    def test_reaches_a_process_that_is_spawned(self, server):
        connector = Connector(timeout=10, memory=ConnectMemory(), retry=Retry(budget=RetryBudget()))
        with connector.connect(server.getsockname()):
            pass
        code = f"""
            import pickle
            connector = pickle.loads({pickle.dumps(connector)!r})
            with connector.connect({server.getsockname()!r}):
                print(len(connector.memory), connector.retry.budget.level)
        """
        assert python(code) == "1 10.0\n"

    def test_is_immutable(self):
        connector = Connector()
        with pytest.raises(AttributeError, match="Connector is immutable"):
            connector.timeout = 5
        with pytest.raises(AttributeError, match="Connector is immutable"):
            del connector.options

    def test_is_equal_by_value(self):
        retry = Retry(attempts=2)
        one = Connector(timeout=5, options=iter([NoDelay()]), retry=retry)
        assert one == Connector(timeout=5, options=[NoDelay()], retry=retry)
        assert hash(one) == hash(Connector(timeout=5, options=[NoDelay()], retry=retry))
        assert one != Connector(timeout=6, options=[NoDelay()], retry=retry)
        assert one != 5
        assert "timeout=5" in repr(one)
        assert "NoDelay" in repr(one)

    def test_option_values_reach_the_socket(self, server):
        for settings in ({}, {"retry": Retry()}):
            with Connector(options=[NoDelay()], **settings).connect(server.getsockname(), 5) as sock:
                assert sock.getsockopt(6, 1)


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_memory_begins_empty_and_one_of_a_budget_full(copied):
    memory, budget = ConnectMemory(size=2), RetryBudget(tokens=3, ratio=0.5)
    memory.remember("host", ("192.0.2.1", 1), seconds=1, now=1)
    budget.failed()
    twin, other = copied(memory), copied(budget)
    assert (type(twin), len(twin), len(memory)) == (ConnectMemory, 0, 1)
    assert (type(other), other.level, budget.level) == (RetryBudget, 3.0, 2.0)
    other.failed()
    other.succeeded()
    assert other.level == 2.5


class TestMemory:
    def test_keeps_the_last_answer(self):
        memory = ConnectMemory()
        assert memory.recall("a", now=0.0) is None
        memory.remember("a", ("1", 1), seconds=0.5, now=0.0)
        memory.remember("a", ("2", 1), seconds=0.25, now=1.0)
        assert memory.recall("a", now=1.0) == (("2", 1), 0.5)
        memory.forget()
        assert memory.recall("a", now=1.0) is None

    @given(st.floats(0, 100))
    def test_delay_stays_within_its_bounds(self, seconds):
        memory = ConnectMemory()
        memory.remember("a", ("1", 1), seconds=seconds, now=0.0)
        assert memory.recall("a", now=0.0)[1] == min(max(2 * seconds, 0.1), 2.0)

    def test_forgets_what_is_old(self):
        memory = ConnectMemory(lifetime=600)
        memory.remember("a", ("1", 1), seconds=0.1, now=0.0)
        assert memory.recall("a", now=600.0)
        assert memory.recall("a", now=600.1) is None
        assert len(memory) == 0

    def test_is_bounded_and_drops_what_is_unused_for_longest(self):
        memory = ConnectMemory(size=2)
        memory.remember("a", ("1", 1), seconds=0.1, now=0.0)
        memory.remember("b", ("2", 1), seconds=0.1, now=0.0)
        memory.recall("a", now=0.0)
        memory.remember("c", ("3", 1), seconds=0.1, now=0.0)
        assert [host for host in "abc" if memory.recall(host, now=0.0)] == ["a", "c"]
        assert repr(memory) == "<ConnectMemory: 2 hosts>"

    @pytest.mark.parametrize("settings", [{"size": 0}, {"lifetime": 0}, {"lifetime": float("nan")}])
    def test_refuses_bad_bounds(self, settings):
        with pytest.raises(ValueError, match=r"size|lifetime"):
            ConnectMemory(**settings)

    def test_serves_many_threads(self):
        memory = ConnectMemory(size=8)
        start = threading.Barrier(8)
        failed = []

        def work(number):
            start.wait()
            for round_ in range(500):
                host = (number + round_) % 16
                memory.remember(host, (str(host), 1), seconds=0.1, now=0.0)
                answer = memory.recall(host, now=0.0)
                if answer not in (None, ((str(host), 1), 0.2)) or len(memory) > 8:
                    failed.append(answer)

        in_threads(work, range(8))
        assert failed == []

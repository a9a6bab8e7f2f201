"""The benchmark of a reconnect storm simulates what it says it does: small storms, reckoned by hand."""

import importlib
import sys
from collections import Counter
from itertools import pairwise

import pytest

from safeconnect import Backoff

from ..namespace import ROOT

BENCHMARKS = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="the benchmarks are not beside these tests")


@pytest.fixture(scope="module")
def storm():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("storm")
    for name in ("storm", "storm_model", "measure"):
        sys.modules.pop(name, None)


@pytest.fixture
def model(storm):
    return sys.modules["storm_model"]


@pytest.fixture
def run(storm):
    """A storm that writes down when attempts knock, and who was accepted when."""

    class Watched(storm.Storm):
        def _knock(self, step, knocking):
            self.knocks += [(step, n, sent, len(clients)) for n, sent, clients in knocking]
            super()._knock(step, knocking)

        def _accept(self, client, step):
            self.admitted.append((client, step))
            super()._accept(client, step)

        def _pause(self, step, n, clients):
            self.pauses += len(clients)
            super()._pause(step, n, clients)

    def run(contender, seed=0, **scene):
        watched = Watched(contender, storm.Scene(**{"noticed": 0} | scene), seed)
        watched.knocks, watched.admitted, watched.pauses = [], [], 0
        return watched.run()

    return run


def fixed(storm, seconds):
    return storm.Contender("fixed", Backoff(seconds, 1, seconds, "none"))


def accepted(done):
    return sorted(step for _, step in done.admitted)


class TestServer:
    def test_accepts_in_turn_what_the_queue_holds(self, model):
        server = model.Server(rate=200, queue=3)
        assert server.room(0) == 5  # two of this step, and three that wait
        assert [server.admit(0) for _ in range(5)] == [0, 0, 1, 1, 2]
        assert [server.room(step) for step in (0, 1, 2, 3)] == [0, 2, 4, 5]

    def test_idle_time_is_lost(self, model):
        server = model.Server(rate=100, queue=0)
        assert server.admit(7) == 7
        assert (server.room(7), server.room(8)) == (0, 1)

    @pytest.mark.parametrize("rate", [0, 99, 150])
    def test_a_rate_that_no_step_can_keep(self, model, rate):
        with pytest.raises(ValueError, match="rate must be"):
            model.Server(rate, queue=1)


class TestByHand:
    def test_refused_until_the_server_is_back(self, storm, run):
        # Refused after a step, then a pause of five: one attempt in six steps, until the tenth is past.
        done = run(fixed(storm, 0.05), clients=1, outage=0.1, rate=100, queue=1)
        assert done.knocks == [(0, 1, 0, 1), (6, 2, 0, 1), (12, 3, 0, 1)]
        figures = done.figures()
        assert (figures["attempts"], figures["failed"], figures["back_all_s"]) == (3, 2, 0.03)

    def test_what_the_full_queue_drops_is_sent_again_by_the_kernel(self, storm, run):
        # One is accepted in a step, and two wait: so three of each wave get in.
        done = run(fixed(storm, 1), clients=10, outage=0, rate=100, queue=2)
        assert done.knocks == [(0, 1, 0, 10), (101, 1, 1, 7), (204, 1, 2, 4), (306, 1, 3, 1)]
        assert accepted(done) == [0, 1, 2, 101, 102, 103, 204, 205, 206, 306]
        figures = done.figures()
        assert (figures["attempts"], figures["failed"], figures["syns"]) == (10, 0, 22)
        assert (figures["back_50_s"], figures["back_all_s"]) == (1.03, 3.07)

    def test_silence_ends_with_the_timeout(self, storm, run):
        # Without a queue one gets in at a time. The others know after a second, and pause for half of one.
        done = run(fixed(storm, 0.5), clients=4, outage=0, rate=100, queue=0, timeout=1)
        assert done.knocks == [(0, 1, 0, 4), (150, 2, 0, 3), (300, 3, 0, 2), (450, 4, 0, 1)]
        assert accepted(done) == [0, 150, 300, 450]
        assert done.figures()["failed"] == 3 + 2 + 1

    def test_series_count_by_the_second(self, storm, run):
        done = run(fixed(storm, 0.5), clients=4, outage=0, rate=100, queue=0, timeout=1)
        assert done.series() == {
            "attempts_per_s": [4, 3, 0, 2, 1],
            "syns_per_s": [4, 3, 0, 2, 1],
            "accepted_per_s": [1, 1, 0, 1, 1],
        }

    def test_pauses_grow(self, storm, run):
        contender = storm.Contender("exponential", Backoff(0.1, 2, 0.4, "none"))
        done = run(contender, clients=1, outage=1.5, rate=100, queue=1)
        assert [step for step, *_ in done.knocks] == [0, 11, 32, 73, 114, 155]

    def test_a_persistent_connection_starts_its_rounds_over(self, storm, run):
        # After the loss 0.1 s; three rounds, with 0.1 and 0.2 s between; 0.2 s; three rounds; 0.4 s.
        contender = storm.Contender("kept", Backoff(jitter="none"), attempts=3, keeps=True)
        done = run(contender, clients=1, outage=1, rate=100, queue=1)
        assert [(step, n) for step, n, *_ in done.knocks] == [
            *[(10, 1), (21, 2), (42, 3)],
            *[(63, 1), (74, 2), (95, 3)],
            (136, 1),
        ]

    def test_a_request_has_so_many_attempts(self, storm, run):
        contender = storm.Contender("requests", Backoff(jitter="none"), attempts=3, requests=10)
        done = run(contender, clients=1, outage=100, rate=100, queue=1)
        rounds = [n for _, n, *_ in done.knocks]
        assert rounds == [1, 2, 3] * (len(rounds) // 3) + [1]
        assert len(rounds) > 3
        steps = [step for step, *_ in done.knocks]
        assert {second - first for first, second in zip(steps[0::3], steps[1::3], strict=False)} == {11}

    @pytest.mark.parametrize("lasts", [True, False])
    def test_a_request_retries_until_its_deadline(self, storm, run, lasts):
        """Pauses of 3 s, of which 5 s hold one; so the second is cut, to end 0.11 s before the deadline, or sooner."""
        contender = storm.Contender("one", Backoff(3, 1, 3, jitter="none"), requests=10, lasts=lasts)
        done = run(contender, clients=1, outage=100, rate=100, queue=1)
        attempts = [(key[0], step - key[1] + 500) for step, key, *_ in done.knocks[:-1]]
        rounds = 3 if lasts else 2
        requests = [attempts[start : start + rounds] for start in range(0, len(attempts) - rounds, rounds)]
        assert len(requests) > 3
        for first, second, *last in requests:
            assert (first, second) == ((1, 0), (2, 301))
            assert all(n == 0 and 471 <= step <= 489 for n, step in last)

    def test_a_budget_ends_retries(self, storm, run):
        # Four tokens: three are left after the first failure, and allow one retry; then half of them.
        contender = storm.Contender("requests", attempts=3, requests=1, tokens=4, process=50)
        done = run(contender, clients=50, outage=20, rate=1000, queue=10)
        assert done.pauses == 1
        assert done.figures()["failed"] > 500

    def test_successes_fill_the_budget(self, storm, run):
        contender = storm.Contender("requests", attempts=3, requests=1, tokens=4, process=50)
        (budget,) = run(contender, clients=50, outage=20, rate=1000, queue=10)._budgets
        assert budget.level == 4  # a tenth of a token for each of the fifty

    @pytest.mark.parametrize("kind", [{"requests": 1}, {"keeps": True}], ids=["requests", "kept"])
    def test_silence_ends_a_connect_with_a_deadline(self, storm, run, kind):
        done = run(storm.Contender("deadline", attempts=3, **kind), clients=200, outage=0, rate=100, queue=0, timeout=1)
        assert done.figures()["failed"] > 0
        assert {n for _, n, *_ in done.knocks} == {1}

    def test_a_decorrelated_pause_grows_with_the_one_before(self, storm, run):
        contender = storm.Contender("decorrelated", Backoff(jitter="decorrelated"))
        steps = [step for step, *_ in run(contender, clients=1, outage=60, rate=100, queue=1).knocks]
        assert max(second - first for first, second in pairwise(steps)) > 1 + 3 * 10

    def test_places_are_drawn_by_lot(self, storm, run):
        done = run(fixed(storm, 1), clients=1000, outage=0, rate=100, queue=99)
        first = [client for client, step in done.admitted if step < 100]
        assert len(first) == 100
        assert min(first) < 100
        assert max(first) > 900

    def test_each_process_has_its_own_budget(self, storm, run):
        contender = storm.Contender("requests", attempts=3, requests=1, tokens=4, process=10)
        assert run(contender, clients=45, outage=20, rate=1000, queue=10).pauses == 5


CROWD = {"clients": 3000, "outage": 3, "rate": 200, "queue": 40, "noticed": 1}
NAMES = [
    "at once",
    "fixed pause, 1 s",
    "exponential, no jitter",
    "equal jitter",
    "decorrelated jitter",
    "full jitter: Backoff()",
    "PersistentConnection",
    "requests, no retry",
    "requests, Retry()",
    "requests, with budget",
]


class TestEveryContender:
    def test_all_are_here(self, storm):
        assert [contender.name for contender in storm.CONTENDERS] == NAMES

    @pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
    def test_nobody_is_lost_and_nobody_comes_twice(self, storm, run, number):
        done = run(storm.CONTENDERS[number], **CROWD)
        assert sorted(client for client, _ in done.admitted) == list(range(3000))
        steps = Counter(step for _, step in done.admitted)
        assert min(steps) >= 300
        assert max(steps.values()) == 2  # 200 a second
        assert max(done.accepted.values()) <= 200
        figures, series = done.figures(), done.series()
        assert figures["back"] == sum(series["accepted_per_s"]) == 3000
        assert figures["attempts"] == sum(series["attempts_per_s"]) == figures["failed"] + 3000
        assert figures["syns"] == sum(series["syns_per_s"]) >= figures["attempts"]
        assert 15 <= figures["back_all_s"] == (max(steps) - 299) / 100

    @pytest.mark.parametrize("number", [5, 6, 9], ids=[NAMES[number] for number in (5, 6, 9)])
    def test_the_seed_decides(self, storm, run, number):
        first, again, other = (run(storm.CONTENDERS[number], seed, **CROWD) for seed in (1, 1, 2))
        assert (first.figures(), first.series()) == (again.figures(), again.series())
        assert first.series() != other.series()

    def test_a_client_accepted_twice_is_an_error(self, storm, run):
        done = run(fixed(storm, 1), clients=1, outage=0, rate=100, queue=1)
        with pytest.raises(AssertionError, match="comes back twice"):
            done._accept(0, 9)


def test_a_scene_is_scaled_as_a_whole(storm):
    small = storm.Scene().scaled(50)
    assert (small.clients, small.rate, small.queue, small.outage) == (20_000, 400, 81, 60)

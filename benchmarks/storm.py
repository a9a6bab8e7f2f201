"""A million clients lose their server for a minute and want it back: what becomes of it under ten ways to retry.

A simulation; storm_model.py says of what. After the million come variations of the default, with a fiftieth of the
clients and of the server's rate and queue; one of them repeats the default itself, to show that this changes nothing.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

from measure import arguments, report, show, target
from storm_model import Contender, Scene, Storm

from safeconnect import Backoff, Retry

PART = 50
# What `Retry()` allows.
ROUNDS = Retry().attempts
# Seconds between the requests of one client, on average.
REQUESTS = 10
CONTENDERS = (
    Contender("at once", Backoff(0, jitter="none")),
    Contender("fixed pause, 1 s", Backoff(1, 1, 1, jitter="none")),
    Contender("exponential, no jitter", Backoff(jitter="none")),
    Contender("equal jitter", Backoff(jitter="equal")),
    Contender("decorrelated jitter", Backoff(jitter="decorrelated")),
    Contender("full jitter: Backoff()", Backoff()),
    Contender("PersistentConnection", attempts=ROUNDS, keeps=True),
    Contender("requests, no retry", attempts=1, requests=REQUESTS),
    Contender("requests, Retry()", attempts=ROUNDS, requests=REQUESTS),
    Contender("requests, with budget", attempts=ROUNDS, requests=REQUESTS, tokens=10),
)
FIXED, NO_JITTER, DEFAULT, BUDGET = (CONTENDERS[index] for index in (1, 2, 5, 9))


def varied() -> Iterator[tuple[str, Contender, Scene]]:
    """The default with other values; its rivals, where the clients notice sooner or later; budgets."""
    tight = Scene().scaled(PART)
    ample = replace(tight, rate=10 * tight.rate)
    scenes = {"down 60 s": tight, "down 60 s, ten times the rate": ample}
    scenes["down 1 s, ten times the rate"] = replace(ample, outage=1)
    values = [Backoff(maximum=maximum) for maximum in (1, 2, 5, 10, 20, 30, 60)]
    values += [Backoff(initial=initial) for initial in (0.02, 0.5, 1)] + [Backoff(factor=factor) for factor in (1.5, 3)]
    for title, scene in scenes.items():
        for backoff in values:
            name = f"initial {backoff.initial:g}, factor {backoff.factor:g}, maximum {backoff.maximum:g}"
            yield title, Contender(name, backoff), scene
    for noticed in (0.01, 1, 10):
        for contender in (FIXED, NO_JITTER, DEFAULT):
            yield f"noticed within {noticed:g} s", contender, replace(tight, noticed=noticed)
    for attempts in (1, 2, 3):
        yield "PersistentConnection", Contender(f"Retry(attempts={attempts})", attempts=attempts, keeps=True), tight
    for backoff in (Backoff(), Backoff(initial=1, maximum=60)):
        for lasts in (False, True):
            last = "a last attempt" if lasts else "no last attempt"
            name = f"until the deadline, initial {backoff.initial:g}, {last} before it"
            yield "requests, Retry(attempts=None)", Contender(name, backoff, requests=REQUESTS, lasts=lasts), tight
    patient = replace(tight, timeout=30)
    for has_seconds in (False, True):
        which = "second attempts" if has_seconds else "the kernel's SYNs alone"
        yield "timeout 30 s", replace(DEFAULT, name=f"all the time, {which}", seconds=has_seconds), patient
        requests = Contender(f"requests, {which}", attempts=1, requests=REQUESTS, seconds=has_seconds)
        yield "timeout 30 s", requests, patient
    for tokens, process in ((10, 100), (10, 1000), (100, 1000)):
        name = f"{tokens} tokens for {process:,} clients"
        yield "requests, with budget", replace(BUDGET, name=name, process=process, tokens=tokens), tight


def simulate(contender: Contender, scene: Scene) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Figures and series of one storm."""
    began = perf_counter()
    storm = Storm(contender, scene).run()
    return storm.figures() | {"simulated_in_s": round(perf_counter() - began, 1)}, storm.series()


def seconds(value: float | None) -> str:
    """A time for a table."""
    return "over 1 h" if value is None else f"{value:.1f}"


def millions(value: float) -> str:
    """A count for a table."""
    return f"{value / 1e6:,.2f} M"


def show_whole(scene: Scene, results: dict[str, dict[str, Any]]) -> None:
    """The contenders' table."""
    least = scene.clients / scene.rate
    show(
        f"{scene.clients:,} clients, down {scene.outage:g} s, then {scene.rate:,} connections a second: all back after "
        f"{least:g} s at the soonest",
        ["", "attempts/s, peak", "last s down", "SYNs/s, back", "failed", "a client", "99 % back, s", "all, s"],
        [
            (
                name,
                *(millions(each[key]) for key in ("peak_attempts_per_s", "last_attempts_per_s", "peak_syns_per_s")),
                millions(each["failed"]),
                f"{each['failed_per_client']:,.1f}",
                *(seconds(each[key]) for key in ("back_99_s", "back_all_s")),
            )
            for name, each in results.items()
        ],
    )


def show_varied(scene: str, rows: Iterable[dict[str, Any]]) -> None:
    """One table of variations."""
    show(
        scene,
        [
            "",
            "attempts/s, peak",
            "last s down",
            "SYNs/s, back",
            "failed a client",
            "50 % back, s",
            "99 % back, s",
            "all, s",
        ],
        [
            (
                each["name"],
                *(f"{each[key]:,}" for key in ("peak_attempts_per_s", "last_attempts_per_s", "peak_syns_per_s")),
                each["failed_per_client"],
                *(seconds(each[key]) for key in ("back_50_s", "back_99_s", "back_all_s")),
            )
            for each in rows
        ],
    )


def check(scene: Scene, results: dict[str, dict[str, Any]], small: dict[str, Any]) -> list[dict[str, object]]:
    """What every storm must keep to, and what our default is to reach."""
    least = scene.clients / scene.rate
    name, ours = DEFAULT.name, results[DEFAULT.name]
    over = [each for each, figures in results.items() if figures["most_accepted_per_s"] > scene.rate]
    lost = [each for each, figures in results.items() if figures["back"] != scene.clients]
    apart = abs(small["back_99_s"] / ours["back_99_s"] - 1)
    last = least + DEFAULT.backoff.maximum
    return [
        target(f"every client comes back ({', '.join(lost) or 'all do'})", met=not lost),
        target(f"never more than {scene.rate:,} accepted in a second ({', '.join(over) or 'none'})", met=not over),
        target(
            f"{name}: 99 % back within 1.05 x the soonest, {1.05 * least:g} s (is {ours['back_99_s']})",
            met=ours["back_99_s"] <= 1.05 * least,
        ),
        target(
            f"{name}: all back within the soonest and the longest pause, {last:g} s (is {ours['back_all_s']})",
            met=ours["back_all_s"] <= last,
        ),
        target(f"{name}: 99 % back as soon in a storm 1/{PART} as large, within 2 % ({apart:.1%})", met=apart <= 0.02),
    ]


def main() -> None:
    """Simulate, show and write it all down."""
    options = arguments(__doc__, rounds=1, quick=None).parse_args()
    scene = Scene()
    variations = list(varied())
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        # The longest first, so that no processor is idle in the end.
        whole = {each.name: pool.submit(simulate, each, scene) for each in reversed(CONTENDERS)}
        small = [pool.submit(simulate, contender, part) for _, contender, part in variations]
        results = {each.name: whole[each.name].result()[0] for each in CONTENDERS}
        series = {each.name: whole[each.name].result()[1] for each in CONTENDERS}
        rows = [
            {"scene": title, "name": contender.name} | future.result()[0]
            for (title, contender, _), future in zip(variations, small, strict=True)
        ]
    show_whole(scene, results)
    print(f"\nwith {scene.clients // PART:,} clients, and a server 1/{PART} as fast:")
    for title in dict.fromkeys(row["scene"] for row in rows):
        show_varied(title, (row for row in rows if row["scene"] == title))
    same = next(row for row in rows if row["scene"] == "noticed within 1 s" and row["name"] == DEFAULT.name)
    written = {"scene": asdict(scene), "contenders": results, "varied": rows, "series": series}
    report("storm", options, written, check(scene, results, same))


if __name__ == "__main__":
    main()

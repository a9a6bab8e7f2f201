"""What the pytest plugin adds to a run that does not use it, and what each fixture takes: set-up and end.

The runs are pytest processes on a folder without tests, in turns with and without the plugin. The figure is processor
time, for the plugin waits for nothing and other programs cost it nothing. ``pytest_run_alone`` is what pytest itself
takes. The fixtures are timed by the clock, in this process, after their modules are loaded; "first" is the first one of
the process, which loads them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from measure import arguments, report, show, target

ROOT = Path(__file__).resolve().parent.parent
# For each fixture the most milliseconds that it may take; None: it is shown only.
LIMITS_MS = {
    "refused": 2.0,
    "echo": 2.0,
    "silent": 2.0,
    "self_connecting": 2.0,
    "blackhole": 400.0,
    "dead_peer": 500.0,
    "exposed_host": None,
    "tls": None,
}
IN_NAMESPACES = ("dead_peer", "exposed_host")
PLUGIN_LIMIT_MS = 10.0


def plugin_cost(rounds: int) -> dict[str, float]:
    """Milliseconds of a run without tests, and of those that the plugin adds; the median of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {"alone": [], "plugin": ["-p", "safeconnect.pytest_plugin"]}
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(-1, rounds):  # the first round compiles
            for name, options in runs.items():
                seconds = run_pytest(folder, options)
                if number >= 0:
                    taken[name].append(seconds * 1e3)
    added = [more - alone for alone, more in zip(taken["alone"], taken["plugin"], strict=True)]
    return {
        "pytest_run_alone_ms": round(statistics.median(taken["alone"]), 1),
        "plugin_adds_ms": round(statistics.median(added), 1),
    }


def run_pytest(folder: str, options: list[str]) -> float:
    """Seconds of processor time that one run takes."""
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(Path(folder) / ".cache"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of what is installed, only what is compared
    }
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False, timeout=60)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fixture_times(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each fixture that there is here."""
    from safeconnect import testing

    unavailable = testing.namespaces_unavailable()
    found = {}
    for name in LIMITS_MS:
        if name in IN_NAMESPACES and unavailable:
            print(f"{name} is left out: {unavailable}")
            continue
        make: Callable[[], AbstractContextManager[object]] = getattr(testing, name)
        few = max(rounds // 10, 3) if name in (*IN_NAMESPACES, "tls") else rounds
        taken = [milliseconds(make) for _ in range(few + 1)][1:]
        found[name] = {"median_ms": round(statistics.median(taken), 2), "longest_ms": round(max(taken), 2)}
    return found


def milliseconds(make: Callable[[], AbstractContextManager[object]]) -> float:
    """Milliseconds of set-up and end."""
    began = perf_counter()
    with make():
        pass
    return (perf_counter() - began) * 1e3


def first_times(names: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds of the first fixture of a process, with the modules that it loads."""
    code = "import sys, time; began = time.perf_counter(); from safeconnect import testing\n"
    code += "testing.namespaces_unavailable() if sys.argv[1] == 'dead_peer' else None\n"
    code += "with getattr(testing, sys.argv[1])(): pass\nprint((time.perf_counter() - began) * 1e3)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = {}
    for name in names:
        runs = [
            float(subprocess.check_output([sys.executable, "-c", code, name], env=environment, timeout=60))
            for _ in range(6)
        ]
        found[name] = round(statistics.median(runs[1:]), 1)
    return found


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=30).parse_args()
    plugin = plugin_cost(options.rounds)
    fixtures = fixture_times(options.rounds)
    first = first_times(tuple(name for name in ("refused", "echo", "dead_peer") if name in fixtures))
    show(
        "set-up and end of a fixture",
        ("fixture", "median ms", "longest ms"),
        [(n, *f.values()) for n, f in fixtures.items()],
    )
    show("the first of a process, with its modules", ("fixture", "median ms"), list(first.items()))
    show("a pytest run without tests, processor time", ("", "ms"), list(plugin.items()))
    targets = [
        target(f"{name}: at most {most} ms (is {figure})", met=figure <= most)
        for name, most in LIMITS_MS.items()
        if most is not None and name in fixtures
        for figure in [fixtures[name]["median_ms"]]
    ]
    adds = plugin["plugin_adds_ms"]
    targets.append(target(f"the plugin adds at most {PLUGIN_LIMIT_MS} ms (is {adds})", met=adds <= PLUGIN_LIMIT_MS))
    results = {"plugin": plugin, "fixtures": fixtures, "first": first}
    report("fixtures", options, results, targets, packages=("safeconnect", "pytest"))


if __name__ == "__main__":
    main()

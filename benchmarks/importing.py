"""Time and memory of ``import safeconnect`` in a program that has imported ``socket`` already.

Each import happens in a fresh interpreter, in turns with urllib3, httpcore and an import that does nothing.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from measure import arguments, report, show, target

# What each interpreter imports, timed; "socket" is there already, and so tells what the measurement itself takes.
MODULES = {
    "nothing": "socket",
    "safeconnect": "safeconnect._connect.blocking",
    "urllib3": "urllib3",
    "httpcore": "httpcore",
}
LIMIT_MS = 6.0
LIMIT_MB = 1.5

CHILD = """
import sys
sys.path.insert(0, {folder!r})
import socket
from time import perf_counter

def resident_kb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

resident_kb()
modules = len(sys.modules)
before = resident_kb()
began = perf_counter()
import {module}
seconds = perf_counter() - began
after = resident_kb()
print([seconds * 1e3, (after - before) / 1024, len(sys.modules) - modules])
"""


def import_once(module: str, cache: str) -> list[float]:
    """Milliseconds, megabytes and the number of modules that one import takes in an interpreter of its own."""
    spec = find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        raise SystemExit(f"{module} is not installed")
    package = Path(spec.origin).parent
    folder = package.parent if spec.submodule_search_locations else package
    # -I keeps the user's own settings out; the cache of compiled modules is ours, so that the warm-up can fill it.
    code = CHILD.format(folder=str(folder), module=module)
    command = [sys.executable, "-I", "-X", f"pycache_prefix={cache}", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    taken: list[float] = json.loads(done.stdout)
    return taken


def measure_all(rounds: int) -> dict[str, list[list[float]]]:
    """What each import added, module by module, in turns."""
    with tempfile.TemporaryDirectory() as cache:
        for module in MODULES.values():
            import_once(module, cache)
        taken: dict[str, list[list[float]]] = {name: [] for name in MODULES}
        for _ in range(rounds):
            for name, module in MODULES.items():
                taken[name].append(import_once(module, cache))
    return taken


def main() -> None:
    """Measure, show and write it all down."""
    options = arguments(__doc__, rounds=25).parse_args()
    results = {}
    for name, taken in measure_all(options.rounds).items():
        times, sizes, modules = zip(*taken, strict=True)
        results[name] = {
            "median_ms": round(statistics.median(times), 2),
            "p90_ms": round(statistics.quantiles(times, n=10)[-1], 2),
            "median_mb": round(statistics.median(sizes), 2),
            "modules": modules[0],
        }
    rows = [(name, *figures.values()) for name, figures in results.items()]
    show("on top of `import socket`", ("import", "median ms", "p90 ms", "median MB", "modules"), rows)
    ms, mb = results["safeconnect"]["median_ms"], results["safeconnect"]["median_mb"]
    targets = [
        target(f"at most {LIMIT_MS} ms on top of `import socket` (is {ms})", met=ms <= LIMIT_MS),
        target(f"at most {LIMIT_MB} MB on top of `import socket` (is {mb})", met=mb <= LIMIT_MB),
    ]
    report("importing", options, results, targets)


if __name__ == "__main__":
    main()

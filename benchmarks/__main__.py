"""Run the benchmarks: ``python -m benchmarks`` all of them, ``python -m benchmarks connect exchanges`` those two.

Each runs in a process of its own, and in a network of its own where the machine allows that. ``--quick`` shortens those
that can be shortened to a minute in all, and keeps no figures. Options that are not known here go to each of them, such
as ``--rounds``, or ``--check`` of ``counts``.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
# One simulates, and needs no clock; the other waits for seconds, and needs no processor: they run side by side.
SIMULATION, WAITS = "storm", "busy_server"
NETWORK = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def names() -> list[str]:
    """The benchmarks: those modules here that report figures."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if re.search(r"^    report\(", path.read_text(), re.MULTILINE)
    )


def network() -> list[str]:
    """What starts a program in a network of its own; nothing where that is not possible."""
    try:
        subprocess.run([*NETWORK, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"in this machine's own network, for there can be no other ({error})")
        return []
    return NETWORK


def start(name: str, python: str, prefix: Iterable[str], options: Iterable[str]) -> subprocess.Popen[bytes]:
    """Start one benchmark."""
    nice = ["nice", "-n", "19"] if name == SIMULATION and os.name == "posix" else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([*nice, *prefix, python, str(HERE / f"{name}.py"), *options], env=environment)


def run(chosen: list[str], python: str, prefix: list[str], options: list[str], json: Path | None) -> list[str]:
    """Run these benchmarks; return those that failed."""
    failed = []
    beside: dict[str, subprocess.Popen[bytes]] = {}
    # The simulation goes first, for it is waited for last.
    for name in sorted(chosen, key=lambda name: (name != SIMULATION, name != WAITS)):
        began = monotonic()
        where = ["--json", str(json)] if json else []
        print(f"\n== {name}", flush=True)
        process = start(name, python, prefix, [*where, *options])
        if name == SIMULATION and WAITS in chosen:
            beside[name] = process
            continue
        failed += [name] if process.wait() else []
        failed += [name for name, process in beside.items() if process.wait()]
        beside.clear()
        print(f"{name} took {monotonic() - began:.0f} s", flush=True)
    return failed


def main() -> int:
    """Run all, or what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="a minute in all; the figures are not kept")
    parser.add_argument("--json", type=Path, metavar="DIRECTORY", help="where to write the figures (default results/)")
    parser.add_argument(
        "--python", action="append", metavar="PATH", help="with this Python; may be given several times"
    )
    given, options = parser.parse_known_args()
    unknown = set(given.names) - set(names())
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if given.json:
        given.json.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    prefix = network()
    options += ["--quick"] if given.quick else []
    failed = []
    for python in given.python or [sys.executable]:
        print(f"\n{python}" if given.python else "", flush=True)
        failed += run(given.names or names(), python, prefix, options, given.json)
    print(f"\nall took {monotonic() - began:.0f} s")
    print(f"failed: {', '.join(failed)}" if failed else "to renew the documentation: python docs/_figures.py")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

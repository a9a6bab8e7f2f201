"""Instructions and system calls of one operation, ours beside the standard library's, counted and not timed.

valgrind counts the instructions in user space, strace the system calls, of the same operations (`count_cases.py`), in
a network and with an /etc/hosts of their own. No load of the machine changes them: two runs differ by less than 1 %.
`--check` compares them with the committed ones: it fails where the ratio of the instructions has grown by more than
3 %, or where an operation makes more system calls beyond its peer's than it did. Linux 6.3 or later.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from count_cases import NAME, OPERATIONS
from measure import arguments, path_of, report, show, target, written

from safeconnect._sockets import kernel

CASES = Path(__file__).with_name("count_cases.py")
PACKAGES = ("safeconnect", "trio", "uvloop")
GROWTH = 0.03  # of the ratio to the peer, in the same build of Python
GROWTH_ELSEWHERE = 0.10  # in another one: its compiler may be better at what a peer does than at what we do
CALLS = 0.05  # of one operation: windows are prefetched once in 64 connects
WAKES = 3.0  # threads that wait for each other do so more or less often
HOSTS = f"127.0.0.1 localhost {NAME}\n::1 localhost6\n"
# Looked up in the file of hosts first, as on most machines.
SWITCH = "hosts: files dns\n"
# What is wanted of a plain connect; names cost a lookup on both sides.
LIMITS = {
    "127.0.0.1, stdlib": 0.62,
    "127.0.0.1, timeout, stdlib": 0.62,
    "::1, stdlib": 0.62,
    "localhost, stdlib": 1.0,
    "asyncio: streams, asyncio.open_connection": 0.60,
}
_CALL = re.compile(r"^\d+ +(\w+)\(")  # not where one that was interrupted goes on: that is the same call

Figures = dict[str, dict[str, dict[str, Any]]]


@contextmanager
def surroundings() -> Iterator[list[str]]:
    """What starts a program with a network and an /etc/hosts of its own; nothing where that is not possible."""
    with tempfile.TemporaryDirectory() as directory:
        hosts, switch = Path(directory, "hosts"), Path(directory, "nsswitch.conf")
        hosts.write_text(HOSTS, encoding="ascii")
        switch.write_text(SWITCH, encoding="ascii")
        script = 'ip link set lo up && mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift'
        prefix = ["unshare", "-rnm", "sh", "-c", script + ' && exec "$@"', str(hosts), str(switch)]
        try:
            subprocess.run([*prefix, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"names are left out: no namespaces of its own here ({error})")
            prefix = []
        yield prefix


def run_cases(prefix: Sequence[str], tool: Sequence[str]) -> list[tuple[str, str]]:
    """Run all cases under a tool; which they were, in order."""
    root = str(CASES.parent.parent)
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join([root, *sys.path[1:]])}
    command = [*prefix, *tool, sys.executable, "-S", str(CASES), *(["--name"] if prefix else [])]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [(case, name) for case, name in json.loads(done.stdout.splitlines()[-1])]


def instructions(prefix: Sequence[str], directory: str) -> dict[tuple[str, str], float]:
    """Instructions in user space of one operation. Each mark writes a file with those since the mark before."""
    files = Path(directory, "counts")
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={files}", "--dump-before=getloadavg"]
    cases = run_cases(prefix, tool)
    found = {}
    for number, case in enumerate(cases, start=1):
        # The first file ends where the first case begins, and each case ends with the second of its two marks.
        text = Path(f"{files}.{2 * number}").read_text(encoding="utf-8")
        total = re.search(r"^totals: (\d+)", text, re.MULTILINE)
        assert total
        found[case] = round(int(total[1]) / OPERATIONS, 1)
    return found


def system_calls(prefix: Sequence[str], directory: str) -> dict[tuple[str, str], Counter[str]]:
    """System calls of all operations of each case together, by name."""
    log = Path(directory, "calls")
    cases = run_cases(prefix, ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(log)])
    counts: list[Counter[str]] = [Counter()]
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        name = _CALL.match(line)
        if name and name[1] == "getpriority":
            counts.append(Counter())
        elif name:
            counts[-1][name[1]] += 1
    # A mark makes two of them: before a case lies a mark, and after it another one, and what is between the cases.
    return {case: counts[4 * number + 2] for number, case in enumerate(cases)}


def measure() -> Figures:
    """The counts of each case, by contender."""
    figures: Figures = {}
    with surroundings() as prefix, tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor() as pool:
        instructed = pool.submit(instructions, prefix, directory)
        called = pool.submit(system_calls, prefix, directory).result()
        for (case, name), count in instructed.result().items():
            calls = called[case, name]
            figures.setdefault(case, {})[name] = {
                "instructions": round(count),
                "system_calls": round((calls.total() - calls["futex"]) / OPERATIONS, 2),
                "futex": round(calls["futex"] / OPERATIONS, 2),
                "calls": {each: round(count / OPERATIONS, 2) for each, count in sorted(calls.items())},
            }
    return figures


def build() -> str:
    """What the instructions of a Python depend on, beside its own version."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = [flag for flag in ("--enable-optimizations", "--with-lto") if flag in flags]
    level = re.findall(r"-O\w", sysconfig.get_config_var("PY_CFLAGS") or "")[-1:]
    parts = [platform.python_version(), platform.machine(), platform.python_compiler(), " ".join(platform.libc_ver())]
    return ", ".join([*parts, *level, *optimized])


def compared(figures: Figures) -> Iterator[tuple[str, dict[str, float]]]:
    """Each case and peer, with what is ours of it: of the instructions a part, of the system calls the difference."""
    for case, (ours, *peers) in ((case, list(found.items())) for case, found in figures.items()):
        for name, theirs in peers:
            yield (
                f"{case}, {name}",
                {
                    "ratio": ours[1]["instructions"] / theirs["instructions"],
                    "more_calls": ours[1]["system_calls"] - theirs["system_calls"],
                    "more_wakes": ours[1]["futex"] - theirs["futex"],
                },
            )


def faults(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What has grown beyond what is allowed; ``before`` and ``now`` are what `counts` has written."""
    committed = dict(compared(before["results"]["cases"]))
    for case, counted in compared(now["results"]["cases"]):
        if case not in committed:
            yield f"{case}: not in the committed counts"
            continue
        was = committed[case]
        loop = case.partition(":")[0]
        same = before["results"]["build"] == now["results"]["build"]
        same = same and before["packages"].get(loop) == now["packages"].get(loop)
        growth = counted["ratio"] / was["ratio"] - 1
        if growth > (GROWTH if same else GROWTH_ELSEWHERE):
            yield f"{case}: {counted['ratio']:.3f} x the instructions, was {was['ratio']:.3f} ({growth:+.1%})"
        for key, allowed, what in (("more_calls", CALLS, "system calls"), ("more_wakes", WAKES, "futex calls")):
            if counted[key] > was[key] + allowed:
                yield f"{case}: {counted[key]:+.2f} {what} beside its peer, was {was[key]:+.2f}"


def check(now: Mapping[str, Any]) -> int:
    """Compare with the committed counts of this minor version of Python."""
    path = path_of("counts")
    if not path.exists():
        print(f"nothing to compare with: {path.name} is not there")
        return 0
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["results"]["build"] != now["results"]["build"]:
        print(f"the committed counts are of {before['results']['build']}, these of {now['results']['build']}:")
        print(f"so the ratio of the instructions may differ by {GROWTH_ELSEWHERE:.0%}")
    found = list(faults(before, now))
    print(*found, sep="\n", end="\n" if found else "")
    print("more than was committed; if it must be, renew: python -m benchmarks counts" if found else "as committed")
    return 1 if found else 0


def show_counts(figures: Figures) -> None:
    """Print the table."""
    headers = ("case", "contender", "instructions", "ours x it", "system calls", "futex")
    rows = []
    for case, contenders in figures.items():
        ours = next(iter(contenders.values()))
        for name, each in contenders.items():
            ratio = f"{ours['instructions'] / each['instructions']:.3f}"
            title = "" if each is not ours else case
            rows.append((title, name, f"{each['instructions']:,}", ratio, each["system_calls"], each["futex"]))
    show("one operation, instructions in user space and system calls", headers, rows)


def main() -> int:
    """Count, show and write it all down, or compare it with what was."""
    parser = arguments(__doc__, rounds=1, quick=None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it is more than was committed")
    options = parser.parse_args()
    missing = [tool for tool in ("valgrind", "strace") if not shutil.which(tool)]
    if missing or not kernel.has_port_range():
        needed = f"{' and '.join(missing)}" if missing else "Linux 6.3 or later"
        print(f"instructions and system calls are not counted: that needs {needed}")
        return 0
    figures = measure()
    show_counts(figures)
    ratios = {case: each["ratio"] for case, each in compared(figures)}
    targets = [
        target(f"{case}: at most {limit:.2f} x its instructions (is {ratios[case]:.3f})", met=ratios[case] <= limit)
        for case, limit in LIMITS.items()
        if case in ratios
    ]
    results = {"build": build(), "cases": figures}
    if options.check:
        return check(written("counts", options, results, targets, PACKAGES))
    report("counts", options, results, targets, PACKAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())

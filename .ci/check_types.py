"""Check types on every platform, by mypy, and find statements that none can reach.

What Linux cannot reach, macOS, Windows or FreeBSD must. One run for each platform tells both.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TYPED = ("linux", "darwin", "win32")
PLATFORMS = (*TYPED, "freebsd")
UNREACHABLE = re.compile(r"^(\S+?):(\d+).*\[unreachable\]$", re.MULTILINE)
# What callers without a type checker reach, and what changes during an await, which mypy does not know.
REACHED = (
    "_check_flags(allow_self_connect=allow_self_connect, all_errors=all_errors)",
    'hint = f"; put it in a list: [{shown(str(allow))}]" if single and not isinstance(allow, bytes) else ""',
    "return  # it was abandoned after it became writable and before this task ran",
)


def check(platform: str) -> str:
    cache = f".mypy_cache/{platform}"  # runs for two platforms would write the same files
    command = [sys.executable, "-m", "mypy", "--warn-unreachable", "--platform", platform, "--cache-dir", cache]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def errors(platform: str, output: str) -> list[str]:
    lines = output.splitlines()
    return [f"{platform}: {each}" for each in lines if ": error: " in each and not UNREACHABLE.match(each)]


def main() -> int:
    with ThreadPoolExecutor(2) as pool:
        outputs = dict(zip(PLATFORMS, pool.map(check, PLATFORMS), strict=True))
    faults = [line for platform in TYPED for line in errors(platform, outputs[platform])]
    for path, number in sorted(set.intersection(*(set(UNREACHABLE.findall(each)) for each in outputs.values()))):
        statement = Path(path).read_text(encoding="utf-8").splitlines()[int(number) - 1].strip()
        if path.startswith("safeconnect/") and statement not in REACHED:
            faults.append(f"{path}:{number}: {statement}: no platform can reach it")
    print("\n".join(faults) or "the types are right on every platform, and every statement can be reached on some")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

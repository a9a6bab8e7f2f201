"""Find statements that no platform can reach, by mypy: what Linux cannot reach, macOS, Windows or FreeBSD must."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PLATFORMS = ("linux", "darwin", "win32", "freebsd")
UNREACHABLE = re.compile(r"^(\S+?):(\d+).*\[unreachable\]$", re.MULTILINE)
# What callers without a type checker reach, and what changes during an await, which mypy does not know.
REACHED = (
    "_check_flags(allow_self_connect=allow_self_connect, all_errors=all_errors)",
    'hint = f"; put it in a list: [{shown(str(allow))}]" if single and not isinstance(allow, bytes) else ""',
    "return  # it was abandoned after it became writable and before this task ran",
)


def unreachable(platform: str) -> set[tuple[str, str]]:
    command = [sys.executable, "-m", "mypy", "--warn-unreachable", "--platform", platform, "safeconnect"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return set(UNREACHABLE.findall(done.stdout))


def main() -> int:
    faults = []
    for path, number in sorted(set.intersection(*map(unreachable, PLATFORMS))):
        statement = Path(path).read_text(encoding="utf-8").splitlines()[int(number) - 1].strip()
        if statement not in REACHED:
            faults.append(f"{path}:{number}: {statement}")
    print("\n".join(faults) or "every statement can be reached on some platform")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

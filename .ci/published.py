"""Check what the wheel and the sdist hold: all that they should, nothing else, nothing large."""

from __future__ import annotations

import sys
import tarfile
import zipfile

MOST_BYTES = 1_000_000
PACKAGE = {"safeconnect", "safeconnect.pth"}
SOURCES = {"safeconnect", "tests", "docs", "benchmarks", ".github"}
SOURCES |= {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
NEEDED = {"safeconnect/__init__.py", "safeconnect/py.typed", "safeconnect/pytest_plugin.py", "safeconnect/cli/_wait.py"}
NEEDED |= {"safeconnect/_run/path/sitecustomize.py"}
BY_THE_BUILD = {"PKG-INFO", ".gitignore"}


def wheel(path: str) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        files = {each.filename: each.file_size for each in archive.infolist()}
    return {name: size for name, size in files.items() if ".dist-info/" not in name}


def sdist(path: str) -> dict[str, int]:
    with tarfile.open(path) as archive:
        files = {each.name.partition("/")[2]: each.size for each in archive if each.isfile()}
    return {name: size for name, size in files.items() if name not in BY_THE_BUILD}


def faults(files: dict[str, int], expected: set[str]) -> list[str]:
    tops = {name.partition("/")[0] for name in files}
    found = [f"{name} does not belong there" for name in sorted(tops - expected)]
    found += [f"{name} is missing" for name in sorted(expected - tops | NEEDED - files.keys())]
    found += [f"{name} has {size:,} bytes" for name, size in files.items() if size > MOST_BYTES]
    return found + [f"{name} is compiled" for name in files if name.endswith((".pyc", ".so"))]


def main(paths: list[str]) -> int:
    found = []
    for path in paths:
        is_wheel = path.endswith(".whl")
        files = wheel(path) if is_wheel else sdist(path)
        print(f"{path.rpartition('/')[2]}: {len(files)} files, {sum(files.values()):,} bytes")
        found += faults(files, PACKAGE if is_wheel else SOURCES)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

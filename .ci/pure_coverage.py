"""Check that the tests run every line of the pure modules: those that pyproject.toml keeps from sockets and clocks.

Run it where ``coverage combine`` has left its data, with the path of pyproject.toml.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import coverage

CONTRACT = "Values and policies know no socket, clock or chance"


def pure_modules(pyproject: str) -> list[str]:
    contracts = tomllib.loads(Path(pyproject).read_text())["tool"]["importlinter"]["contracts"]
    return next(each["source_modules"] for each in contracts if each["name"] == CONTRACT)


def main(pyproject: str) -> int:
    report = coverage.Coverage()
    report.load()
    measured = report.get_data().measured_files()
    faults = []
    for module in pure_modules(pyproject):
        path = module.replace(".", "/")
        files = [each for each in measured if each.endswith((f"/{path}.py", f"/{path}/__init__.py"))]
        if not files:
            faults.append(f"{module}: not measured")
        for file in files:
            _, _, _, missing, lines = report.analysis2(file)
            if missing:
                faults.append(f"{module}: lines {lines} are not run")
    print("\n".join(faults) or "every line of the pure modules is run")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

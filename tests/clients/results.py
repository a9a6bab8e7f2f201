"""What the clients did, each in a process of its own; and the table of it in docs/clients.md.

``python -m tests.clients.results``, with all clients installed (``pip install '.[clients,test]'``), writes results.json
and the table anew.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from ..namespace import ROOT, surroundings, unavailable
from .catalog import CLIENTS, GROUPS
from .client import PYTHON

FILE = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- The table of clients: made by tests/clients/results.py -->", "<!-- The end of the table. -->"
TABLE = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
NAME = re.compile(r"^([^, ]+)(.*)$")


def of(name, *, imported_before):
    """What a client does: by which ways its connects are ours."""
    arguments = [name, "before" if imported_before else "after", "open" if unavailable() else "closed"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients.child", *arguments],
        env=surroundings(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def committed():
    """By client, as `of` has it, with the package and the version it was tested with."""
    return json.loads(FILE.read_text())


def rendered(results):
    """The table, in Markdown."""
    lines = [BEGIN]
    for heading, clients in GROUPS.items():
        lines += ["", f"### {heading}", "", "| client | `install()` | otherwise |", "|---|---|---|"]
        for client in clients:
            found = results[client.name]
            version = ".".join(found["version"].split(".")[:2])
            name = client.name if client.package == PYTHON else NAME.sub(rf"\1 {version}\2", client.name)
            lines.append(f"| {name} | {'yes' if found['install'] else 'no'} | {client.instead} |")
    return "\n".join([*lines, "", END, ""])


def main():
    results = {}
    for name, client in CLIENTS.items():
        found = of(name, imported_before=False)
        assert found == of(name, imported_before=True), name
        results[name] = {"package": client.package, "version": client.version, **found}
    FILE.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(TABLE.sub(lambda _: rendered(results), PAGE.read_text()))


if __name__ == "__main__":
    main()

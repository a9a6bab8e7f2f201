"""Check that type checkers know the type of everything public, by ``pyright --verifytypes``; needs pyright and node.

The package has to be installed, and not as an editable one: pyright looks for it among the installed ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

PYRIGHT = [sys.executable, "-m", "pyright", "--verifytypes", "safeconnect", "--ignoreexternal", "--outputjson"]


def main() -> int:
    with tempfile.TemporaryDirectory() as elsewhere:  # not beside the sources
        # pyright looks for Python by these.
        path = os.pathsep.join([os.path.join(sys.prefix, "bin"), os.environ["PATH"]])  # noqa: PTH118
        env = os.environ | {"PATH": path, "VIRTUAL_ENV": sys.prefix}
        done = subprocess.run(  # noqa: S603 - a fixed command
            PYRIGHT, cwd=elsewhere, env=env, capture_output=True, text=True, check=False
        )
    found = json.loads(done.stdout)["typeCompleteness"]
    for symbol in found["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            print(symbol["name"], *(each["message"] for each in symbol["diagnostics"]), sep=": ")
    counts = found["exportedSymbolCounts"]
    print(f"{counts['withKnownType']} public names have a known type, {found['completenessScore']:.2%} of them")
    return 0 if found["completenessScore"] == 1 and counts["withKnownType"] > 800 else 1


if __name__ == "__main__":
    sys.exit(main())

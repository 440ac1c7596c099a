"""Lists the licence of each package that `requirements.lock` installs: `make licences`.

    python -m tools.licences [--json]

Rules: what a package says of itself, in its metadata; 1 when one says nothing.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)", re.MULTILINE)
_LONG = 60
NOTES = {"asyncua": "LGPL-3.0-or-later: used as a library, never copied from, and can be replaced"}


def licence_of(package: Distribution) -> str:
    """An SPDX expression where there is one, else the classifiers, else the text's first line; '' for none."""
    said = package.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    classified = [
        one.rpartition(" :: ")[2] for one in said.get("classifier", ()) if one.startswith("License ::")
    ]
    text = str(said.get("license", "")).strip().splitlines()
    short = text[0] if text and len(text[0]) <= _LONG else ""
    return " and ".join(one for one in classified if one != "OSI Approved") or short


def main() -> int:
    """The command."""
    rows = []
    for name, version in _PINNED.findall(LOCK.read_text()):
        try:
            licence = licence_of(distribution(name))
        except PackageNotFoundError:
            continue  # for another platform
        rows.append({"package": name, "version": version, "licence": licence, "note": NOTES.get(name, "")})
    if "--json" in sys.argv[1:]:
        print(json.dumps(rows))
    else:
        for row in rows:
            said = row["licence"] or "?"
            print(f"{row['package']:32} {row['version']:14} {said}  {row['note']}".rstrip())
    return 0 if all(row["licence"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

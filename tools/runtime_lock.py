"""The part of requirements.lock that a running Headrace needs, hashes included, on stdout: `runtime_lock.py [FILE]`.

The lock file has the development tools as well, and an image has no use for them. What needs what is read from the
packages that are installed beside this script, so that is an environment into which the whole lock file went.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==")


def needed(names: Iterable[str]) -> set[str]:
    """The packages of these requirements and all that they need here, by canonical name.

    Raises PackageNotFoundError for one that should be installed and is not.
    """
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        new = {(name, extra) for extra in (requirement.extras or set()) | {""}} - found
        found |= new
        for _, extra in new:
            for line in requires(name) or []:
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in found}


def entries(lock: str) -> Iterator[tuple[str, str]]:
    """Name and text of each entry: its first line and the hashes that follow."""
    for entry in re.split(r"(?m)^(?=\S)", lock):
        if match := ENTRY.match(entry):
            yield canonicalize_name(match[1]), entry


def main(lock_file: Path) -> int:
    """Print the part; 1 where a package that is needed is not in the lock file or not installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    try:
        wanted = needed(project["dependencies"])
    except PackageNotFoundError as error:
        print(f"{error}: install {lock_file.name} first", file=sys.stderr)
        return 1
    parts = [(name, text) for name, text in entries(lock_file.read_text()) if name in wanted]
    if missing := sorted(wanted - {name for name, _ in parts}):
        print(f"not in {lock_file}: {', '.join(missing)}", file=sys.stderr)
        return 1
    sys.stdout.writelines(text for _, text in parts)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "requirements.lock"))

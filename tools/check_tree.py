"""Keeps addresses and machine paths out of the tree: it must install and read the same anywhere.

Rules: no lock file or page carries an index or download address or a `resolved` entry; no tracked file carries a
path of a build machine or a user's home. Exit 1 with file:line for each.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK_NAMES = {"package-lock.json", "uv.lock", "poetry.lock", "Pipfile.lock", "requirements.lock", "pom.xml"}
ADDRESS = re.compile(
    r"--(?:extra-)?index-url|--find-links|--trusted-host|\"resolved\"\s*:|"
    r"(?:https?|git\+\w+)://[^\s\"'<>)]*(?:pypi|pythonhosted|npmjs|registry|maven\.org|proxy\.golang|deb\.debian|mirror)",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:" + "|".join(("work", "farm", "root", "home/\\w+", "Users/\\w+")) + r")/\w"
)


def tracked(root: Path) -> list[Path]:
    """Files below `root` that git knows, tracked or new but not ignored, relative to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    return [Path(name) for name in listed.stdout.decode().split("\0") if name]


def main(root: Path) -> int:
    """Print every finding; 1 when there is one."""
    wrong = 0
    for path in tracked(root):
        file = root / path
        if not file.is_file() or file.resolve() == Path(__file__).resolve():
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        is_page = path.suffix == ".md" or path.name in LOCK_NAMES
        for number, line in enumerate(text.splitlines(), 1):
            if is_page and ADDRESS.search(line):
                print(f"{path}:{number}: an index or download address")
                wrong += 1
            if MACHINE_PATH.search(line):
                print(f"{path}:{number}: a path of a machine")
                wrong += 1
        if path.name == "uv.lock":
            print(f"{path}:1: uv.lock carries addresses; requirements.lock is the lock file")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))

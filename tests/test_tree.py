"""tools/check_tree.py finds an address or a path of a machine that is planted in a git repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# In pieces, so that these lines are no findings themselves.
HOME = "/" + "home/someone/headrace"
INDEX = "https://" + "pypi.example/simple"
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored/\n")
    return tmp_path


def check(folder: Path) -> tuple[int, list[str]]:
    """(exit code, findings)."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_tree.py"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_a_clean_tree_has_no_findings(repository: Path) -> None:
    (repository / "page.md").write_text("See https://example.org/manual and work/site.yaml.\n")
    (repository / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    (repository / "ignored").mkdir()
    (repository / "ignored" / "notes.md").write_text(HOME)
    assert check(repository) == (0, [])


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("module.py", f"# first\nPATH = '{HOME}/run'\n", "module.py:2: a path of a machine"),
        ("page.md", f"install from {INDEX}\n", "page.md:1: an index or download address"),
        (
            "requirements.lock",
            "one==1\n--extra-index-url x\n",
            "requirements.lock:2: an index or download address",
        ),
        ("package-lock.json", '{"resolved": "x"}', "package-lock.json:1: an index or download address"),
        ("uv.lock", "", "uv.lock:1: uv.lock carries addresses; requirements.lock is the lock file"),
    ],
)
@pytest.mark.parametrize("added", [True, False], ids=["tracked", "untracked"])
def test_a_planted_line_is_found(repository: Path, name: str, text: str, finding: str, added: bool) -> None:
    (repository / name).write_text(text)
    if added:
        subprocess.run(["git", "add", name], cwd=repository, check=True)
    assert check(repository) == (1, [finding])

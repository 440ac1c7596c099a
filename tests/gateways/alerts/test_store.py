"""The file under the outbox: what only looks at it looks at the file that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.alerts.store import FILE, Store
from rules.errors import UnreachableError


@pytest.mark.parametrize("folder", ["a?b", "a%41b"])
def test_a_path_means_what_it_says(tmp_path: Path, folder: str) -> None:
    made = {name: Store(tmp_path / name / FILE).epoch for name in ("a", "aAb", folder)}
    assert Store(tmp_path / folder / FILE, read_only=True).epoch == made[folder]
    with pytest.raises(UnreachableError, match="outbox"):
        Store(tmp_path / "b?mode=rwc" / FILE, read_only=True)

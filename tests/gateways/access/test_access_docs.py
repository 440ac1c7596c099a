"""What the page shows of users.yaml can be read."""

from __future__ import annotations

import re
from pathlib import Path

from gateways.access.users_file import parse_users

PAGE = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")


def test_the_users_of_the_page() -> None:
    [text] = [one for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if one.startswith("users:")]
    file = parse_users(text, "users.yaml")
    assert list(file.users) == ["ada", "eva", "scada"]
    assert file.users["scada"].speaks_for == ("*",)
    assert file.proxy is not None

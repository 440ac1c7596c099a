"""The table of rights: it is whole, and the page says what it says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from rules.access.rights import NEEDS, ROLES, Right, Role, may
from rules.engine.inputs import ActionKind

PAGE = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")


def test_every_action_needs_a_role() -> None:
    assert set(get_args(ActionKind)) < set(NEEDS)


@pytest.mark.parametrize("right", NEEDS)
def test_a_role_may_do_all_that_those_below_it_may(right: Right) -> None:
    allowed = [may(role, right) for role in ROLES]
    assert allowed == sorted(allowed)
    assert allowed[-1]


def test_only_who_sees_alone_can_do_nothing_and_only_an_admin_changes_users() -> None:
    viewer: Role = "viewer"
    assert [right for right in NEEDS if may(viewer, right)] == ["see"]
    assert [role for role in ROLES if may(role, "change-users")] == ["admin"]


def test_the_page_has_the_table() -> None:
    rows = [line.strip("| ").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    said = {}
    for name, *cells in ([cell.strip() for cell in row] for row in rows):
        if name in NEEDS:
            cells += [""] * (len(ROLES) - len(cells))
            said[name] = [cell == "yes" for cell in cells]
    assert said == {right: [may(role, right) for role in ROLES] for right in NEEDS}

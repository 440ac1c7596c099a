"""Messages of alarms."""

from __future__ import annotations

import math

import pytest

from rules.language.message import names, problem, render


def test_names_and_numbers() -> None:
    template = "{asset}: {value:.1f} of {design_flow} at {CDU.LiquidFlow:.0f}, {{so}}"
    assert problem(template) == ""
    assert names(template) == ["value", "design_flow", "CDU.LiquidFlow"]
    numbers = {"value": 12.34, "design_flow": 158.0, "CDU.LiquidFlow": None}
    assert render(template, "R01", numbers) == "R01: 12.3 of 158 at no value, {so}"
    assert render("{value}", "R01", {"value": math.nan}) == render("{value}", "R01", {}) == "no value"


@pytest.mark.parametrize(
    "template", ["{", "{value!r}", "{asset:.1f}", "{value:{x}}", "{value:.1q}", "{}", "{a b}"]
)
def test_what_can_t_be_read(template: str) -> None:
    assert problem(template)

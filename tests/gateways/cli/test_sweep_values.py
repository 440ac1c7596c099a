"""What `--param NAME=VALUES` means."""

from __future__ import annotations

import pytest

from gateways.cli.sweep_values import choices_of
from rules.errors import ConfigurationError
from rules.language.candidates import Parameter

KNOWN = {
    "limit": Parameter("temperature_target", "degC"),
    "share": Parameter("0.7 * design_flow", ""),
    "on_delay": Parameter("", "s"),
}


def values(text: str) -> list[str]:
    [found] = choices_of([text], KNOWN, "hot", 50).values()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit=78..88/5", ["78 degC", "83 degC", "88 degC"]),
        ("limit= 78 .. 82 / 2 K", ["78 K", "80 K", "82 K"]),
        ("limit=0.1..0.3/0.1", ["0.1 degC", "0.2 degC", "0.3 degC"]),
        ("limit=88..80/5", ["88 degC", "83 degC"]),
        ("limit=-1..-0.5/0.5", ["-1 degC", "-0.5 degC"]),
        ("limit=80,85", ["80 degC", "85 degC"]),
        ("limit=80,80,90", ["80 degC", "90 degC"]),
        ("on_delay=1,2,5 s", ["1 s", "2 s", "5 s"]),
        ("on_delay=500 ms,2,1 min", ["500 ms", "2 min", "1 min"]),
        ("share=0.6..0.8/0.1 * design_flow", ["0.6 * design_flow", "0.7 * design_flow", "0.8 * design_flow"]),
        ("share=0.6,0.7 * design_flow", ["0.6 * design_flow", "0.7 * design_flow"]),
        ("share=least(a, b),c", ["least(a, b)", "c"]),
        ("share=1", ["1"]),
    ],
)
def test_values(text: str, expected: list[str]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ([], "there is nothing to vary", "limit (temperature_target), share (0.7 * design_flow), on_delay (none)"),
        (["limit"], "'limit' is no NAME=VALUES", "limit=78..88/2"),
        (["limt=1"], "has no parameter 'limt'", "did you mean 'limit'?; parameters of 'hot': limit"),
        (["limit=1", "limit=2"], "'limit' is given twice", "one --param"),
        (["limit=1..5/0"], "the step 0 is not above 0", "78..88/2"),
        (["limit=1..5/0.01"], "401 values are more than 50", "a larger step"),
        (["limit=1,,2"], "a value is missing", "1,2,5 s"),
        (["limit=1..20/1", "on_delay=1,2,3"], "20 x 3 = 60 candidates are more than 50", "--max-candidates"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(asked: list[str], message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        choices_of(asked, KNOWN, "hot", 50)
    [finding] = error.value.findings
    assert finding.file == "--param"
    assert message in finding.message
    assert hint in finding.hint

"""Whatever is done to a site file, the parser answers with a site or with findings that have a place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.site.parse import parse_site
from tests.rules.damaged_texts import damaged

SITE = """\
name: small
tick: 100 ms
rules: [rules]
sources:
  plc:
    kind: opcua
    endpoint: opc.tcp://127.0.0.1:4840
    address: ns=2;s={point}
    period: 2 s
  host:
    kind: nvml
    assets: R[01..02]
    period: 100 ms
templates:
  gpu:
    type: GPU
    actuators:
      power_limit:
        range: 500..1600 W
        default: 1400 W
  rack:
    type: Rack
    constants: {design_flow: 158 L/min}
    points:
      RackLiquidFlow:
        range: 0..250 L/min
        deadband: 40 L/min
        sampling: 1500 ms
      RackLeakDetect:
    contains:
      -G[1..4]: gpu
units:
  row-a:
    assets:
      P-1:
        type: Pump
        points:
          PumpSpeed: 0..100 %
        actuators:
          PumpSpeed:
            range: 30..90 %
            default: 50 %
        feeds: R[01..02]
      R[01..02]: rack
"""
LINES = SITE.splitlines()
WORDS = [
    "",
    "[]",
    "{}",
    "-1",
    "x",
    "R[01..02]",
    "0..1 W",
    "true",
    "1e999",
    "gpu",
    "rack",
    "null",
    "'",
    "[1..9]",
    "1 s",
]


def test_the_undamaged_file_is_good() -> None:
    site, findings = parse_site(SITE, "site.yaml")
    assert findings == []
    assert site is not None


@settings(max_examples=400, deadline=None)
@given(damaged(LINES, st.sampled_from(WORDS), "x:[]{}.-,0 "))
def test_a_damaged_file_gives_a_site_or_findings(text: str) -> None:
    site, findings = parse_site(text, "site.yaml")
    assert (site is None) == any(finding.severity == "error" for finding in findings)
    rows = text.count("\n") + 1
    assert all(1 <= finding.line <= rows and finding.column >= 1 and finding.message for finding in findings)
    assert findings == sorted(set(findings))
    if site is not None:
        assert all(actuator.source in site.sources for actuator in site.actuators.values())
        assert all(point.source in site.sources and point.low < point.high for point in site.points.values())
        assert site.readings_per_s >= 0


SLIPS = {
    "key misspelt": r"\1\2x: \3",
    "key that is no text": r"\1[\2]: \3",
    "range of ids that is none": r"\1'\2[a..': \3",
    "value that is a list": r"\1\2: [[]]",
    "value that is a number": r"\1\2: 12",
    "value that is nonsense": r"\1\2: nonsense",
}
GOOD_NAMES = ("R[01..02]x", "P-1x")
"""A name that is misspelt where it is given is another good name: what uses it is wrong then."""


@pytest.mark.parametrize("slip", SLIPS)
def test_one_slip_is_one_finding_whatever_depends_on_it(slip: str) -> None:
    for row, line in enumerate(LINES):
        changed = re.sub(r"^(\s*)([^\s:]+):(?: (.*))?$", SLIPS[slip], line)
        below = row + 1
        if slip.startswith("value"):  # of a mapping over several lines, all of them
            indent = len(line) - len(line.lstrip())
            while below < len(LINES) and LINES[below].startswith(" " * (indent + 1)):
                below += 1
        text = "\n".join([*LINES[:row], changed, *LINES[below:]]) + "\n"
        errors = [one for one in parse_site(text, "site.yaml")[1] if one.severity == "error"]
        if not any(name in changed for name in GOOD_NAMES):
            assert len(errors) <= 1, f"{changed}: {'; '.join(map(str, errors))}"


def test_dropping_any_line_of_the_demo_site_is_survived() -> None:
    """Each line left out in turn, at every tenth line: the parser goes on to the end and says where."""
    text = (Path(__file__).parents[3] / "examples" / "narvik" / "site.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    for row in range(0, len(lines), 10):
        site, findings = parse_site("\n".join(lines[:row] + lines[row + 1 :]), "site.yaml")
        assert site is not None or all(finding.line >= 1 for finding in findings)

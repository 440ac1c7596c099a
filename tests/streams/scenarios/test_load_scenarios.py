"""Every mistake in a scenario file is found at its place, and nothing else of the file is lost."""

import pytest

from streams.scenarios.model import Step
from tests.streams.scenarios.narvik import read

S = 1_000_000_000
GOOD = """\
good:
  asset: R01
  for: 20 s
  signals:
    RackLiquidFlow:
      - design_flow
      - 5 s: 0.5 * design_flow
      - 10 s: 158 L/min over 4 s
      - 16 s: bad
  expect:
    rack-flow-low: {raised: 5500 ms, cleared: 15 s, within: 1 s, commands: {R01-T01-G1.power_limit: 0.5 kW}}
"""


def test_a_good_one() -> None:
    scenarios, findings = read(GOOD)
    assert findings == []
    (scenario,) = scenarios
    assert (scenario.name, scenario.line, scenario.duration_ns) == ("good", 2, 20 * S)
    (script,) = scenario.scripts
    assert (script.asset, script.signal, script.unit, script.every_ns) == (
        "R01",
        "RackLiquidFlow",
        "L/min",
        S,
    )
    assert script.steps == (
        Step(0, "value", 158.0),
        Step(5 * S, "value", 79.0),
        Step(10 * S, "value", 158.0, 4 * S),
        Step(16 * S, "bad"),
    )
    ((wanted,),) = (expectation.occurrences for expectation in scenario.expectations)
    assert (wanted.raised_ns, wanted.cleared_ns, wanted.within_ns) == (5_500_000_000, 15 * S, S)
    assert wanted.values == {"R01-T01-G1.power_limit": 500.0}, "in the actuator's own unit"


@pytest.mark.parametrize(
    ("written", "instead", "line", "message", "hint"),
    [
        ("asset: R01", "asset: R011", 3, "the site has no asset 'R011'", "did you mean 'R01'?"),
        ("for: 20 s", "for: 20", 4, "a duration needs a unit of time", ""),
        ("RackLiquidFlow:", "RackLiquidFlo:", 6, "R01 has no signal 'RackLiquidFlo'", "did you mean 'RackLiquidFlow'?"),
        ("- design_flow", "- design_flo", 7, "Rack R01 has no constant 'design_flo'", "did you mean 'design_flow'?"),
        ("- design_flow", "- 158", 7, "the number needs a unit: the signal is in L/min", "such as 'L/min'"),
        ("- design_flow", "- 158 kW", 7, "the number is in kW, the signal in L/min: not the same dimension", ""),
        ("- design_flow", "- broken", 7, "Rack R01 has no constant 'broken'", ""),
        ("- 16 s: bad", "- 16: bad", 10, "a key must be text", ""),
        ("- 16 s: bad", "- 30 s: bad", 10, "'30 s' is out of range", ""),
        ("- 16 s: bad", "- 12 s: bad", 10, "begins before the step in front of it has ended", ""),
        ("over 4 s", "over 4 parsecs", 9, "'4 parsecs' is no duration", ""),
        ("rack-flow-low:", "rack-flow-lo:", 12, "the site has no rule 'rack-flow-lo'", "did you mean 'rack-flow-low'?"),
        ("rack-flow-low:", "rack-supply-hot:", 12, "looks at RackLiquidSupplyTemperature", "add the signal"),
        ("raised: 5500 ms, ", "", 12, "the key 'raised' is missing", ""),
        ("R01-T01-G1.power_limit", "R01-T01-G1.power_limi", 12, "the site has no actuator", "did you mean"),
        ("for: 20 s", "fro: 20 s", 4, "unknown key 'fro'", "did you mean 'for'?"),
        ("RackLiquidFlow:\n", "RackLiquidFlow: {steps: {}}\n    RackPower:\n", 6, "expected a list", ""),
        ("within: 1 s", "on: R09", 12, "the site has no asset 'R09'", "did you mean"),
        ("within: 1 s", "on: CDU-A", 12, "rule 'rack-flow-low' does not watch CDU-A", "it is for Rack"),
    ],
)  # fmt: skip
def test_a_bad_one(written: str, instead: str, line: int, message: str, hint: str) -> None:
    assert GOOD.count(written) == 1
    scenarios, findings = read(GOOD.replace(written, instead) + GOOD.replace("good:", "other:"))
    assert [scenario.name for scenario in scenarios] == ["other"]
    found = [finding for finding in findings if message in finding.message]
    assert [(finding.line, finding.severity) for finding in found] == [(line, "error")], findings
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("signal", "finding"),
    [
        (
            "{recrding: x.mcap, point: p, from: 2026-01-01T00:00:00Z, to: 2026-01-01T00:01:00Z}",
            "unknown key 'recrding' (did you mean 'recording'?)",
        ),
        (
            "{recording: x.mcap, pont: p, from: 2026-01-01T00:00:00Z, to: 2026-01-01T00:01:00Z}",
            "unknown key 'pont'",
        ),
        ("{stps: [1 L/min], noise: 1 L/min}", "unknown key 'stps' (did you mean 'steps'?)"),
        (
            "{steps: [1 L/min], noise: 1 kW}",
            "error: the number is in kW, the signal in L/min: not the same dimension",
        ),
        ("{steps: [1 L/min], noise: 1}", "the number needs a unit: the signal is in L/min (such as 'L/min')"),
    ],
)
def test_one_slip_is_one_finding(signal: str, finding: str) -> None:
    text = (
        f"one:\n  asset: R01\n  for: 20 s\n  signals: {{RackLiquidFlow: {signal}}}\n"
        "  expect: {rack-flow-low: never}\n"
    )
    (found,) = read(text)[1]
    assert finding in str(found)


def test_a_name_twice() -> None:
    _, findings = read(GOOD + GOOD)
    assert [finding.message for finding in findings] == ["duplicate key 'good'"]


def test_all_findings_of_a_file_at_once() -> None:
    text = GOOD.replace("asset: R01", "asset: R011") + GOOD.replace("good:", "other:").replace(
        "for: 20 s", "for: x"
    )
    _, findings = read(text)
    assert [finding.line for finding in findings] == [3, 15]

"""Rule files: what they become. What can be wrong with them is in tests/rules/bad."""

from __future__ import annotations

import pytest

from rules.findings import Finding
from rules.language.load import load_rules
from rules.language.terms import Term
from tests.rules.engine.plant import MS, S, program, site

GOOD = """rules:
  low:
    for: Rack
    when: RackLiquidFlow < 0.7 * design_flow
    severity: urgent
    message: "{asset}: {value:.0f} L/min"
"""


def findings(text: str) -> list[Finding]:
    loaded, found = load_rules({"r.yaml": text}, site())
    assert (loaded is None) == any(finding.severity == "error" for finding in found)
    return found


def shown(term: Term | None) -> str:
    """A comparison of a field with a number."""
    assert term is not None
    return f"{term.args[0].signal} {term.op} {term.args[1].number.value:g}"


def test_a_good_rule_has_no_finding() -> None:
    assert findings(GOOD) == []


def test_no_gpu_behind_an_asset_of_another_unit() -> None:
    text = """rules:
  power:
    for: PowerMeter
    when: ActivePower > 100 kW
    severity: low
    message: power
    then: [{command: limit each GPU.power_limit to 500 W}]
"""
    assert [str(finding) for finding in findings(text)] == [
        "r.yaml:7:37: error: no GPU of unit 'hall' is behind H"
        " (a command reaches GPUs of the same unit, through part_of and feeds)"
    ]


def test_everything_is_found_at_once_in_all_files() -> None:
    bad = GOOD.replace("urgent", "bad").replace("design_flow", "nothing")
    _, found = load_rules({"b.yaml": bad, "a.yaml": GOOD, "c.yaml": "rules: ["}, site())
    places = [(finding.file, finding.line) for finding in found]
    assert places == [("b.yaml", 2), ("b.yaml", 4), ("b.yaml", 5), ("c.yaml", 1)]
    assert found[0].message == "duplicate rule 'low'"
    assert found[0].hint == "first given at a.yaml:2"


def test_an_unknown_name_may_be_in_a_file_that_can_not_be_read() -> None:
    bad = GOOD.replace("design_flow", "nothing")
    expressions = "expressions: {some: RackLiquidFlow / nothing}"
    _, found = load_rules({"a.yaml": bad, "b.yaml": expressions, "c.yaml": "parameters: ["}, site())
    hint = "is it defined in c.yaml, which can't be read?"
    assert [finding.hint for finding in found if finding.file in ("a.yaml", "b.yaml")] == [hint, hint]


def test_a_rule_in_full() -> None:
    loaded = program(
        """
  low:
    for: Rack
    when: RackLiquidFlow < 0.7 * design_flow
    until: RackLiquidFlow > 0.8 * design_flow
    on_delay: 2 s
    severity: low
    message: "{asset}: {value:.0f} of {design_flow:.0f} L/min at {RackPower} kW"
    then: [{command: limit each GPU.power_limit to 0.5 * default_power_limit}]
  silent:
    for: GPU
    when: no_data(temperature)
    severity: low
    message: silent
  stopped:
    for: Pump
    when: no_data(PumpSpeed)
    after: 7 s
    severity: low
    message: stopped
    then: [{command: set PumpSpeed to 100 %}]
"""
    )
    rules = {rule.id: rule for rule in loaded.rules}
    assert list(rules) == sorted(rules)
    low = rules["low"]
    assert low.when is not None
    assert low.until is not None
    assert (low.when.op, low.until.op) == ("lt", "gt")
    limits = [term.args[1].number for term in (low.when, low.until)]
    assert [[limit.of(rack) for rack in low.assets] for limit in limits] == [[0.7 * 100, 0.7 * 50], [80, 40]]
    assert list(low.shown) == ["value", "design_flow", "RackPower"]
    assert low.shown["value"] == low.when.args[0]
    assert low.shown["value"].points == {"R1": "R1.RackLiquidFlow", "R2": "R2.RackLiquidFlow"}
    assert low.shown["design_flow"].number.of("R2") == 50
    assert low.on_delay_ns == 2 * S
    assert [t.value for t in low.targets["R2"]] == [700.0] * 4
    silent, stopped = rules["silent"], rules["stopped"]
    assert silent.when is silent.until is None
    assert silent.silent == Term("field", signal="temperature")
    assert silent.shown == {}
    assert set(silent.timeouts_ns.values()) == {300 * MS}
    assert set(stopped.timeouts_ns.values()) == {7 * S}
    (target,) = stopped.targets["CDU-P2"]
    assert (target.actuator, target.value) == ("CDU-P2.PumpSpeed", 100.0)


def test_a_table_of_limits_is_a_rule_for_each_row() -> None:
    loaded = program(
        """
  hot:
    for: GPU
    limits:
      of: temperature
      deadband: 2 K
      severity: high
      on_delay: 1 s
      message: "{value:.0f}"
      HH: {limit: hot + 20 K, severity: urgent, then: [{command: limit each GPU.power_limit to 500 W}]}
      H: {limit: hot, deadband: 3 K}
      LL: {limit: 5 degC}
"""
    )
    hh, h, ll = (next(rule for rule in loaded.rules if rule.id == f"hot-{row}") for row in ("hh", "h", "ll"))
    assert [shown(rule.when) for rule in (hh, h, ll)] == [
        "temperature ge 75",
        "temperature ge 55",
        "temperature le 5",
    ]
    assert [shown(rule.until) for rule in (hh, h, ll)] == [
        "temperature lt 73",
        "temperature lt 52",
        "temperature gt 7",
    ]
    assert [rule.severity for rule in (hh, h, ll)] == ["urgent", "high", "high"]
    assert {rule.on_delay_ns for rule in (hh, h, ll)} == {S}
    assert [len(rule.targets) for rule in (hh, h, ll)] == [8, 0, 0]


def test_definitions_are_of_all_files_and_a_constant_comes_before_a_parameter() -> None:
    rule = "{for: Rack, when: share < low, severity: low, message: '{share:.2f} {low}'}"
    loaded, found = load_rules(
        {
            "a.yaml": f"rules: {{low: {rule}}}",
            "b.yaml": "parameters: {low: 70 %, design_flow: 6 m^3/min}",
            "c.yaml": "expressions: {share: flow / design_flow, flow: RackLiquidFlow}",
        },
        site(),
    )
    assert found == []
    assert loaded is not None
    (low,) = loaded.rules
    assert low.when is not None
    assert low.when.args[0].args[1].number.of("R2") == 50
    assert low.when.args[1].number.value == pytest.approx(0.7)
    assert low.shown["share"] == low.shown["value"] == low.when.args[0]
    assert low.shown["low"].number.value == 70


def test_a_pump_stands_for_all_that_its_cdu_feeds() -> None:
    loaded = program(
        """
  pump:
    for: Pump
    when: PumpSpeed < 10 percent
    severity: low
    message: pump
    then: [{command: limit each GPU.power_limit to 500 W}]
"""
    )
    (rule,) = loaded.rules
    assert len(rule.targets["CDU-P1"]) == 8


def test_the_digest_knows_content_and_not_files() -> None:
    two = GOOD + GOOD.removeprefix("rules:\n").replace("low:", "other:")
    one_file, _ = load_rules({"a.yaml": two}, site())
    other = "rules:\n" + two[len(GOOD) :]
    two_files, _ = load_rules({"z.yaml": GOOD, "b.yaml": other}, site())
    changed, _ = load_rules({"a.yaml": two.replace("0.7", "0.6")}, site())
    assert one_file is not None
    assert two_files is not None
    assert changed is not None
    assert one_file.digest == two_files.digest != changed.digest

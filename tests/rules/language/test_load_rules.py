"""Rule files: what they become, and the exact finding for everything that can be wrong with them."""

from __future__ import annotations

import pytest

from rules.findings import Finding
from rules.language.load import load_rules
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


def with_lines(*lines: str, drop: str = "") -> str:
    """The good rule with lines added, and the one that starts with `drop` left out."""
    kept = [line for line in GOOD.splitlines() if not (drop and line.strip().startswith(drop))]
    return "\n".join([*kept, *(f"    {line}" for line in lines)]) + "\n"


BAD = {
    "unknown key": (
        with_lines("on_dela: 1 s"),
        "r.yaml:7:5: error: unknown key 'on_dela' (did you mean 'on_delay'?)",
    ),
    "key of a later version": (
        with_lines("latch: true"),
        "r.yaml:7:5: error: 'latch' is not part of this version of the language (remove it)",
    ),
    "unknown type": (
        with_lines("for: Rak", drop="for"),
        "r.yaml:6:10: error: the site has no asset of type 'Rak' (did you mean 'Rack'?)",
    ),
    "unknown signal": (
        with_lines("when: RackLiquidFlo < 1 L/min", drop="when"),
        "r.yaml:6:11: error: no Rack has a signal 'RackLiquidFlo' (did you mean 'RackLiquidFlow'?)",
    ),
    "unknown gpu signal": (
        with_lines("for: GPU", "when: temprature > 1 degC", drop="for").replace(
            "    when: RackLiquidFlow < 0.7 * design_flow\n", ""
        ),
        "r.yaml:6:11: error: a GPU has no signal 'temprature' (did you mean 'temperature'?)",
    ),
    "unknown constant": (
        with_lines("when: RackLiquidFlow < 0.7 * design_flw", drop="when"),
        "r.yaml:6:34: error: Rack R1 has no constant 'design_flw' (did you mean 'design_flow'?)",
    ),
    "unknown unit": (
        with_lines("when: RackLiquidFlow < 5 L/mn", drop="when"),
        "r.yaml:6:30: error: unknown unit 'L/mn' (did you mean 'L/min'?)",
    ),
    "wrong dimension": (
        with_lines("when: RackLiquidFlow < 5 degC", drop="when"),
        "r.yaml:6:30: error: the limit is in degC, the signal in L/min: not the same dimension",
    ),
    "no unit": (
        with_lines("when: RackLiquidFlow < 5", drop="when"),
        "r.yaml:6:28: error: the number needs a unit: the signal is in L/min (such as 'L/min')",
    ),
    "assignment": (
        with_lines("when: RackLiquidFlow = 5 L/min", drop="when"),
        "r.yaml:6:26: error: '=' is no comparison (did you mean '=='?)",
    ),
    "two comparisons": (
        with_lines("when: RackLiquidFlow < 5 L/min and RackPower > 1 kW", drop="when"),
        "r.yaml:6:36: error: unexpected 'and RackPower > 1 kW' (one comparison per rule in this version)",
    ),
    "unknown function": (
        with_lines("when: avg(RackLiquidFlow) < 5 L/min", drop="when"),
        "r.yaml:6:11: error: unknown function 'avg' (this version has rate and no_data)",
    ),
    "rate without a window": (
        with_lines("when: rate(RackLiquidFlow) < 5 L/min/s", drop="when"),
        "r.yaml:6:30: error: expected ',' and a window, found ')' (such as 'rate(temperature, 2 s)')",
    ),
    "a window without a unit": (
        with_lines("when: rate(RackLiquidFlow, 2) < 5 L/min/s", drop="when"),
        "r.yaml:6:33: error: '' is no unit of time (one of: ns, us, ms, s, min, h, d)",
    ),
    "limit that no value reaches": (
        with_lines("when: RackLiquidFlow > 301 L/min", drop="when"),
        "r.yaml:6:28: warning: this can never be: R1.RackLiquidFlow is 0 to 300 L/min"
        " (see its range in the site file)",
    ),
    "until and deadband": (
        with_lines("until: RackLiquidFlow > 90 L/min", "deadband: 5 L/min"),
        "r.yaml:8:5: error: either 'until' or 'deadband', not both",
    ),
    "until of another signal": (
        with_lines("until: RackPower > 90 kW"),
        "r.yaml:7:12: error: 'until' must be about the same signal as 'when'",
    ),
    "until that is true with when": (
        with_lines("until: RackLiquidFlow > 10 L/min"),
        "r.yaml:7:12: error: 'until' is true where 'when' is: the alarm would flutter"
        " (leave a dead-band between them, such as 'when: x > 85 K' with 'until: x < 80 K')",
    ),
    "negative dead-band": (
        with_lines("deadband: -5 L/min"),
        "r.yaml:7:15: error: a dead-band can't be negative",
    ),
    "delay without a unit": (
        with_lines("on_delay: 5"),
        "r.yaml:7:15: error: a duration needs a unit of time (units of time: ns, us, ms, s, min, h, d)",
    ),
    "after without no_data": (
        with_lines("after: 5 s"),
        "r.yaml:7:5: error: 'after' belongs to no_data (did you mean 'on_delay'?)",
    ),
    "no_data with a delay": (
        with_lines("when: no_data(RackLiquidFlow)", "on_delay: 5 s", drop="when"),
        "r.yaml:7:5: error: no_data takes no 'on_delay' (its time is 'after')",
    ),
    "unknown severity": (
        with_lines("severity: urgnt", drop="severity"),
        "r.yaml:6:15: error: unknown severity 'urgnt' (did you mean 'urgent'?)",
    ),
    "message with an unknown name": (
        with_lines('message: "{asst}"', drop="message"),
        "r.yaml:6:14: error: unknown name '{asst}' in the message"
        " (names are {asset} and {value}, such as {value:.1f})",
    ),
    "message with a broken brace": (
        with_lines('message: "{asset"', drop="message"),
        "r.yaml:6:14: error: the message can't be read: expected '}' before end of string"
        " (names are {asset} and {value}, such as {value:.1f})",
    ),
    "no message": (with_lines(drop="message"), "r.yaml:3:5: error: the key 'message' is missing"),
    "unknown command": (
        with_lines("then:", "  - command: stop PumpSpeed"),
        "r.yaml:8:18: error: unknown command 'stop'"
        " (such as 'set PumpSpeed to 100 percent' or 'limit each GPU.power_limit to 500 W')",
    ),
    "command below the actuator's range": (
        with_lines("then:", "  - command: limit each GPU.power_limit to 400 W"),
        "r.yaml:8:48: error: 400 W is out of range for R1-T1-G1.power_limit (500 to 1600 W)",
    ),
    "command that a constant takes out of range": (
        with_lines("then:", "  - command: limit each GPU.power_limit to 0.3 * default_power_limit"),
        "r.yaml:8:54: warning: 420 W is out of range for R1-T1-G1.power_limit: it will be 500 (500 to 1600 W)",
    ),
    "unknown actuator": (
        with_lines("then:", "  - command: limit each GPU.powr_limit to 600 W"),
        "r.yaml:8:33: error: R1-T1-G1 has no actuator 'powr_limit' (did you mean 'power_limit'?)",
    ),
    "actuator of an asset that has none": (
        with_lines("then:", "  - command: set PumpSpeed to 100 percent"),
        "r.yaml:8:22: error: R1 has no actuator 'PumpSpeed' (the site file gives it no actuator)",
    ),
    "command in a wrong unit": (
        with_lines("then:", "  - command: limit each GPU.power_limit to 600 K"),
        "r.yaml:8:52: error: the limit is in K, the actuator in W: not the same dimension",
    ),
    "two actions": (
        with_lines(
            "then:",
            "  - command: limit each GPU.power_limit to 600 W",
            "  - command: limit each GPU.power_limit to 700 W",
        ),
        "r.yaml:9:9: error: one action per rule in this version (remove it)",
    ),
    "a name that is no rule's": (
        GOOD.replace("low:", "Low_Flow:"),
        "r.yaml:2:3: error: 'Low_Flow' can't be the name of a rule (such as 'rack-flow-low')",
    ),
    "the engine's own rule": (
        GOOD.replace("low:", "source-gap:"),
        "r.yaml:2:3: error: 'source-gap' can't be the name of a rule (this name is the engine's own)",
    ),
    "no rules": ("alarms: {}\n", "r.yaml:1:1: error: the key 'rules' is missing"),
}


def test_a_good_rule_has_no_finding() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_rule_has_exactly_this_finding(name: str) -> None:
    text, expected = BAD[name]
    assert expected in [str(finding) for finding in findings(text)]
    others = [f for f in findings(text) if str(f) != expected]
    assert [str(f) for f in others if "unknown key" not in f.message] == []


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


def test_limits_are_in_the_signals_unit_and_follow_constants_and_actuators() -> None:
    loaded = program(
        """
  low:
    for: Rack
    when: RackLiquidFlow < 0.7 * design_flow
    until: RackLiquidFlow > 0.8 * design_flow
    severity: low
    message: low
    then: [{command: limit each GPU.power_limit to 0.5 * default_power_limit}]
  warm:
    for: GPU
    when: temperature > 328.15 K
    deadband: 2 K
    severity: low
    message: warm
  power:
    for: Rack
    when: RackPower > 0.1 MW
    severity: low
    message: power
  rate:
    for: GPU
    when: rate(temperature, 2 s) > 60 K/min
    severity: low
    message: rate
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
    assert [low.limit.of(rack) for rack in ("R1", "R2")] == pytest.approx([70, 35])
    assert [low.until.of(rack) for rack in ("R1", "R2")] == pytest.approx([80, 40])
    assert [t.value for t in low.targets["R2"]] == [700.0] * 4
    assert rules["warm"].limit.value == pytest.approx(55)
    assert rules["warm"].until.value == pytest.approx(53)
    assert rules["power"].limit.value == pytest.approx(100)
    assert rules["rate"].limit.value == pytest.approx(1)
    assert rules["rate"].window_ns == 2 * S
    assert set(rules["silent"].timeouts_ns.values()) == {300 * MS}
    assert set(rules["stopped"].timeouts_ns.values()) == {7 * S}
    (target,) = rules["stopped"].targets["CDU-P2"]
    assert (target.actuator, target.value) == ("CDU-P2.PumpSpeed", 100.0)


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

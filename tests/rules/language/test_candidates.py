"""One rule alone, with other values, through the loader that reads every rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from rules.language.candidates import Parameter, RuleAlone, parameters_of, rule_alone, with_value
from rules.language.load import load_rules
from rules.language.program import Rule
from rules.site.parse import parse_site
from streams.rule_sets.rule_folder import load_program, rule_texts
from streams.site_folder import load_site
from tests.rules.engine.plant import site

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"
TEXTS = {
    "one.yaml": """
parameters: {share_low: 70 %, short: 2 s}
expressions:
  flow_share: RackLiquidFlow / design_flow
  is_low: flow_share < share_low
""",
    "two.yaml": """
rules:
  flow-low:
    for: Rack
    when: is_low and avg(RackPower, short) > 20 kW
    until: flow_share > share_low + 10 %
    on_delay: 500 ms
    severity: high
    message: "{asset}: {flow_share:.2f}, {share_low}"
    then: []
  hot:
    for: GPU
    limits:
      of: temperature
      deadband: 2 K
      on_delay: 1 s
      severity: low
      message: "{asset}"
      H: {limit: hot}
  silent: {for: Rack, when: no_data(RackLiquidFlow), severity: low, message: x}
  fed: {for: Rack, when: 0.5 * CDU.LiquidFlow > (RackLiquidFlow) and (RackPower > 1 kW), severity: low, message: x}
  cold: {for: GPU, when: not (20 degC < temperature), severity: low, message: x}
""",
}


def alone(rule_id: str) -> RuleAlone:
    return rule_alone(TEXTS, rule_id)


def loaded(rule: RuleAlone) -> Rule:
    program, findings = load_rules({"": rule.text}, site())
    assert program is not None, [str(finding) for finding in findings]
    return program.rules[0]


def test_a_rule_alone_means_what_it_means_among_the_others() -> None:
    """Its definition is equal, for every rule of the example; commands are left out."""
    narvik = load_site(NARVIK)
    texts = rule_texts(NARVIK, narvik)
    for rule in load_program(NARVIK, narvik).rules[::7]:
        program, _ = load_rules({"": rule_alone(texts, rule.id).text}, narvik)
        assert program is not None, rule.id
        assert program.rules[0].definition == rule.definition
        assert not program.rules[0].targets


def test_what_of_a_rule_can_have_other_values() -> None:
    assert parameters_of(alone("flow-low"), site()) == {
        "limit": Parameter("share_low", "%"),
        "on_delay": Parameter("500 ms", "s"),
        "off_delay": Parameter("", "s"),
        "design_flow": Parameter("50 to 100 L/min", "L/min"),
        "share_low": Parameter("70 %", "%"),
        "short": Parameter("2 s", "s"),
    }
    assert parameters_of(alone("hot-h"), site()) == {
        "limit": Parameter("hot", "degC"),
        "on_delay": Parameter("1 s", "s"),
        "off_delay": Parameter("", "s"),
        "deadband": Parameter("2 K", "K"),
        "hot": Parameter("55 degC", "degC"),
    }
    assert parameters_of(alone("silent"), site()) == {"after": Parameter("", "s")}


@pytest.mark.parametrize(
    ("rule_id", "limit", "value", "when"),
    [
        ("hot-h", "hot", "60 degC", "temperature >= (60 degC) "),
        ("cold", "20 degC", "10 degC", "not ((10 degC) < temperature)"),
        ("fed", "(RackLiquidFlow)", "RackLiquidFlow - 1 L/min",
         "0.5 * CDU.LiquidFlow > (RackLiquidFlow - 1 L/min) and (RackPower > 1 kW)"),
    ],
)  # fmt: skip
def test_the_limit_is_what_the_value_of_the_alarm_is_compared_with(
    rule_id: str, limit: str, value: str, when: str
) -> None:
    rule = alone(rule_id)
    assert parameters_of(rule, site())["limit"].now == limit
    assert with_value(rule, "limit", value).fields["when"] == when
    assert loaded(with_value(rule, "limit", limit)).definition == loaded(rule).definition
    assert loaded(with_value(rule, "limit", value)).definition != loaded(rule).definition


def test_a_limit_within_an_expression_and_a_name_are_found_wherever_they_stand() -> None:
    rule = alone("flow-low")
    limited = with_value(rule, "limit", "50 %")
    assert limited.expressions["is_low"] == "flow_share < (50 %) "
    assert limited.fields["until"] == rule.fields["until"]
    named = with_value(rule, "share_low", "50 %")
    assert named.expressions["is_low"] == "flow_share < (50 %)"
    assert named.fields["until"] == "flow_share > (50 %) + 10 %"
    assert "(5 s)" in with_value(rule, "short", "5 s").fields["when"]
    for changed in (limited, named, with_value(rule, "short", "5 s"), with_value(rule, "on_delay", "1 s")):
        assert loaded(changed).definition != loaded(rule).definition


def test_names_of_other_assets_are_left_alone() -> None:
    texts = {
        "x.yaml": """
parameters: {design_flow: 3 L/min}
rules: {a: {for: GPU, when: Rack.RackLiquidFlow < Rack.design_flow, severity: low, message: x}}
"""
    }
    rule = rule_alone(texts, "a")
    assert "design_flow" not in parameters_of(rule, site())
    assert with_value(rule, "design_flow", "5 L/min").fields == rule.fields


def test_a_constant_of_the_rules_own_assets_goes_before_a_parameter() -> None:
    plain, _ = parse_site(
        """
name: x
tick: 1 s
sources: {plc: {kind: opcua, endpoint: "opc.tcp://h:1", address: "ns=2;s={point}"}}
units: {u: {assets: {P: {type: Pump, constants: {low: 30 %}, points: {PumpSpeed: 0..100 %}}}}}
""",
        "site.yaml",
    )
    assert plain is not None
    texts = {
        "x.yaml": """
parameters: {low: 40 %, high: 90 %}
rules: {a: {for: Pump, when: PumpSpeed < low or PumpSpeed > high, severity: low, message: x}}
"""
    }
    found = parameters_of(rule_alone(texts, "a"), plain)
    assert (found["low"], found["high"]) == (Parameter("30 percent", "percent"), Parameter("90 %", "%"))


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'flow-low'") as error:
        alone("flow-lo")
    assert error.value.findings[0].file == "RULE"

"""Whatever is written into a rule file, the answer is a program or findings that have a place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language.load import load_rules
from tests.rules.bad.small_site import site
from tests.rules.damaged_texts import damaged

GOOD = """\
parameters:
  share: 70 %
  high: 85 degC
expressions:
  flow_share: RackLiquidFlow / design_flow
  loaded: RackPower > 20 kW
rules:
  low:
    for: Rack
    when: flow_share < share and loaded
    until: flow_share > 0.8
    severity: low
    message: "{asset}: {RackLiquidFlow:.0f} of {design_flow:.0f}"
    then:
      - command: limit each GPU.power_limit to 0.5 * default_power_limit
  silent:
    for: Rack
    when: no_data(RackPower)
    after: 5 s
    severity: low
    message: silent
  hot:
    for: GPU
    limits:
      of: avg(temperature, 10 s)
      deadband: 2 K
      severity: high
      message: "{value:.0f}"
      HH: {limit: high + 7 K}
      H: {limit: high}
"""
LINES = GOOD.splitlines()
WORDS = (
    "and or not ( ) , . + - * / < <= > >= == != = ! & $ 1 5.5 1e999 0 kW L/min degC K % s 'x' é µ ² RackPower "
    "RackLiquidFlow design_flow share loaded flow_share temperature hot CDU. Rack. GPU.temperature rate( avg( count( "
    "since( cusum( no_data( vote2oo3( frozen( 10s 2d nothing {asset} {value {x} {value:.1f} [] {} - : # \" '"
)
TEXTS = st.lists(st.sampled_from(WORDS.split(" ")), max_size=14).map(" ".join) | st.text(max_size=20)
FORS = st.sampled_from(["GPU", "Rack", "Tray", "CDU", "PowerMeter", "Sensor", "UPS"])


def check(text: str) -> None:
    program, findings = load_rules({"r.yaml": text}, site())
    assert (program is None) == any(finding.severity == "error" for finding in findings)
    rows = len(text.splitlines()) + 1
    assert all(1 <= finding.line <= rows and finding.column >= 1 and finding.message for finding in findings)
    assert findings == sorted(set(findings))
    if program is not None:
        assert len({rule.definition for rule in program.rules}) == len(program.rules)


def test_the_undamaged_file_is_good() -> None:
    program, findings = load_rules({"r.yaml": GOOD}, site())
    assert [str(finding) for finding in findings] == []
    assert program is not None
    assert [rule.id for rule in program.rules] == ["hot-h", "hot-hh", "low", "silent"]


@settings(max_examples=600, deadline=None)
@given(FORS, TEXTS, TEXTS, TEXTS, TEXTS)
def test_any_condition(asset_type: str, when: str, until: str, expression: str, message: str) -> None:
    quoted = [text.replace("'", "''") for text in (expression, when, until, message)]
    check(
        f"expressions:\n  share: '{quoted[0]}'\nrules:\n  r:\n    for: {asset_type}\n    when: '{quoted[1]}'\n"
        f"    until: '{quoted[2]}'\n    severity: low\n    message: 'x{quoted[3]}'\n"
    )


@settings(max_examples=600, deadline=None)
@given(damaged(LINES, TEXTS, "x:[]{}.-,0 <>()/*"))
def test_a_damaged_file(text: str) -> None:
    check(text)


def test_long_and_deep_texts() -> None:
    """Nothing that a person would write, but no traceback either."""
    chain = "\n".join(f"  e{n}: e{n + 1} + e{n + 1}" for n in range(40)) + "\n  e40: RackPower\n"
    long = [
        "not " * 300 + "RackPower > 1 kW",
        "-" * 300 + "RackPower > 1 kW",
        " + ".join(["RackPower"] * 190) + " > 1 kW",
        "e0 > 1 kW",
        "abs(" * 25 + "e35" + ")" * 25 + " > 1 kW",
        "9" * 400 + " kW < RackPower",
    ]
    for when in long:
        check(
            f"expressions:\n{chain}rules:\n  r:\n    for: Rack\n    when: {when}\n    severity: low\n    message: x\n"
        )

"""What texts become: precedence, units, names, and what is computed before anything is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rules.language.load import load_rules
from rules.language.program import Rule
from rules.language.terms import Term
from tests.rules.bad.small_site import site


def rule(when: str, asset_type: str = "Rack", **keys: str) -> Rule:
    """The rule of one condition, which has no error."""
    more = "".join(f"    {key}: {text}\n" for key, text in {"message": "m", **keys}.items())
    text = f"rules:\n  r:\n    for: {asset_type}\n    severity: low\n    when: '{when}'\n{more}"
    program, findings = load_rules({"r.yaml": text}, site())
    assert program is not None, [str(finding) for finding in findings]
    return program.rules[0]


def text_of(term: Term | None) -> str:
    """A term in prefix form; a number that differs by asset with all of them."""
    assert term is not None
    if term.op == "number":
        numbers = dict.fromkeys([term.number.value, *term.number.by_asset.values()])
        return "|".join(f"{number:g}" for number in numbers)
    if term.op in ("field", "point"):
        return term.signal
    window = [f"{term.window_ns / 1e9:g}s"] if term.window_ns else []
    return f"{term.op}({', '.join([*map(text_of, term.args), *window])})"


@pytest.mark.parametrize(
    ("asset_type", "when", "expected"),
    [
        # precedence
        ("Rack", "RackPower - 1 kW - 2 kW > 3 kW", "gt(sub(sub(RackPower, 1), 2), 3)"),
        ("Rack", "RackPower > 1 kW or RackLeakDetect == 1 and RackPower > 2 kW",
         "or(gt(RackPower, 1), and(eq(RackLeakDetect, 1), gt(RackPower, 2)))"),
        ("Rack", "not RackPower > 1 kW and RackLeakDetect == 0",
         "and(not(gt(RackPower, 1)), eq(RackLeakDetect, 0))"),
        ("Rack", "not (RackPower > 1 kW or RackLeakDetect == 0)",
         "not(or(gt(RackPower, 1), eq(RackLeakDetect, 0)))"),
        ("Rack", "-RackPower * 2 < 1 kW + 2 * 3 kW", "lt(mul(neg(RackPower), 2), 7)"),
        # numbers are computed for each asset, and compare in the unit of the signal
        ("Rack", "RackLiquidFlow < 0.7 * design_flow", "lt(RackLiquidFlow, 70|35)"),
        ("Rack", "20000 W < RackPower", "lt(20, RackPower)"),
        ("Rack", "RackPower > 0.1 MW", "gt(RackPower, 100)"),
        ("Rack", "RackPower - 500 W > 1 kW", "gt(sub(RackPower, 0.5), 1)"),
        ("Rack", "RackLiquidFlow / design_flow < 70 %", "lt(div(RackLiquidFlow, 100|50), 0.7)"),
        ("Rack", "5 kW/design_flow < RackPower/RackLiquidFlow", "lt(0.05|0.1, div(RackPower, RackLiquidFlow))"),
        ("Rack", "RackPower / 2000 W > 3", "gt(div(RackPower, 2), 3)"),
        ("Rack", "1 - RackLiquidFlow / design_flow > 30 %", "gt(sub(1, div(RackLiquidFlow, 100|50)), 0.3)"),
        ("Pump", "0.5 * PumpSpeed > 30 %", "gt(mul(0.5, PumpSpeed), 30)"),
        ("GPU", "power_mean > 50 % * default_power_limit", "gt(power_mean, 700)"),
        # several assets
        ("Rack", "max(GPU.temperature) > 80 degC", "gt(max_over(temperature), 80)"),
        ("Rack", "count(GPU.xid == 79 and GPU.temperature > 80 degC) >= 3",
         "ge(count_over(and(eq(xid, 79), gt(temperature, 80))), 3)"),
        ("Rack", "coverage(GPU.temperature) < 50 %", "lt(coverage_over(temperature), 0.5)"),
        ("Rack", "count(rate(GPU.temperature, 2 s) > 1 K/s) > RackLeakDetect",
         "gt(count_over(gt(rate(temperature, 2s), 1)), RackLeakDetect)"),
        ("CDU", "avg(sum(Rack.RackPower), 1 min) > 90 kW", "gt(avg(sum_over(RackPower), 60s), 90)"),
        ("CDU", "min(Rack.RackLiquidFlow / Rack.RackPower) < 5 L/min/kW",
         "lt(min_over(div(RackLiquidFlow, RackPower)), 5)"),
        # temperatures
        ("GPU", "temperature > hot + 5 K", "gt(temperature, 60)"),
        ("GPU", "temperature - memory_temperature > 5 K", "gt(sub(temperature, memory_temperature), 5)"),
        ("GPU", "temperature > -5 degC", "gt(temperature, -5)"),
        ("GPU", "temperature > 212 °F", "gt(temperature, 100)"),
        ("GPU", "rate(temperature, 2 s) > 60 K/min", "gt(rate(temperature, 2s), 1)"),
        ("GPU", "rate(temperature, 2 s) > 1 °C/s", "gt(rate(temperature, 2s), 1)"),
        ("GPU", "stddev(temperature, 1 min) > 2 K", "gt(stddev(temperature, 60s), 2)"),
        ("GPU", "avg(temperature, 1 min) > 85 degC", "gt(avg(temperature, 60s), 85)"),
        # functions
        ("Rack", "integral(RackPower, 60 s) > 1 kWh", "gt(integral(RackPower, 60s), 3600)"),
        ("Rack", "rate(RackLeakDetect, 10 s) > 0.5 Hz", "gt(rate(RackLeakDetect, 10s), 0.5)"),
        ("Rack", "cusum(RackPower, 20 kW, 500 W) > 3 kW", "gt(cusum(RackPower, 20, 0.5), 3)"),
        ("GPU", "cusum(temperature, hot, 1 K) > 5 K", "gt(cusum(temperature, 55, 1), 5)"),
        ("GPU", "since(xid == 79) < 500 ms", "lt(since(eq(xid, 79)), 0.5)"),
        ("GPU", "count(xid == 79, 1 h) >= 2", "ge(count(eq(xid, 79), 3600s), 2)"),
        ("Rack", "integral(RackPower, RackLeakDetect == 1) > 1 kWh",
         "gt(integral(RackPower, eq(RackLeakDetect, 1)), 3600)"),
        ("GPU", "count(xid == 79, temperature < 40 degC) > 2", "gt(count(eq(xid, 79), lt(temperature, 40)), 2)"),
        ("Rack", "frozen(RackPower, RackLeakDetect == 1)",
         "eq(max(RackPower, eq(RackLeakDetect, 1)), min(RackPower, eq(RackLeakDetect, 1)))"),
        ("Rack", "stale(RackPower / RackLiquidFlow)", "stale(div(RackPower, RackLiquidFlow))"),
        ("GPU", "discrepancy(xid == 1, xid == 2, xid == 3)",
         "and(or(or(eq(xid, 1), eq(xid, 2)), eq(xid, 3)), not(and(and(eq(xid, 1), eq(xid, 2)), eq(xid, 3))))"),
        ("Rack", "changed(RackPower, 5 s)", "ne(max(RackPower, 5s), min(RackPower, 5s))"),
        ("Rack", "frozen(RackPower, 5 s)", "eq(max(RackPower, 5s), min(RackPower, 5s))"),
        ("Rack", "least(RackPower, 3000 W) > abs(RackPower)", "gt(least(RackPower, 3), abs(RackPower))"),
        ("GPU", "vote2oo3(xid == 1, xid == 2, xid == 3)",
         "or(or(and(eq(xid, 1), eq(xid, 2)), and(eq(xid, 1), eq(xid, 3))), and(eq(xid, 2), eq(xid, 3)))"),
        # relations
        ("GPU", "Rack.RackPower > 100 kW", "gt(Rack.RackPower, 100)"),
    ],
)  # fmt: skip
def test_conditions(asset_type: str, when: str, expected: str) -> None:
    assert text_of(rule(when, asset_type).when) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("RackPower > 1 kW and RackLiquidFlow < 5 L/min", "RackPower"),
        ("1 kW < RackPower", "RackPower"),
        ("stale(RackPower)", "RackPower"),
        ("design_flow > 1 L/min and RackPower > 1 kW", "RackPower"),
        ("not rate(RackPower, 1 s) > 1 kW/s", "rate(RackPower, 1s)"),
        ("count(RackPower > 1 kW, 1 s) > 3", "count(gt(RackPower, 1), 1s)"),
    ],
)
def test_the_value_of_an_alarm(when: str, expected: str) -> None:
    assert text_of(rule(when).shown["value"]) == expected


def test_what_others_have_is_read_of_them() -> None:
    found = rule("temperature > 80 degC and Rack.RackLiquidFlow < 50 L/min", "GPU")
    assert found.when is not None
    points = found.when.args[1].args[0].points
    assert points["R1-T1-G1"] == "R1.RackLiquidFlow"
    assert points["R2-T1-G2"] == "R2.RackLiquidFlow"
    assert set(points) == set(found.assets)


def test_a_place_is_of_the_asset_itself_or_else_of_what_is_above_it() -> None:
    when = "PrimarySupply.LiquidTemperature > 40 degC"
    for asset_type, assets in (("CDU", ("CDU-1",)), ("Pump", ("CDU-1-P1",)), ("Rack", ("R1", "R2"))):
        found = rule(when, asset_type, message='"{PrimarySupply.LiquidTemperature:.1f}"')
        assert found.assets == assets
        assert found.when is not None
        assert found.when.args[0].points == dict.fromkeys(assets, "T1.LiquidTemperature")


def test_constants_of_others_are_those_that_the_others_would_use() -> None:
    found = rule("temperature > 10 degC and Rack.RackLiquidFlow < 0.5 * Rack.design_flow", "GPU")
    assert found.when is not None
    limit = found.when.args[1].args[1].number
    assert [limit.of(gpu) for gpu in ("R1-T1-G1", "R2-T1-G2")] == [50.0, 25.0]


def test_assets_of_other_units_are_converted_and_shown_in_their_own() -> None:
    power = rule("ActivePower > 100 kW", "PowerMeter")
    assert power.assets == ("M1", "M2")
    assert power.when is not None
    assert power.when.args[0].op == "mul"
    assert [power.when.args[0].args[1].number.of(asset) for asset in ("M1", "M2")] == [1.0, 0.001]
    assert power.shown["value"].op == "point"
    warm = rule("LiquidTemperature > 50 degC", "Sensor")
    assert warm.when is not None
    assert warm.when.args[0].op == "add"
    offsets = [warm.when.args[0].args[1].number.of(asset) for asset in ("S1", "S2")]
    assert offsets == pytest.approx([0, -273.15])


def test_assets_without_a_signal_are_left_out() -> None:
    assert rule("AirTemperature > 5 degC", "Sensor").assets == ("S2",)
    assert rule("ActivePower > 1 kW", "PowerMeter", until="Voltage < 5 V").assets == ("M2",)


def test_a_deadband_is_on_the_other_side() -> None:
    for when, expected in (
        ("RackPower > 10 kW", "le(RackPower, 8)"),
        ("RackPower >= 10 kW", "lt(RackPower, 8)"),
        ("RackPower < 10 kW", "ge(RackPower, 12)"),
        ("10 kW >= RackPower", "gt(RackPower, 12)"),
        ("avg(RackPower, 1 s) > 10 kW", "le(avg(RackPower, 1s), 8)"),
    ):
        assert text_of(rule(when, deadband="2000 W").until) == expected


def test_common_units_need_no_pint() -> None:
    code = (
        "import sys; from tests.rules.language.test_resolve import rule; "
        "rule('RackPower + 5 W > 20000 W and since(RackLiquidFlow < 0.7 * design_flow) > 2 min'); "
        "rule('temperature - hot > 5 K and rate(temperature, 1 s) > 60 K/min', 'GPU'); "
        "sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_members_are_what_an_asset_holds_or_feeds_and_what_has_the_signal() -> None:
    def members(when: str, asset_type: str) -> dict[str, tuple[str, ...]]:
        found = rule(when, asset_type).when
        assert found is not None
        return dict(found.args[0].members)

    assert members("sum(Rack.RackPower) > 1 kW", "CDU") == {"CDU-1": ("R1", "R2"), "CDU-2": ("R2",)}
    gpus = members("max(GPU.temperature) > 80 degC", "Rack")
    assert set(gpus) == {"R1", "R2"}
    assert all(gpu.startswith(f"{rack}-") for rack, of in gpus.items() for gpu in of)


def test_relations_reach_other_units() -> None:
    fed = rule("sum(Rack.RackPower) > 20 kW", "UPS").when
    assert fed is not None
    assert fed.args[0].members == {"UPS-1": ("R1", "R2")}
    above = rule("UPS.ActivePower > 10 kW", "Rack").when
    assert above is not None
    assert above.args[0].points == {"R1": "UPS-1.ActivePower", "R2": "UPS-1.ActivePower"}

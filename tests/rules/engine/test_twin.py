"""What is said first, and which samples make whom look: small programs of terms through the whole twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules.engine.inputs import Input
from rules.engine.outputs import Alarm, Output
from rules.language.program import Rule, make_program
from rules.language.terms import Limit, Term
from rules.quality import Quality
from tests.rules.engine.plant import MS, START, UNIT, S, flow, frame, site, tick
from tests.rules.engine.terms_of_rules import GPUS, RACKS, point
from tests.rules.engine.twin import Twin

TEMPERATURE = Term("field", signal="temperature")
FLOW = point("RackLiquidFlow", {rack: f"{rack}.RackLiquidFlow" for rack in RACKS})
CDU_FLOW = point("CDU.LiquidFlow", dict.fromkeys(RACKS, "CDU.LiquidFlow"))
RACK_OF_GPU = point("Rack.RackLiquidFlow", {gpu: f"{gpu[:2]}.RackLiquidFlow" for gpu in GPUS})


def above(term: Term, limit: float, by_asset: Mapping[str, float] | None = None) -> Term:
    return Term("gt", (term, Term("number", number=Limit(limit, by_asset or {}))))


def rule(rule_id: str, kind: str, when: Term | None, shows: Term, **more: Any) -> Rule:
    settled: dict[str, Any] = {
        "until": None,
        "silent": None,
        "timeouts_ns": {},
        "on_delay_ns": 0,
        "off_delay_ns": 0,
    }
    assets = GPUS if kind == "GPU" else RACKS
    shown = {"value": shows} if when else {}
    return Rule(
        rule_id, kind, assets, when, severity="low", message="{asset} {value}", shown=shown, **(settled | more)
    )  # fmt: skip


def twin(*rules: Rule) -> Twin:
    made = Twin(make_program({rule.id: rule for rule in rules}, ""), site(), UNIT)
    made.step([tick(START)])
    return made


def said(outputs: list[Output]) -> list[tuple[str, str, str]]:
    return [(a.rule, a.asset, a.state) for a in outputs if isinstance(a, Alarm)]


def run(made: Twin, *inputs: Input) -> list[tuple[str, str, str]]:
    return said(made.step(list(inputs)))


def test_a_frame_speaks_by_sample_then_rule_then_lane() -> None:
    made = twin(
        rule("a", "GPU", above(TEMPERATURE, 50, {GPUS[0]: 70}), TEMPERATURE),
        rule("b", "GPU", above(TEMPERATURE, 40), TEMPERATURE),
    )
    values = frame(1, START + 20 * MS, 0.0, gpus=(1, 0), times_ns=[START + 10 * MS, START + 20 * MS])
    values.values[0, :, 3] = 60
    values.values[1, :, 3] = 80
    assert run(made, values) == [
        ("a", GPUS[1], "unacknowledged"),
        ("b", GPUS[0], "unacknowledged"),
        ("b", GPUS[1], "unacknowledged"),
        ("a", GPUS[0], "unacknowledged"),
    ]


def test_one_reading_is_for_every_condition_that_reads_it_by_rule_then_asset() -> None:
    made = twin(
        rule("a", "Rack", above(CDU_FLOW, 50), FLOW), rule("b", "Rack", above(Term("neg", (CDU_FLOW,)), -70), FLOW)
    )  # fmt: skip
    assert run(made, flow(1, START, 60, point="CDU.LiquidFlow")) == [
        (name, rack, "unacknowledged") for name in "ab" for rack in RACKS
    ]


def test_an_expired_deadline_comes_just_before_what_its_condition_says_itself() -> None:
    made = twin(
        rule("a", "GPU", above(TEMPERATURE, 50), TEMPERATURE, on_delay_ns=S),
        rule("b", "GPU", above(TEMPERATURE, 50), TEMPERATURE),
    )
    run(made, frame(1, START, 60, gpus=(0, 1)))
    assert run(made, tick(START + 500 * MS), frame(2, START + 1200 * MS, 40, gpus=(0, 1))) == [
        ("a", GPUS[0], "unacknowledged"),
        ("a", GPUS[0], "returned-unacknowledged"),
        ("a", GPUS[1], "unacknowledged"),
        ("a", GPUS[1], "returned-unacknowledged"),
        ("b", GPUS[0], "returned-unacknowledged"),
        ("b", GPUS[1], "returned-unacknowledged"),
    ]


def test_a_rule_looks_at_samples_of_what_it_only_shows() -> None:
    made = twin(rule("a", "Rack", above(FLOW, 50), CDU_FLOW, on_delay_ns=S))
    run(made, flow(1, START, 60), flow(2, START + 10 * MS, 7, point="CDU.LiquidFlow"))
    (alarm, *_) = made.step([tick(START + S)])
    assert isinstance(alarm, Alarm)
    assert (alarm.value, alarm.message) == (7.0, "R1 7")


def test_a_gpu_that_is_unknown_itself_still_sees_its_rack() -> None:
    made = twin(rule("a", "GPU", Term("or", (above(TEMPERATURE, 50), above(RACK_OF_GPU, 50))), TEMPERATURE))
    assert run(made, flow(1, START, 60)) == []
    (alarm, *_) = made.step([frame(1, START + 10 * MS, 20, gpus=(0,), quality=Quality.BAD)])
    assert isinstance(alarm, Alarm)
    assert (alarm.asset, alarm.value, alarm.message) == (GPUS[0], None, f"{GPUS[0]} no value")


def test_a_bad_reading_makes_its_point_unknown_for_all_who_read_it() -> None:
    made = twin(rule("a", "GPU", above(RACK_OF_GPU, 50), RACK_OF_GPU))
    bad = flow(2, START + 5 * MS, 60, quality=Quality.BAD)
    assert run(made, flow(1, START, 60), bad, frame(1, START + 10 * MS, 20)) == []
    assert len(run(made, flow(3, START + 15 * MS, 60), frame(2, START + 20 * MS, 20))) == 4


def test_a_late_reading_is_no_reading() -> None:
    made = twin(rule("a", "GPU", above(RACK_OF_GPU, 50), RACK_OF_GPU))
    run(made, tick(START + 5 * S), flow(1, START, 60))
    assert run(made, frame(1, START + 5 * S, 20)) == []


def test_silence_is_of_its_own_signal() -> None:
    silent = rule("a", "Rack", None, FLOW, silent=FLOW, timeouts_ns=dict.fromkeys(RACKS, S))
    made = twin(silent)
    assert run(made, flow(1, START, 60), tick(START + 900 * MS)) == []
    others = flow(2, START + 900 * MS, 60, point="CDU.LiquidFlow")
    assert run(made, others, tick(START + S)) == [("a", "R1", "unacknowledged")]
    assert run(made, flow(3, START + 1100 * MS, 60)) == [("a", "R1", "returned-unacknowledged")]

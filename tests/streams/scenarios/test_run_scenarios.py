"""A scenario runs through the production engine: what is as expected passes, everything else is said."""

import pytest

from streams.scenarios.coverage import coverage
from streams.scenarios.load import load_scenarios
from streams.scenarios.run import run
from tests.streams.scenarios.narvik import FOLDER, outcome, program, site, under_test

FLOW = """\
flow:
  asset: R01
  for: 30 s
  signals:
    RackLiquidFlow: [design_flow, 5 s: 40 L/min, 15 s: design_flow]
  expect: {expect}
"""


def problems(expect: str) -> list[str]:
    return list(outcome(FLOW.replace("{expect}", expect)).problems)


def test_what_comes_as_expected_is_no_problem() -> None:
    assert problems("{rack-flow-low: {raised: 5500 ms, cleared: 25 s, commands: 72}}") == []


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{rack-flow-low: never}", ["rack-flow-low on R01: raised at 5.5 s, expected never"]),
        ("{rack-flow-unknown: never}", ["rack-flow-low on R01: raised at 5.5 s, which nobody expects"]),
        ("{rack-flow-low: {raised: 6 s, cleared: 25 s}}", ["rack-flow-low on R01: raised at 5.5 s, expected 6 s"]),
        ("{rack-flow-low: {raised: 6 s, cleared: 25 s, within: 500 ms}}", []),
        ("{rack-flow-low: {raised: 5500 ms}}", ["rack-flow-low on R01: cleared at 25 s, expected to stand at the end"]),
        (
            "{rack-flow-low: {raised: 5500 ms, cleared: 24 s}}",
            ["rack-flow-low on R01: cleared at 25 s, expected 24 s"],
        ),
        (
            "{rack-flow-low: [{raised: 5500 ms, cleared: 25 s}, {raised: 28 s}]}",
            ["rack-flow-low on R01: not raised, expected at 28 s"],
        ),
        (
            "{rack-flow-low: {raised: 5500 ms, cleared: 25 s, commands: 4}}",
            ["rack-flow-low on R01: 72 commands, expected 4"],
        ),
        (
            "{rack-flow-low: {raised: 5500 ms, cleared: 25 s, commands: {R01-T01-G1.power_limit: 700 W}}}",
            ["rack-flow-low on R01: R01-T01-G1.power_limit was set to 500, expected 700"],
        ),
        (
            "{rack-flow-low: {raised: 5500 ms, cleared: 25 s, commands: {R02-T01-G1.power_limit: 500 W}}}",
            ["rack-flow-low on R01: R02-T01-G1.power_limit was not set, expected 500"],
        ),
    ],
)  # fmt: skip
def test_what_does_not_is_said(expect: str, said: list[str]) -> None:
    assert problems(expect) == said


def test_an_alarm_that_comes_again_is_expected_twice() -> None:
    twice = """\
twice:
  asset: BRK-A
  for: 30 s
  signals: {Status: [1, 5 s: 0, 8 s: 1, 20 s: 0]}
  expect: {breaker-open: [{raised: 5 s, cleared: 8 s}, {raised: 20 s}]}
"""
    assert outcome(twice).problems == ()


def test_a_signal_of_another_asset_in_another_unit() -> None:
    two = """\
two:
  asset: R01
  for: 20 s
  signals:
    RackLiquidFlow: [design_flow]
    BRK-B.Status: [1, 5 s: 0]
  expect: {breaker-open: {raised: 5 s, on: BRK-B}}
"""
    assert outcome(two).problems == ()


def test_bad_uncertain_missing_and_silent_reach_the_rules_as_such() -> None:
    for word, raised_s in (("bad", 12), ("uncertain", 12), ("silent", 12), ("missing", 12)):
        text = FLOW.replace("5 s: 40 L/min, 15 s: design_flow", f"10 s: {word}")
        found = outcome(text.replace("{expect}", f"{{rack-flow-unknown: {{raised: {raised_s} s}}}}"))
        assert found.problems == (), word


def test_noise_is_the_same_every_time_and_another_with_another_seed() -> None:
    noisy = FLOW.replace(
        "[design_flow, 5 s: 40 L/min, 15 s: design_flow]", "{steps: [100 L/min], noise: 5 L/min, seed: 3}"
    )
    text = noisy.replace("{expect}", "{rack-flow-low: never}")
    one, same, other = (outcome(t) for t in (text, text, text.replace("seed: 3", "seed: 4")))
    values = [result.traces["R01.RackLiquidFlow"].values for result in (one, same, other)]
    assert values[0].tolist() == values[1].tolist() != values[2].tolist()
    assert 2 < values[0].std() < 8


def test_the_example_s_rules_do_what_their_scenarios_say_and_each_is_tried() -> None:
    texts = {file.name: file.read_text() for file in sorted((FOLDER / "scenarios").glob("*.yaml"))}
    scenarios, findings = load_scenarios(texts, site(), program())
    assert findings == []
    assert len(scenarios) >= 80
    results = [run(scenario, under_test()) for scenario in scenarios]
    assert {result.scenario.name: result.problems for result in results if result.problems} == {}
    assert [one.rule for one in coverage(program(), results) if not one.complete] == []


def test_a_rule_without_a_near_miss_is_not_covered() -> None:
    raised = outcome(FLOW.replace("{expect}", "{rack-flow-low: {raised: 5500 ms, cleared: 25 s}}"))
    failed = outcome(FLOW.replace("{expect}", "{rack-flow-low: never}"))
    lines = {one.rule: one for one in coverage(program(), [raised, failed])}
    assert (lines["rack-flow-low"].raised, lines["rack-flow-low"].never) == (1, 0), (
        "a failed one does not count"
    )
    assert not lines["rack-flow-low"].complete

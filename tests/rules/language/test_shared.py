"""What like assets share is looked up once; nobody can tell but by the time that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.language import names
from rules.language.load import load_rules
from rules.language.quantities import Quantity, find_constant
from rules.language.terms import Term
from rules.site.model import Asset, Site
from streams.site_folder import load_site
from tests.rules.bad.small_site import site

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


def rule(rule_id: str, asset_type: str, when: str, command: str = "") -> str:
    """A rule, without a key at its end that it does not need."""
    then = f", then: [{{command: {command}}}]" if command else ""
    return f'  {rule_id}: {{for: {asset_type}, when: {when}, severity: low, message: "{{asset}}"{then}}}\n'


def test_a_constant_is_looked_up_for_each_template_and_not_for_each_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def counting(site: Site, asset: Asset, name: str) -> Quantity | None:
        asked.append(asset.id)
        return find_constant(site, asset, name)

    monkeypatch.setattr(names, "find_constant", counting)
    text = "rules:\n" + rule("hot", "GPU", "temperature > temperature_critical")
    program, findings = load_rules({"r.yaml": text}, load_site(NARVIK))
    assert program is not None, findings
    assert len(program.rules[0].assets) == 576
    assert len(asked) < 10


def test_assets_that_differ_keep_numbers_of_their_own() -> None:
    text = "rules:\n" + rule("low", "GPU", "power_instant < only_here or temperature > hot")
    program, findings = load_rules({"r.yaml": text}, site())
    assert program is None
    assert "GPU R2-T1-G1 has no constant 'only_here'" in str(findings[0])
    text = "rules:\n" + rule("low", "GPU", "power_instant / power_mean < design_flow / 80 L/min")
    program, findings = load_rules({"r.yaml": text}, site())
    assert program is not None, findings
    when = program.rules[0].when
    assert when is not None
    assert when.args[1].number.by_asset == {
        **dict.fromkeys(("R1-T1-G1", "R1-T1-G2"), 1.25),
        **dict.fromkeys(("R2-T1-G1", "R2-T1-G2"), 0.625),
    }


def test_rules_with_one_command_share_its_targets_and_each_has_its_warning() -> None:
    command = "limit each GPU.power_limit to 0.3 * default_power_limit"
    text = "rules:\n" + rule("a", "Rack", "RackPower > 20 kW", command)
    text += rule("b", "GPU", "temperature > 60 degC", command)
    text += rule("c", "GPU", "temperature > 70 degC", command)
    program, findings = load_rules({"r.yaml": text}, site())
    assert program is not None, findings
    of_racks, of_gpus, _ = (one.targets for one in program.rules)
    assert of_racks["R2"][1] is of_gpus["R2-T1-G2"][0]
    assert [finding.line for finding in findings if "will be 500" in finding.message] == [2, 3, 4]


def test_a_shared_term_is_walked_through_once() -> None:
    reading = Term("point", signal="RackPower", points={"R1": "R1.RackPower"})
    term = reading
    for _ in range(200):  # as a tree it has 2 ** 200 leaves
        term = Term("add", (term, term))
    assert [one.op for one in term.walk()] == ["point", *["add"] * 200]
    assert term.signals("R1") == [(reading, "R1")]


def test_what_members_share_is_read_for_each_of_them() -> None:
    reading = Term("point", signal="RackPower", points={"R1": "R1.RackPower", "R2": "R2.RackPower"})
    total = Term("sum_over", (Term("mul", (reading, reading)),), members={"hall": ("R1", "R2")})
    assert total.signals("hall") == [(reading, "R1"), (reading, "R2")]
    assert total.walk() == [total]

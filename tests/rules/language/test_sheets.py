"""Alarm response sheets say what the rule files say, most severe first."""

from pathlib import Path

import pytest

from gateways.cli.main import run_app
from rules.language.load import load_rules
from rules.language.sheets import sheets
from streams.rule_sets.rule_folder import rule_texts
from streams.site_folder import load_site

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


def test_every_rule_of_the_example_has_a_sheet_with_a_response() -> None:
    site = load_site(NARVIK)
    texts = rule_texts(NARVIK, site)
    program, _ = load_rules(texts, site)
    assert program is not None
    found = sheets(texts, program)
    assert {sheet.rule for sheet in found} == {rule.id for rule in program.rules}
    assert [sheet.rule for sheet in found if not sheet.cause or not sheet.response] == []
    order = [sheet.severity for sheet in found]
    assert order == sorted(order, key=("urgent", "high", "medium", "low").index)
    flow = next(sheet for sheet in found if sheet.rule == "rack-flow-low")
    assert flow.condition == {
        "when": "RackLiquidFlow < 0.7 * design_flow",
        "until": "RackLiquidFlow > 0.8 * design_flow",
        "on_delay": "500 ms",
        "off_delay": "10 s",
    }
    assert flow.actions == ("limit each GPU.power_limit to 500 W",)
    assert (flow.assets, flow.severity, flow.file) == (8, "urgent", "rules/plant.yaml")
    line = texts[flow.file].splitlines()[flow.line - 1]
    assert line.strip() == "rack-flow-low:"


def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["docs", "rules", str(NARVIK), "-o", str(tmp_path / "alarms.md")]) == 0
    assert capsys.readouterr().out == ""
    page = (tmp_path / "alarms.md").read_text()
    assert (
        "| [rack-flow-low](#rack-flow-low) | urgent | Rack | `RackLiquidFlow < 0.7 * design_flow` |" in page
    )
    assert "| Cause | pump trip, valve, filter, leak |" in page


def test_a_page_that_can_t_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["docs", "rules", str(NARVIK), "-o", str(tmp_path / "none" / "alarms.md")]) == 2
    assert "alarms.md: error: can't be written: No such file or directory" in capsys.readouterr().err


def test_a_wrong_rule_is_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "site.yaml").write_text((NARVIK / "site.yaml").read_text())
    (tmp_path / "rules" / "a.yaml").write_text("rules: {x: {for: Rack}}")
    assert run_app(["docs", "rules", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the key 'when' is missing" in captured.err

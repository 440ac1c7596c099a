"""`headrace test`: exit codes, what it prints of a failure, and how it finds the site of a file."""

import shutil
from pathlib import Path

import orjson
import pytest

from gateways.cli.main import run_app
from tests.gateways.cli.test_check import GOOD_RULE, GOOD_SITE

SCENARIO = """\
scenarios:
  flow-is-lost:
    asset: R01
    for: 20 s
    signals: {RackLiquidFlow: [150 L/min, 5 s: 40 L/min]}
    expect: {rack-flow-low: {raised: 5 s}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(GOOD_SITE)
    for name, text in (("rules", GOOD_RULE), ("scenarios", SCENARIO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rack.yaml").write_text(text)
    return tmp_path


def test_what_passes_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["test", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("1 scenarios, 0 failed, ")


def test_a_failure_names_the_place_and_shows_a_time_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "scenarios" / "rack.yaml"
    file.write_text(SCENARIO.replace("raised: 5 s", "raised: 9 s"))
    assert run_app(["test", str(file)]) == 1, "the site is found above the file"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}:2: flow-is-lost"
    assert lines[1] == "  rack-flow-low on R01: raised at 5 s, expected 9 s"
    signal, alarm = lines[2].split(), lines[3]
    assert signal[0] == "R01.RackLiquidFlow"
    assert signal[1] == "█" * 15 + "▁" * 45
    assert alarm.count("━") == 45
    assert alarm.endswith("5 s")


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["test", str(folder), "--coverage", "--json"]) == 1, "a near miss is lacking"
    said = orjson.loads(capsys.readouterr().out)
    assert said["coverage"] == [{"rule": "rack-flow-low", "raised": 1, "cleared": 0, "near_miss": 0}]
    assert [one["text"] for one in said["operands"]] == [
        "RackLiquidFlow < 100 L/min",
        "RackLiquidFlow > 120 L/min",
    ]
    (scenario,) = said["scenarios"]
    assert (scenario["name"], scenario["ok"], scenario["line"]) == ("flow-is-lost", True, 2)
    assert scenario["alarms"] == [
        {"rule": "rack-flow-low", "asset": "R01", "raised_s": 5.0, "cleared_s": None}
    ]


def test_rules_of_another_folder_are_tried_in_place_of_the_sites(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = tmp_path_factory.mktemp("candidate")
    file = candidate / "rack.yaml"
    file.write_text(GOOD_RULE.replace("RackLiquidFlow < 100 L/min", "RackLiquidFlow < 30 L/min"))
    assert run_app(["test", str(folder), "--rules", str(candidate), "--json"]) == 1
    (scenario,) = orjson.loads(capsys.readouterr().out)["scenarios"]
    assert (scenario["ok"], scenario["alarms"]) == (False, [])
    assert run_app(["test", str(folder), "--rules", str(candidate), "--coverage"]) == 1
    assert f"{file}:4:" in capsys.readouterr().out, "the operand stands in the candidate's file"
    file.write_text("rules: {oops: {when: 1}}")
    assert run_app(["test", str(folder), "--rules", str(candidate)]) == 2
    assert str(file) in capsys.readouterr().err


def test_rules_of_another_folder_are_of_one_site(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path_factory.mktemp("other") / "site"
    shutil.copytree(folder, other)
    assert run_app(["test", str(folder), str(other), "--rules", str(folder / "rules")]) == 2
    assert "rules are of one site" in capsys.readouterr().err


def test_an_operand_that_was_never_true_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    never = "\n  and-back: {asset: R01, for: 5 s, signals: {RackLiquidFlow: 150 L/min}, expect: {rack-flow-low: never}}"
    (folder / "scenarios" / "rack.yaml").write_text(SCENARIO.rstrip() + never)
    rules = folder / "rules" / "rack.yaml"
    assert run_app(["test", str(folder), "--coverage"]) == 0, capsys.readouterr().out
    rules.write_text(rules.read_text().replace("100 L/min", "100 L/min or RackLiquidFlow < 20 L/min"))
    capsys.readouterr()
    assert run_app(["test", str(folder), "--coverage"]) == 1
    said = capsys.readouterr().out
    assert f"{rules}:4:" in said
    assert "rack-flow-low: 'RackLiquidFlow < 20 L/min' was never true\n" in said
    assert "1 of 3 operands were not both true and false" in said


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "no scenarios here"), ("rules", "unknown key 'rules'")],
)
def test_what_is_no_scenario(
    folder: Path, path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["test", str(folder / path)]) == 2
    assert message in capsys.readouterr().err


def test_a_scenario_file_that_can_not_be_read_hides_no_finding_of_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenarios = folder / "scenarios"
    (scenarios / "a.yaml").write_bytes(b"scenarios:\n  \xff")
    (scenarios / "b.yaml").mkdir()
    (scenarios / "rack.yaml").write_text(SCENARIO.replace("R01", "R99"))
    assert run_app(["test", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{scenarios / 'a.yaml'}:2:3: error: not UTF-8" in said
    assert f"{scenarios / 'b.yaml'}: error: can't be read: Is a directory" in said
    assert f"{scenarios / 'rack.yaml'}:3:12: error: the site has no asset 'R99'" in said


def test_scenarios_without_a_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(SCENARIO)
    assert run_app(["test", str(tmp_path)]) == 2
    assert "no site above these scenarios" in capsys.readouterr().err

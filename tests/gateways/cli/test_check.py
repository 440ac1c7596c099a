"""`headrace check`: what it says of good sites, and exit code, place and caret for bad ones."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from gateways.cli.check import check

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD_SITE = """\
name: small
rules: [rules]
sources:
  plc: {kind: opcua, endpoint: "opc.tcp://127.0.0.1:4840", address: "ns=2;s={point}"}
  host: {kind: nvml, assets: R01, period: 100 ms}
units:
  row-a:
    assets:
      R01:
        type: Rack
        points: {RackLiquidFlow: {range: 0..250 L/min, period: 500 ms}}
        contains:
          -G[1..4]: {type: GPU}
"""
GOOD_RULE = """\
rules:
  rack-flow-low:
    for: Rack
    when: RackLiquidFlow < 100 L/min
    until: RackLiquidFlow > 120 L/min
    severity: urgent
    message: "{asset}: flow low"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(GOOD_SITE)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rack.yaml").write_text(GOOD_RULE)
    return tmp_path


def answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    code = check(folder, as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, orjson.loads(captured.out)


def test_what_a_good_site_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = answer(folder, capsys)
    assert code == 0
    assert (said["ok"], said["findings"], said["rules"]) == (True, [], ["rack-flow-low"])
    site = said["site"]
    assert isinstance(site, dict)
    assert site["units"] == {"row-a": {"assets": 5, "points": 1, "gpus": 4}}
    assert site["assets"] == {"GPU": 4, "Rack": 1}
    assert site["readings_per_s"] == 2 + 4 * 24 * 10
    rates = {name: source["readings_per_s"] for name, source in site["sources"].items()}
    assert rates == {"plc": 2.0, "host": 960.0}


def test_the_same_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, as_json=False) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for words in (
        "small",
        "row-a",
        "plc",
        "opc.tcp://127.0.0.1:4840",
        "962",
        "GPU 4, Rack 1",
        "rack-flow-low",
    ):
        assert words in captured.out


def test_findings_of_site_and_rules_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning of the site file does not hide the error of a rule file."""
    (folder / "site.yaml").write_text(GOOD_SITE.replace("units:", "templates:\n  spare: {type: Fan}\nunits:"))
    rules = folder / "rules" / "rack.yaml"
    rules.write_text(GOOD_RULE.replace("RackLiquidFlow <", "RackLiquidFlw <"))
    assert check(folder, as_json=False) == 2
    err = capsys.readouterr().err
    assert f"{folder / 'site.yaml'}:7:3: warning: template 'spare' is not used" in err
    assert f"{rules}:4:" in err
    assert "did you mean 'RackLiquidFlow'?" in err
    assert err.endswith("1 error\n")


def test_every_error_of_the_site_file_with_line_and_caret(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD_SITE.replace("type: Rack", "type: Rak").replace("0..250 L/min", "250..0 L/min")
    (folder / "site.yaml").write_text(text)
    assert check(folder, as_json=False) == 2
    lines = capsys.readouterr().err.splitlines()
    first = lines.index(
        f"{folder / 'site.yaml'}:10:15: error: unknown object type 'Rak' (did you mean 'Rack'?)"
    )
    assert lines[first + 1].endswith("type: Rak")
    assert lines[first + 2].index("^") == lines[first + 1].index("Rak")
    assert "the range starts at 250 and ends at 0" in lines[first + 3]
    assert lines[-1] == "2 errors; rules were not read without a site"


def test_warnings_alone_are_fine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site.yaml").write_text(GOOD_SITE.replace("units:", "templates:\n  spare: {type: Fan}\nunits:"))
    code, said = answer(folder, capsys)
    assert code == 0
    findings = said["findings"]
    assert isinstance(findings, list)
    assert [finding["severity"] for finding in findings] == ["warning"]


def test_missing_rules_are_an_error_but_the_site_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rules" / "rack.yaml").unlink()
    code, said = answer(folder, capsys)
    assert code == 2
    assert said["rules"] is None
    assert isinstance(said["site"], dict)


def test_a_rule_file_that_can_not_be_read_is_one_finding_beside_those_of_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = folder / "rules"
    (rules / "latin.yaml").write_bytes(b"rules:\n  # 40 \xb0C\n")
    (rules / "folder.yaml").mkdir()
    (rules / "rack.yaml").write_text(GOOD_RULE.replace("RackLiquidFlow <", "RackLiquidFlw <"))
    code, said = answer(folder, capsys)
    assert (code, said["rules"]) == (2, None)
    findings = said["findings"]
    assert isinstance(findings, list)
    assert [(one["file"], one["line"]) for one in findings] == [
        (str(rules / "folder.yaml"), 0), (str(rules / "latin.yaml"), 2), (str(rules / "rack.yaml"), 4),
    ]  # fmt: skip
    (rules / "rack.yaml").write_text(GOOD_RULE)
    assert answer(folder, capsys)[1]["rules"] is None, "half of the rules are no program"


def test_no_site_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = answer(tmp_path / "nowhere", capsys)
    assert code == 2
    assert (said["ok"], said["site"]) == (False, None)
    findings = said["findings"]
    assert isinstance(findings, list)
    assert "no folder" in findings[0]["message"]


@pytest.mark.parametrize("name", ["narvik", "narvik-full"])
def test_the_examples_are_fine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = answer(EXAMPLES / name, capsys)
    assert (code, said["findings"]) == (0, [])
    assert said["rules"]


def test_a_constant_of_another_dimension_than_the_plant_reads_is_found_where_it_stands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD_SITE.replace(
        "{type: GPU}", "{type: GPU, constants: {default_power_limit: 1400 K, heat_capacity: 500 J/K}}"
    )
    (folder / "site.yaml").write_text(
        text.replace("type: Rack", "type: Rack\n        constants: {other_power: 20000 W, own: 3 K}")
    )
    code, said = answer(folder, capsys)
    findings = said["findings"]
    assert isinstance(findings, list)
    assert (code, said["ok"], len(findings)) == (2, False, 1)
    lines = (folder / "site.yaml").read_text().splitlines()
    assert lines[findings[0]["line"] - 1][findings[0]["column"] - 1 :].startswith("1400 K")
    assert "'default_power_limit' of a GPU is in K: the simulated plant needs W" in findings[0]["message"]


def test_rules_that_are_not_there_are_found_in_the_site_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.yaml").write_text(GOOD_SITE.replace("rules: [rules]", "rules: [ruels]"))
    code, said = answer(folder, capsys)
    (finding,) = said["findings"]  # type: ignore[misc]
    place = finding["file"], finding["line"], finding["column"]
    assert (code, place) == (2, (str(folder / "site.yaml"), 2, 9))
    assert finding["hint"] == "did you mean 'rules'?"


@pytest.mark.parametrize("name", ["rules/pipe.yaml", "site.yaml"])
def test_a_pipe_among_the_files_is_a_finding(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    code, said = answer(folder, capsys)
    (finding,) = said["findings"]  # type: ignore[misc]
    assert (code, finding["file"]) == (2, str(folder / name))
    assert "no regular file" in finding["message"]


def test_a_placeholder_that_nothing_fills_in_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.yaml").write_text(GOOD_SITE.replace("s={point}", "s={pointt}.{point}"))
    code, said = answer(folder, capsys)
    (finding,) = said["findings"]  # type: ignore[misc]
    assert (code, finding["line"], finding["hint"]) == (2, 4, "did you mean 'point'?")
    assert "unknown placeholder '{pointt}'" in finding["message"]
    (folder / "site.yaml").write_text(GOOD_SITE.replace("s={point}", "s={8F0A-77}.{point}"))
    assert answer(folder, capsys)[0] == 0


def test_every_file_is_named_from_where_the_user_stands(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "site.yaml").write_text(GOOD_SITE.replace("[rules]", "[../rules, mine.yaml]"))
    (folder / "site" / "mine.yaml").write_text(GOOD_RULE)
    monkeypatch.chdir(folder)
    assert check(Path("site"), as_json=False) == 2
    err = capsys.readouterr().err
    assert (
        "site/mine.yaml:2:3: error: duplicate rule 'rack-flow-low' (first given at site/../rules/rack.yaml:2)"
        in err
    )


def test_a_text_of_any_length_is_a_short_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rules" / "rack.yaml").write_text(
        GOOD_RULE.replace("severity: urgent", f"severity: {'x' * 10_000}")
    )
    assert check(folder, as_json=False) == 2
    assert max(len(line) for line in capsys.readouterr().err.splitlines()) < 700


def test_settings_environment_and_users_are_read_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "headrace.yaml").write_text("broker: {partitons: 3}\n")
    (folder / "users.yaml").write_text("users: {eva: {role: opperator}}\n")
    monkeypatch.setenv("HEADRACE_TYPO", "x")
    code, said = answer(folder, capsys)
    findings = said["findings"]
    assert isinstance(findings, list)
    assert (code, said["ok"]) == (2, False)
    assert {Path(one["file"]).name for one in findings} == {"environment", "headrace.yaml", "users.yaml"}
    assert any("HEADRACE_TYPO" in one["message"] for one in findings)
    assert any(one["hint"] == "did you mean 'partitions'?" for one in findings)
    (folder / "site.yaml").unlink()
    assert len(answer(folder, capsys)[1]["findings"]) == 4, "without a site, too"  # type: ignore[arg-type]


SUBSCRIPTIONS = """\
channels:
  chat: {kind: webhook, url: {env: ALERTS_NOT_SET}}
subscriptions:
  all: {to: chat}
"""


def test_subscriptions_are_read_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "subscriptions.yaml"
    file.write_text(SUBSCRIPTIONS)
    code, said = answer(folder, capsys)
    (finding,) = said["findings"]  # type: ignore[misc]
    assert (code, finding["severity"]) == (0, "warning"), "the variable is the role's"
    file.write_text(SUBSCRIPTIONS.replace("to: chat", "to: chatt"))
    code, said = answer(folder, capsys)
    assert (code, said["ok"]) == (2, False)
    assert "did you mean 'chat'?" in [one["hint"] for one in said["findings"]]  # type: ignore[attr-defined]


def test_a_rule_that_is_wrong_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SUBSCRIPTIONS.replace("{env: ALERTS_NOT_SET}", "http://127.0.0.1:1/x")
    (folder / "subscriptions.yaml").write_text(text.replace("to: chat", "to: chat, group: pumps"))
    rules = folder / "rules" / "rack.yaml"
    rules.write_text(GOOD_RULE.replace("RackLiquidFlow <", "RackLiquidFlw <"))
    code, said = answer(folder, capsys)
    assert (code, len(said["findings"])) == (2, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "is_warned"),
    [
        ("opc.tcp://localhost:4840", False),
        ("opc.tcp://127.0.0.2:4840/plant", False),
        ("opc.tcp://10.0.0.5:4840", True),
        ("opc.tcp://plc.example:4840", True),
    ],
)
def test_actuators_of_a_server_that_may_be_no_simulated_plant_are_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str], endpoint: str, is_warned: bool
) -> None:
    actuators = "        actuators: {RackLiquidFlow: {default: 80 L/min}}\n"
    site = GOOD_SITE.replace("opc.tcp://127.0.0.1:4840", endpoint)
    (folder / "site.yaml").write_text(site)
    assert answer(folder, capsys)[1]["findings"] == []
    (folder / "site.yaml").write_text(site.replace("        contains:", f"{actuators}        contains:"))
    code, said = answer(folder, capsys)
    found = said["findings"]
    assert isinstance(found, list)
    assert (code, [(one["line"], one["severity"]) for one in found]) == (0, [(4, "warning")] * is_warned)

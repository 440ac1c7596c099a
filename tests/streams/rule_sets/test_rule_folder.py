"""Rule files of a folder, and the story that the example's rules must tell: flow lost, GPUs limited."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Readings, Tick
from rules.engine.outputs import Alarm, Command
from rules.errors import ConfigurationError
from rules.site.model import Site
from rules.site.parse import parse_site
from streams.rule_sets.rule_folder import load_program, rule_texts

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"
S = 1_000_000_000
START = 1_700_000_000 * S


@pytest.fixture(scope="module")
def site() -> Site:
    parsed, _ = parse_site((NARVIK / "site.yaml").read_text(encoding="utf-8"), "site.yaml")
    assert parsed is not None
    return parsed


def test_rule_files_are_named_as_in_the_site_folder(site: Site) -> None:
    assert sorted(rule_texts(NARVIK, site)) == [
        f"rules/{name}.yaml"
        for name in ("actuators", "gpu", "gpu_errors", "heat", "plant", "power", "recorder")
    ]


def test_another_folder_or_file_takes_the_place_of_the_sites_own(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("rules: {}\n")
    (tmp_path / "notes.txt").write_text("not a rule")
    assert list(rule_texts(NARVIK, site, tmp_path)) == [str(tmp_path / "mine.yaml")]
    assert load_program(NARVIK, site, tmp_path / "mine.yaml").rules == ()


def test_what_can_not_be_read_is_a_finding(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read: No such file"):
        rule_texts(NARVIK, site, tmp_path / "missing.yaml")
    with pytest.raises(ConfigurationError, match="no rule file in this folder"):
        rule_texts(NARVIK, site, tmp_path)
    (tmp_path / "bad.yaml").write_bytes(b"rules:\n  \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"bad.yaml:2:3: error: not UTF-8"):
        rule_texts(NARVIK, site, tmp_path)


def test_the_folder_of_a_site_is_no_folder_of_rules(site: Site, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    shutil.copytree(NARVIK, candidate)
    with pytest.raises(ConfigurationError) as raised:
        load_program(NARVIK, site, candidate)
    [said] = raised.value.findings
    assert (said.file, said.hint) == (str(candidate), str(candidate / "rules"))
    assert "a site's folder, with a site.yaml, is no folder of rules" in said.message


def test_a_file_that_can_not_be_read_hides_no_finding_of_another(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    (tmp_path / "b.yaml").mkdir()
    (tmp_path / "c.yaml").write_text("rules: {c: {for: Rock}}")
    with pytest.raises(ConfigurationError) as raised:
        load_program(NARVIK, site, tmp_path)
    said = [(Path(one.file).name, one.line, one.message) for one in raised.value.findings]
    assert said[:2] == [("a.yaml", 1, "not UTF-8"), ("b.yaml", 0, "can't be read: Is a directory")]
    assert ("c.yaml", 1, "the site has no asset of type 'Rock'") in said


def test_a_folder_without_permission_is_a_finding(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigurationError, match=f"{tmp_path}: .*can't be read: Permission denied"):
        rule_texts(NARVIK, site, tmp_path)


def test_a_wrong_rule_stops_the_whole_program(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: {a: {for: Rock}}")
    with pytest.raises(ConfigurationError, match="no asset of type 'Rock'"):
        load_program(NARVIK, site, tmp_path)


def test_flow_lost_is_an_urgent_alarm_and_limits_all_gpus_behind(site: Site) -> None:
    engine = Engine(load_program(NARVIK, site), site, "row-a")
    racks = tuple(f"R0{n}.RackLiquidFlow" for n in (1, 2, 3, 4))

    def flows(sequence: int, at_ns: int, value: float) -> Readings:
        n = len(racks)
        return Readings(
            "row-a",
            Identity("plant-opcua", 1, sequence),
            at_ns,
            racks,
            np.full(n, at_ns),
            np.zeros(n, np.int64),
            np.full(n, value),
            np.zeros(n, np.uint8),
            np.zeros(n, np.uint32),
        )

    def ticks(first_ns: int, until_ns: int) -> list[Tick]:
        times = range(first_ns, until_ns, site.tick_ns)
        return [Tick("row-a", Identity("ticker", 0, at // site.tick_ns), at) for at in times]

    assert engine.step([*ticks(START, START + S), flows(1, START + S, 158.0)]) == []
    lost_ns = START + 2 * S
    outputs = engine.step([*ticks(START + S, lost_ns), flows(2, lost_ns, 12.0), *ticks(lost_ns, lost_ns + S)])
    alarms = [a for a in outputs if isinstance(a, Alarm)]
    commands = [c for c in outputs if isinstance(c, Command)]
    assert {(a.rule, a.asset, a.severity) for a in alarms} == {
        ("rack-flow-low", f"R0{n}", "urgent") for n in (1, 2, 3, 4)
    }
    assert all(lost_ns < a.raised_ns <= lost_ns + 2 * S for a in alarms)
    assert {c.actuator for c in commands} == {f"{gpu}.power_limit" for gpu in site.units["row-a"].gpus}
    assert {(c.value, c.engineering_unit) for c in commands} == {(500.0, "W")}
    assert len(commands) == 288


def test_findings_name_files_as_the_user_can_open_them(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of the site from where the user stands, other ones by the name that was given."""
    monkeypatch.chdir(tmp_path)
    copy = Path("copy")
    shutil.copytree(NARVIK, copy)
    (copy / "rules" / "bad.yaml").write_text("rules: {a: {for: Rock}}")
    candidate = Path("candidate")
    candidate.mkdir()
    (candidate / "bad.yaml").write_text("rules: {a: {for: Rock}}")
    for override, name in ((None, "copy/rules/bad.yaml"), (candidate, "candidate/bad.yaml")):
        with pytest.raises(ConfigurationError) as raised:
            load_program(copy, site, override)
        assert {one.file for one in raised.value.findings if one.severity == "error"} == {name}

"""What is kept of rules is used where it holds, and only there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rules.engine import kept_tables
from rules.engine.tables import Compiled
from rules.errors import ConfigurationError
from rules.site.model import Site
from streams.rule_sets import kept_rules
from streams.rule_sets.kept_rules import KEPT, KeptRules
from streams.rule_sets.rule_set import RuleSet
from tests.streams.rule_sets.narrow import SLOW, TWO, rule_set


def kept(folder: Path, rules: str = SLOW) -> KeptRules:
    made = rule_set(rules, TWO)
    return KeptRules(made, made.load_site(), folder)


def as_bytes(tables: Compiled) -> bytes:
    return kept_tables.pack(tables, {})


def test_a_second_start_takes_them_up_without_reading_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept(tmp_path / "run" / "tables")
    tables = first.tables("hall")
    assert first.made == ["hall"]

    def reads(self: RuleSet, site: Site) -> None:
        raise AssertionError("the rules were read")

    monkeypatch.setattr(RuleSet, "program", reads)
    second = kept(tmp_path / "run" / "tables")
    assert as_bytes(second.tables("hall")) == as_bytes(tables)
    assert second.made == []


def test_a_unit_that_is_not_there_is_made_and_kept(tmp_path: Path) -> None:
    kept(tmp_path).tables("hall")
    second = kept(tmp_path)
    second.tables("hall")
    assert second.tables("annex").assets == ("P-2",)
    assert second.made == ["annex"]
    third = kept(tmp_path)
    third.tables("annex")
    assert third.made == []


def test_other_rules_have_their_own(tmp_path: Path) -> None:
    kept(tmp_path).tables("hall")
    other = kept(tmp_path, SLOW.replace("50", "60"))
    definition = other.tables("hall").rules[0].definition
    assert other.made == ["hall"]
    assert definition == rule_set(SLOW.replace("50", "60"), TWO).load()[1].rules[0].definition


def test_other_code_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path).tables("hall")
    with monkeypatch.context() as changed:
        changed.setattr(kept_rules, "code_digest", lambda: "another")
        other = kept(tmp_path)
        other.tables("hall")
    assert other.made == ["hall"]
    before = kept(tmp_path)
    before.tables("hall")
    assert before.made == [], "an older version that is started again finds its own"


def test_code_is_another_with_each_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(kept_rules.rules, "__file__", str(tmp_path / "__init__.py"))
    digests = []
    for text in ("a = 1\n", "a = 2\n", "a = 2 \n"):
        (tmp_path / "engine" / "writer.py").write_text(text)
        digests.append(kept_rules.code_digest.__wrapped__())
    (tmp_path / "engine" / "writer.py").rename(tmp_path / "engine" / "reader.py")
    digests.append(kept_rules.code_digest.__wrapped__())
    assert len(set(digests)) == 4


def test_damaged_ones_are_made_anew_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = kept(tmp_path).tables("hall")
    [file] = tmp_path.glob("*/hall.tables")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        second = kept(tmp_path)
        assert as_bytes(second.tables("hall")) == as_bytes(tables)
    assert second.made == ["hall"]
    assert (
        f"{file}: a damaged file of tables: its checksum does not match; the tables are made anew"
        in caplog.text
    )
    third = kept(tmp_path)
    third.tables("hall")
    assert third.made == []


@pytest.mark.parametrize("of", ["another unit", "other rules", "other code"])
def test_a_file_in_the_wrong_place_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    elsewhere, unit = tmp_path / "elsewhere", "annex" if of == "another unit" else "hall"
    with monkeypatch.context() as changed:
        if of == "other code":
            changed.setattr(kept_rules, "code_digest", lambda: "another")
        kept(elsewhere, SLOW.replace("50", "60") if of == "other rules" else SLOW).tables(unit)
    kept(tmp_path / "here").tables("hall")
    [wrong], [file] = elsewhere.glob(f"*/{unit}.tables"), (tmp_path / "here").glob("*/hall.tables")
    file.write_bytes(wrong.read_bytes())
    second = kept(tmp_path / "here")
    definition = second.tables("hall").rules[0].definition
    assert second.made == ["hall"]
    assert definition == rule_set(SLOW, TWO).load()[1].rules[0].definition
    assert second.tables("hall").assets == ("P-1",)


def test_what_is_not_written_to_its_end_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(self: Path, target: Path) -> Path:
        raise OSError(28, "no space left")

    monkeypatch.setattr(Path, "replace", ends)
    kept(tmp_path).tables("hall")
    assert list(tmp_path.glob("*/*.tables")) == []


def test_where_nothing_can_be_written_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("a file")
    with caplog.at_level(logging.WARNING):
        rules = kept(tmp_path / "run" / "tables")
        assert rules.tables("hall").assets == ("P-1",)
        assert rules.tables("annex").assets == ("P-2",)
    assert caplog.text.count("every start has to make the tables of the rules anew") == 1


def test_rules_with_a_finding_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="PumpSped"):
        kept(tmp_path, SLOW.replace("PumpSpeed <", "PumpSped <"))
    assert list(tmp_path.iterdir()) == []


def test_only_the_last_ones_stay(tmp_path: Path) -> None:
    for number in range(KEPT + 2):
        kept(tmp_path, SLOW.replace("50", f"{40 + number}")).tables("hall")
    assert len(list(tmp_path.iterdir())) == KEPT
    newest = kept(tmp_path, SLOW.replace("50", f"{40 + KEPT + 1}"))
    newest.tables("hall")
    assert newest.made == []

"""A rule set as a value, and on the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rules.engine.outputs import Entry
from rules.errors import ConfigurationError
from streams.bus.memory import MemoryBus
from streams.record import Message, Record
from streams.rule_sets.rule_set import (
    RuleSet,
    newest_rule_set,
    published_rule_sets,
    read_rule_set,
    rule_set_message,
    rule_set_of,
    taken_up,
)
from streams.site_folder import load_site
from streams.topics import TOPICS
from streams.wire import encode_output
from tests.streams.rule_sets.narrow import SITE, SLOW, rule_set


def as_record(message: Message) -> Record:
    return Record(message.topic, message.partition, 0, 0, message.key, message.value, message.headers)


def test_the_digest_is_that_of_names_and_texts() -> None:
    same = RuleSet(dict(reversed(rule_set().files.items())))
    assert same.digest == rule_set().digest
    assert len({rule_set().digest, rule_set(SLOW + "\n").digest, rule_set(site=SITE + "\n").digest}) == 3
    assert RuleSet({"site.yaml": SITE, "rules/other.yaml": SLOW}).digest != rule_set().digest


def test_what_is_sent_is_what_is_read() -> None:
    assert read_rule_set(as_record(rule_set_message(rule_set()))) == rule_set()


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b"{", b'{"site.yaml": 1}', b'{"rules/a.yaml": ""}', b"\xff"]
)
def test_garbage_is_no_rule_set(value: bytes | None) -> None:
    assert read_rule_set(replace(as_record(rule_set_message(rule_set())), value=value)) is None


def test_texts_that_are_not_those_of_the_digest_are_no_rule_set() -> None:
    other = rule_set_message(rule_set(SLOW.replace("50", "60")))
    assert read_rule_set(replace(as_record(other), key=rule_set().digest.encode())) is None


def test_one_that_is_too_large_for_a_record_is_said() -> None:
    with pytest.raises(ConfigurationError, match="exceeds"):
        rule_set_message(rule_set(SLOW + "# long\n" * 200_000))


def test_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "rules" / "pumps.yaml").write_text(SLOW)
    site = load_site(tmp_path)
    assert rule_set_of(tmp_path, site) == rule_set()
    other = tmp_path / "candidate"
    other.mkdir()
    (other / "new.yaml").write_text(SLOW)
    assert rule_set_of(tmp_path, site, other).files.keys() == {"site.yaml", "rules/new.yaml"}


def test_what_it_means_to_a_unit() -> None:
    site, _ = rule_set().load()
    made = rule_set().compiled_for(site.digest, ["hall"])
    assert not isinstance(made, str)
    assert [rule.id for rule in made["hall"].rules] == ["pump-slow"]


def test_why_it_can_not_rule() -> None:
    site, _ = rule_set().load()
    wrong = rule_set(SLOW.replace("PumpSpeed <", "PumpSped <").replace("high", "hgh"))
    assert str(wrong.compiled_for(site.digest, ["hall"])).startswith("rules/pumps.yaml:")
    assert str(wrong.compiled_for(site.digest, ["hall"])).endswith(", and 1 more findings")
    both = rule_set(SLOW.replace("PumpSpeed <", "PumpSpeed > 200 % and PumpSped <"))
    assert "PumpSped" in str(both.compiled_for(site.digest, ["hall"]))  # no warning, which would rule
    other = rule_set(site=SITE.replace("P-1", "P-2"))
    assert str(other.compiled_for(site.digest, ["hall"])).startswith("it is for another site file: 'small'")


async def test_the_newest_is_the_one_that_was_published_last() -> None:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 2)
    site = rule_set().load_site()
    assert await newest_rule_set(bus, site) is None
    first, second = rule_set(), rule_set(SLOW.replace("50", "60"))
    producer = await bus.producer("test")
    for one in (first, second, first):
        await (await producer.send(rule_set_message(one)))
    assert list(await published_rule_sets(bus)) == [second.digest, first.digest]
    assert await newest_rule_set(bus, site) == first
    assert await newest_rule_set(bus, replace(site, root_key="5f" * 32)) is None  # anybody may publish


def test_what_a_unit_has_taken_up_is_said_by_its_journal() -> None:
    def line(kind: str, topic: str = "journal", value: bytes | None = None) -> Record:
        entry = Entry("hall:activation:7:1:0", "hall", kind, 7, {"rules_digest": "ab"})
        made = as_record(encode_output(entry, 1))
        return replace(made, topic=topic, value=made.value if value is None else value)

    assert taken_up(line("activation")) == ("hall", "ab")
    for other in (
        line("activation-refused"),
        line("gap"),
        line("activation", "events"),
        line("activation", value=b'"kind":"activation"'),
        replace(line("activation"), value=None),
    ):
        assert taken_up(other) is None

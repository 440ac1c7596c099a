"""A rule set as a value: the site file and its rule files, how it travels on the log, and what it means to a unit.

Rules: its digest is that of the texts, so that whoever has them can check it, with any version of the code; names are
relative to the site's folder, so that it opens anywhere; what it means to a unit is worked out from the texts alone, so
that a replay comes to the same, a refusal and its reason included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from rules.engine.inputs import ACTIVATION_SOURCE, Activation, Identity
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError, UndecodableError
from rules.findings import Finding
from rules.json_bytes import json_bytes
from rules.language.program import Program
from rules.site.model import Site
from rules.site.parse import parse_site, text_digest
from streams.bus.bus import Bus, refuse_oversized
from streams.record import Message, Record, TopicPartition
from streams.rule_sets.rule_folder import rule_texts
from streams.site_folder import SITE_FILE, read_site_text
from streams.topics import JOURNAL, RULE_SETS
from streams.wire import decode_output

if TYPE_CHECKING:
    from rules.engine.tables import Compiled

SCHEMA: Final = b"rule-set/1"
UNKNOWN: Final = "no rule set of this digest is on the log"
_ACTIVATED: Final = b'"kind":"activation"'
_READ_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RuleSet:
    """`files`: the site file and the rule files, texts by name."""

    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of names and texts."""
        return hashlib.sha256(json_bytes(dict(self.files))).hexdigest()

    @property
    def rule_texts(self) -> dict[str, str]:
        """The rule files alone."""
        return {name: text for name, text in self.files.items() if name != SITE_FILE}

    def load(self, where: str = "") -> tuple[Site, Program]:
        """Site and program. Raises ConfigurationError with every finding; `where` goes before the files' names."""
        site = self.load_site(where)
        return site, self.program(site)

    def program(self, site: Site) -> Program:
        """The rules alone, for a site that has been read. Raises as `load` does."""
        from rules.language.load import load_rules  # a start that finds tables of the rules does without

        program, findings = load_rules(self.rule_texts, site)
        if program is None:
            raise ConfigurationError(findings)
        return program

    @property
    def site_digest(self) -> str:
        """What `Site.digest` is of the site file."""
        return text_digest(self.files[SITE_FILE])

    def load_site(self, where: str = "") -> Site:
        """The site alone, whatever its rules are. Raises as `load` does."""
        site, findings = parse_site(self.files[SITE_FILE], f"{where}{SITE_FILE}")
        if site is None:
            raise ConfigurationError(findings)
        return site

    def compiled_for(self, site_digest: str, units: Iterable[str]) -> dict[str, Compiled] | str:
        """What it means to `units` of a site that runs already, or why it can't rule there."""
        try:
            own, program = self.load()
        except ConfigurationError as error:
            errors = [one for one in error.findings if one.severity == "error"] or list(error.findings)
            first, more = errors[0], len(error.findings) - 1
            return f"{first}" + (f", and {more} more findings" if more else "")
        if own.digest != site_digest:
            return f"it is for another site file: '{own.name}', digest {own.digest[:12]}"
        from rules.engine.tables import compile_unit  # with the kernel, which who reads texts does without

        return {unit: compile_unit(program, own, own.units[unit]) for unit in units}


def rule_set_of(site_dir: Path, site: Site, rules: Path | None = None) -> RuleSet:
    """That of a site's folder, or with the rule files of `rules` (a folder or file) in place of its own.

    Raises ConfigurationError with what can't be read.
    """
    texts = rule_texts(site_dir, site, rules)
    if rules is not None:
        texts = {f"rules/{Path(name).name}": text for name, text in texts.items()}
    return RuleSet({SITE_FILE: read_site_text(site_dir)[0], **texts})


def rule_set_message(rule_set: RuleSet) -> Message:
    """For the topic `rule-sets`. Raises ConfigurationError for one that is too large for a record."""
    message = Message(
        RULE_SETS.name, 0, rule_set.digest.encode(), json_bytes(dict(rule_set.files)), (("schema", SCHEMA),)
    )
    try:
        refuse_oversized(message)
    except ValueError as error:
        raise ConfigurationError([Finding("rules", 0, 0, str(error), "fewer or shorter rules")]) from None
    return message


def read_rule_set(record: Record) -> RuleSet | None:
    """The rule set of a record, None where it is none or not what its key says."""
    try:
        files = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        return None
    made = RuleSet(files)
    return made if SITE_FILE in files and made.digest.encode() == record.key else None


async def published_rule_sets(bus: Bus) -> dict[str, RuleSet]:
    """All that the log has, by digest, in the order in which they were published. UnreachableError."""
    place = TopicPartition(RULE_SETS.name, 0)
    end = (await bus.ends(RULE_SETS.name)).get(place, 0)
    found: dict[str, RuleSet] = {}
    if not end:
        return found
    reader = await bus.reader([RULE_SETS.name])
    try:
        while reader.positions().get(place, 0) < end:
            for record in await reader.read(_READ_S):
                note_rule_set(record, found)
    finally:
        await reader.close()
    return found


def note_rule_set(record: Record, found: dict[str, RuleSet]) -> None:
    """Adds what a record holds, as the newest."""
    rule_set = read_rule_set(record)
    if rule_set is not None:
        found.pop(rule_set.digest, None)
        found[rule_set.digest] = rule_set


def newest_believed(published: dict[str, RuleSet], site: Site) -> RuleSet | None:
    """With which set a log begins that names none: the last one that was published; None for that of the folder.

    Where the site file names a root key, what nobody has signed counts for nothing: there it is the folder's.
    """
    return None if site.root_key else next(reversed(published.values()), None)


async def newest_rule_set(bus: Bus, site: Site) -> RuleSet | None:
    """That of `newest_believed` on a log. UnreachableError."""
    return newest_believed(await published_rule_sets(bus), site)


def activation(site: Site, unit: str, digest: str, at_ns: int, signer: str = "") -> Activation:
    """From here on the rule set of this digest rules the unit; where it has users, `signer` has to sign it."""
    return Activation(unit, Identity(ACTIVATION_SOURCE, at_ns, 1), site.digest, digest, at_ns, signer)


def taken_up(record: Record) -> tuple[str, str] | None:
    """The unit that has taken up rules and their digest, as its journal says; None for every other record.

    Not as the activation says: that may be anybody's word, and be refused.
    """
    if record.topic != JOURNAL.name or record.value is None or _ACTIVATED not in record.value:
        return None
    try:
        entry = decode_output(record.headers, record.value)
    except UndecodableError:
        return None
    if not isinstance(entry, Entry) or entry.kind != "activation":
        return None
    return entry.unit, str(entry.detail.get("rules_digest", ""))

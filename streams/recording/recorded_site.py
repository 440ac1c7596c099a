"""What a recording carries of its site: the site file and the rule files as attachments, and who it is.

Rule: names are relative to the site's folder, so that a recording opens anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from streams.recording.chunks import record_of
from streams.recording.recording import Recording
from streams.rule_sets.rule_set import RuleSet, note_rule_set
from streams.site_folder import SITE_FILE
from streams.topics import RULE_SETS

RULES_KEY: Final = "rules"
"""The metadata that names, as a JSON list, which attachments are rule files."""


def site_attachments(rule_set: RuleSet) -> dict[str, bytes]:
    """The site file and its rule files under their names relative to the site's folder."""
    return {name: text.encode() for name, text in rule_set.files.items()}


def recording_metadata(site: Site, attachments: Mapping[str, bytes]) -> dict[str, str]:
    """Whose recording it is: the site's name and digest, and a SHA-256 of each attachment."""
    digests = {f"sha256.{name}": hashlib.sha256(data).hexdigest() for name, data in attachments.items()}
    rules = orjson.dumps(sorted(name for name in attachments if name != SITE_FILE)).decode()
    return {"site": site.name, "site_digest": site.digest, RULES_KEY: rules, **digests}


def refuse_two_sites(recordings: Sequence[Recording]) -> None:
    """ConfigurationError when recordings name different sites: they are no parts of one log."""
    named = [one for one in recordings if "site" in one.metadata]
    others = [one for one in named if one.metadata["site"] != named[0].metadata["site"]]
    if others:
        raise ConfigurationError(
            [
                Finding(
                    str(other.path), 0, 0,
                    f"a recording of site '{other.metadata['site']}', but {named[0].path} is one of site "
                    f"'{named[0].metadata['site']}'",
                    "recordings that are replayed together are one log of one site",
                )
                for other in others
            ]
        )  # fmt: skip


def recorded_rules(recording: Recording) -> RuleSet:
    """Site file and rules that the recording carries. Raises ConfigurationError where there are none."""
    name = str(recording.path)
    text = recording.attachments.get(SITE_FILE)
    if text is None:
        raise ConfigurationError(
            [Finding(name, 0, 0, "the recording carries no site", "give one with --site")]
        )
    files = orjson.loads(recording.metadata.get(RULES_KEY, "[]"))
    lost = [file for file in files if file not in recording.attachments]
    if lost:
        raise ConfigurationError(
            [
                Finding(name, 0, 0, f"the recording has lost its {file}", "give a site with --site")
                for file in lost
            ]
        )
    return RuleSet(
        {SITE_FILE: text.decode(), **{file: recording.attachments[file].decode() for file in files}}
    )


def published_rules(recordings: Iterable[Recording]) -> dict[str, RuleSet]:
    """All that the recorded log published, by digest, the newest last."""
    found: dict[str, RuleSet] = {}
    for recording in recordings:
        for stored in recording.of_topic(RULE_SETS.name):
            note_rule_set(record_of(stored), found)
    return found

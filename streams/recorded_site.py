"""What a recording carries of its site: the site file and the rule files as attachments, and who it is.

Rule: names are relative to the site's folder, so that a recording opens anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.language.load import load_rules
from rules.language.program import Program
from rules.site.model import Site
from rules.site.parse import parse_site
from streams.recording import Recording
from streams.rule_folder import rule_texts
from streams.site_folder import SITE_FILE, read_site_text

RULES_KEY: Final = "rules"
"""The metadata that names, as a JSON list, which attachments are rule files."""


def site_attachments(site_dir: Path, site: Site) -> dict[str, bytes]:
    """The site file and its rule files under their names relative to the site's folder."""
    texts = {SITE_FILE: read_site_text(site_dir)[0], **rule_texts(site_dir, site)}
    return {name: text.encode() for name, text in texts.items()}


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


def recorded_site(recording: Recording) -> tuple[Site, Program]:
    """Site and rules that the recording carries. Raises ConfigurationError where there are none, or wrong ones."""
    name = str(recording.path)
    text = recording.attachments.get(SITE_FILE)
    if text is None:
        raise ConfigurationError(
            [Finding(name, 0, 0, "the recording carries no site", "give one with --site")]
        )
    site, findings = parse_site(text.decode(), f"{name}:{SITE_FILE}")
    if site is None:
        raise ConfigurationError(findings)
    files = orjson.loads(recording.metadata.get(RULES_KEY, "[]"))
    lost = [file for file in files if file not in recording.attachments]
    if lost:
        raise ConfigurationError(
            [
                Finding(name, 0, 0, f"the recording has lost its {file}", "give a site with --site")
                for file in lost
            ]
        )
    texts = {file: recording.attachments[file].decode() for file in files}
    program, findings = load_rules(texts, site)
    if program is None:
        raise ConfigurationError(findings)
    return site, program

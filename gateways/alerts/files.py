"""The subscriptions of a site: `subscriptions.yaml` beside `site.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from gateways.alerts.model import Subscriptions
from gateways.alerts.parse import parse
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from streams.rule_sets.rule_folder import load_program
from streams.text_file import plain_text, read_text

FILE: Final = "subscriptions.yaml"


def has_subscriptions(site_dir: Path) -> bool:
    """Whether the site has the file."""
    return (site_dir / FILE).is_file()


def load_subscriptions(site_dir: Path, site: Site) -> Subscriptions:
    """Read them, secrets included. ConfigurationError: with every finding."""
    found, findings = read_subscriptions(site_dir, site)
    if any(one.severity == "error" for one in findings):
        raise ConfigurationError(findings)
    return found


def read_subscriptions(site_dir: Path, site: Site) -> tuple[Subscriptions, list[Finding]]:
    """As far as they can be read, and what is wrong. ConfigurationError: there is no such file."""
    if not has_subscriptions(site_dir):
        hint = "docs/subscriptions.md says what it holds"
        raise ConfigurationError([Finding(str(site_dir / FILE), 0, 0, "there is no such file", hint)])

    def reveal(where: Literal["env", "file"], name: str) -> str:
        """Files are seen from the site's folder."""
        return os.environ[name] if where == "env" else plain_text(site_dir / name)

    def groups_of() -> dict[str, str]:
        """By the rules of the site's folder. ConfigurationError."""
        return {rule.id: rule.group for rule in load_program(site_dir, site).rules}

    name = str(site_dir / FILE)
    return parse(read_text(site_dir / FILE, name), name, site, reveal, groups_of)

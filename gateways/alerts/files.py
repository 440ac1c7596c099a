"""The subscriptions of a site: `subscriptions.yaml` beside `site.yaml`."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from gateways.access.users_file import read_users_file
from gateways.alerts.model import Subscriptions
from gateways.alerts.parse import parse
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.language.program import OWN_RULES
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


def unknown_names(found: Subscriptions, site_dir: Path, site: Site) -> list[Finding]:
    """Rules and users that subscriptions name and the site's folder does not have. ConfigurationError: that is wrong.

    For who checks the file: the role works all the same, as rules are activated and users applied at any time.
    """
    rules, users = list[str](), read_users_file(site_dir).users
    if any(one.filter.rules for one in found.of_alarms):
        rules = [*(rule.id for rule in load_program(site_dir, site).rules), *sorted(OWN_RULES)]
    findings = list[Finding]()
    for one in found.of_alarms:
        where = f"{site_dir / FILE}: subscription {one.name}"
        for name in one.filter.rules:
            if not any(fnmatchcase(rule, name) for rule in rules):
                text = f"no rule is called '{name}'"
                findings.append(Finding(where, 0, 0, text, nearest(name, rules)))
        if one.user and users and one.user not in users:
            text = f"there is no user '{one.user}'"
            findings.append(Finding(where, 0, 0, text, nearest(one.user, users)))
    return findings

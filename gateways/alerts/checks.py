"""What `headrace subscriptions check` asks beyond the file: names of the site's folder, and whether links will act.

Rule: the role works all the same, as rules are activated and users applied at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from gateways.access.signing import needed_edge_key
from gateways.access.users_file import USERS_FILE, read_users_file
from gateways.alerts.acknowledge import EDGE
from gateways.alerts.files import FILE
from gateways.alerts.model import Subscriptions
from rules.access.access import Access
from rules.engine.inputs import Action, Identity
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.language.program import OWN_RULES
from rules.site.model import Site
from streams.keys import public_text
from streams.rule_sets.rule_folder import load_program
from streams.settings import Settings


def unknown_names(found: Subscriptions, site_dir: Path, site: Site) -> list[Finding]:
    """Rules, assets and users that subscriptions name and the site's folder does not have. ConfigurationError: that is
    wrong.
    """
    users = read_users_file(site_dir).users
    rules, groups = list[str](), set[str]()
    if any(one.filter.rules or one.filter.assets for one in found.of_alarms):
        program = load_program(site_dir, site)
        rules = [*(rule.id for rule in program.rules), *sorted(OWN_RULES)]
        groups = {rule.group for rule in program.rules if rule.group}
    assets = [*site.assets, *_of_own_rules(site), *sorted(groups)]
    findings = list[Finding]()
    for one in found.of_alarms:
        where = f"{site_dir / FILE}: subscription {one.name}"
        for kind, names, known in (("rule", one.filter.rules, rules), ("asset", one.filter.assets, assets)):
            findings += [
                Finding(where, 0, 0, f"no {kind} is called '{name}'", nearest(name, known))
                for name in names
                if not any(fnmatchcase(other, name) for other in known)
            ]
        if one.user and users and one.user not in users:
            text = f"there is no user '{one.user}'"
            findings.append(Finding(where, 0, 0, text, nearest(one.user, users)))
    return findings


def _of_own_rules(site: Site) -> Iterator[str]:
    """What stands in an asset's place in alarms of the engine's own rules: sources, units."""
    for source in site.sources:
        yield from (source, f"{source}/backfill")
    for unit in site.units:
        yield from (unit, f"fact:{unit}")


def refused_links(found: Subscriptions, site_dir: Path, site: Site, settings: Settings) -> list[Finding]:
    """Why an acknowledgement over a link would be refused where the site has users, in the engine's own words."""
    users = read_users_file(site_dir).listed()
    if found.edge is None or not users:
        return []
    try:
        key = public_text(needed_edge_key(settings, EDGE).public_key())
    except ConfigurationError as error:
        return list(error.findings)
    where = str(site_dir / USERS_FILE)
    if EDGE not in users or key not in users[EDGE].keys:
        hint = f"{EDGE}: {{role: operator, keys: [{key}], speaks_for: all}}"
        return [Finding(where, 0, 0, f"'{EDGE}' is no user with the key that signs what links do", hint)]
    if not found.edge.base_url:
        return []
    access = Access(site)
    access.users = users
    names = sorted({one.user or EDGE for one in found.of_alarms if (one.user or EDGE) in users})
    reasons = [access.refusal(_acknowledged(name), 0) for name in names]
    return [Finding(where, 0, 0, f"links acknowledge nothing: {reason}") for reason in reasons if reason]


def _acknowledged(name: str) -> Action:
    """Over a link of a subscription whose `user` it is."""
    return Action("", Identity("", 0, 0), "acknowledge", "", "", name, 0, signer=EDGE)

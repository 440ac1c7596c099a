"""`headrace subscriptions list`, `check` and `test`: who is told what, whether it is written right, and arrives."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from gateways.alerts.channels import open_channels
from gateways.alerts.checks import refused_links, unknown_names
from gateways.alerts.delivery import Deliverer, DeliveryError
from gateways.alerts.files import FILE, load_subscriptions, read_subscriptions
from gateways.alerts.model import TOLD, Hours, Subscription, Subscriptions
from gateways.alerts.notification import of_itself
from gateways.alerts.values import DAYS
from gateways.cli.findings import print_findings
from gateways.cli.last_words import alerts_folder, last_words
from gateways.cli.tables import print_table
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.settings import Settings, load_settings
from streams.site_folder import load_site


def list_subscriptions(site_dir: Path, as_json: bool) -> int:
    """Who is told what over which channel. ConfigurationError: the file is wrong."""
    found = readable(site_dir)
    rows = [(one.name, ", ".join(one.to), *_words(one)) for one in found.subscriptions.values()]
    if as_json:
        print_object({
            "subscriptions": [
                {"name": name, "to": list(found.subscriptions[name].to), "wants": wants, "when": when}
                for name, _, when, wants in rows
            ],
            "channels": [
                {"name": one.name, "kind": one.kind, "fallback": one.fallback or None}
                for one in found.channels.values()
            ],
        })  # fmt: skip
    elif rows:
        print_table(("subscription", "channels", "when", "wants"), rows)
    return 0


def check_subscriptions(site_dir: Path, as_json: bool) -> int:
    """Everything that is wrong with the file; 2 where something is."""
    found, findings = wrong_subscriptions(site_dir, load_site(site_dir))
    if as_json:
        print_object({
            "findings": [finding.as_dict() for finding in findings],
            "subscriptions": len(found.subscriptions),
            "channels": len(found.channels),
        })  # fmt: skip
    elif findings:
        print_findings(findings)
    else:
        print(f"{site_dir / FILE}: {len(found.subscriptions)} subscriptions, {len(found.channels)} channels")
    return 2 if findings else 0


def wrong_subscriptions(site_dir: Path, site: Site) -> tuple[Subscriptions, list[Finding]]:
    """As far as they can be read, and what is wrong. ConfigurationError: with another file that they name things of."""
    found, findings = read_subscriptions(site_dir, site)
    if not findings:
        try:
            open_channels(found, site.name, Path(), time.time_ns)
        except ConfigurationError as error:
            findings = list(error.findings)
        findings += unknown_names(found, site_dir, site)
        findings += refused_links(found, site_dir, site, load_settings(site_dir / "headrace.yaml"))
    return found, findings


def lacks_variable(finding: Finding) -> bool:
    """Whether it is of a secret in a variable that is not set here: no hindrance to who needs no secrets."""
    return "the environment has no" in finding.message


def try_subscription(site_dir: Path, name: str, bootstrap: str | None, as_json: bool) -> int:
    """Send a trial over every channel of a subscription, escalation and fallback included; 1 where one fails.

    A file is that of the role, where one runs.
    """
    site = load_site(site_dir)
    found = load_subscriptions(site_dir, site)
    subscription = found.subscriptions.get(name)
    if subscription is None:
        hint = nearest(name, found.subscriptions) or f"one of: {', '.join(found.subscriptions)}"
        raise ConfigurationError([Finding("test", 0, 0, f"no subscription is called '{name}'", hint)])
    names = _all_channels(found, subscription)
    settings = settings_of(site_dir, bootstrap)
    has_files = any(found.channels[channel].kind == "file" for channel in names)
    run_dir = alerts_folder(last_words(settings) if has_files else {}, settings)
    words = f"this is a trial of the subscription {name}: no alarm, and nothing to do"
    results = asyncio.run(
        _try(open_channels(found, site.name, run_dir, time.time_ns), names, name, site.name, words)
    )
    if as_json:
        print_object({"subscription": name, "channels": results})
    else:
        print_table(
            ("channel", "kind", "ms", "what came of it"),
            [
                (one["channel"], found.channels[one["channel"]].kind, str(one["ms"]), one["error"] or "taken")
                for one in results
            ],
        )
    return 1 if any(one["error"] for one in results) else 0


def settings_of(site_dir: Path, bootstrap: str | None) -> Settings:
    """The settings, with the broker that an option names."""
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    return load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given)


def readable(site_dir: Path) -> Subscriptions:
    """For those who need no secrets."""
    found, findings = read_subscriptions(site_dir, load_site(site_dir))
    wrong = [one for one in findings if not lacks_variable(one)]
    if wrong:
        raise ConfigurationError(wrong)
    return found


def _all_channels(found: Subscriptions, subscription: Subscription) -> list[str]:
    names = [*subscription.to, *(name for step in subscription.escalate for name in step.to)]
    names += [found.channels[name].fallback for name in names if found.channels[name].fallback]
    return list(dict.fromkeys(names))


async def _try(
    deliverers: dict[str, Deliverer], names: Iterable[str], subscription: str, site: str, words: str
) -> list[dict[str, Any]]:
    async def one(name: str) -> dict[str, Any]:
        began, error = time.monotonic(), None
        try:
            await deliverers[name].send(of_itself("test", subscription, site, time.time_ns(), words))
        except DeliveryError as failed:
            error = str(failed)
        return {
            "channel": name,
            "taken": error is None,
            "error": error,
            "ms": round((time.monotonic() - began) * 1e3),
        }

    try:
        return list(await asyncio.gather(*map(one, names)))
    finally:
        for deliverer in deliverers.values():
            await deliverer.close()


def _words(one: Subscription) -> tuple[str, str]:
    """(when, what it wants), in words."""
    if one.always_ns:
        return f"every {one.always_ns / 1e9:g} s", "to know that alarms get through"
    when = [
        f"{one.filter.hours and _hours(one.filter.hours)}" if one.filter.hours else "",
        f"not {_hours(one.quiet)}" if one.quiet else "",
        f"wait {one.wait_ns / 1e9:g} s" if one.wait_ns else "",
        f"digest above {one.digest.above} in {one.digest.every_ns / 1e9:g} s" if one.digest else "",
        *(f"after {step.after_ns / 6e10:g} min {', '.join(step.to)}" for step in one.escalate),
    ]
    wants = [
        *(
            f"{what} {' or '.join(names)}"
            for what, names in (
                ("unit", one.filter.units),
                ("type", one.filter.types),
                ("rule", one.filter.rules),
                ("group", one.filter.groups),
                ("asset", one.filter.assets),
                ("severity", tuple(sorted(one.filter.severities))),
                ("state", tuple(sorted(one.filter.states)) if one.filter.states != TOLD else ()),
            )
            if names
        )
    ]
    return "; ".join(filter(None, when)) or "at once", "; ".join(wants) or "every alarm"


def _hours(hours: Hours) -> str:
    days = "" if len(hours.days) == 7 else " on " + ", ".join(DAYS[day] for day in sorted(hours.days))
    begin, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (hours.begin_min, hours.end_min))
    return f"{begin}-{end}{days}"


def print_object(body: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.buffer.write(orjson.dumps(body) + b"\n")

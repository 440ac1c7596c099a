"""`headrace activate`: the rules of a site's files rule the running site from now on.

Rules: what is wrong with the files, and that another site is running, is found before anything is sent; every worker
says that it is ready before the first activation is; units take the rules up one after the other, so that no two of
them pause at once; what each of them answers is read from the journal, where an operator finds it too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from gateways.cli.durations import duration_s
from gateways.cli.tables import print_table
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError, UndecodableError, UnreachableError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus import Bus, Reader
from streams.bus_kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import (
    RuleSet,
    activation,
    published_rule_sets,
    rule_set_message,
    rule_set_of,
)
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import EVENTS, JOURNAL, RULE_SETS, STATUS
from streams.wire import decode_output, encode_input

APART_S: Final = 0.1
ANSWER_S: Final = 30.0
FRESH_NS: Final = 5_000_000_000
"""A worker says its status once a second; one that has not for this long is away."""
_READ_S: Final = 0.2

Answers = dict[str, Entry]
"""By unit."""


def activate_rules(
    site_dir: Path, rules: Path | None, within: str, bootstrap: str | None, as_json: bool
) -> int:
    """0, or 1 when a unit refuses the rules. UnreachableError: nobody answers.

    ConfigurationError: files are wrong, or another site is running there.
    """
    silence_logs()
    patience_s = duration_s(within, "--within")
    site = load_site(site_dir)
    load_program(site_dir, site, rules)  # what is wrong is said in the words of its files
    rule_set = rule_set_of(site_dir, site, rules)
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    settings = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given)
    where = f"site '{site.name}' at {settings.broker.bootstrap}"
    print(f"{where}: rules {rule_set.digest[:12]} are to rule", file=sys.stderr, flush=True)
    began_s = time.monotonic()
    bus = KafkaBus(settings.broker, "--bootstrap") if bootstrap else KafkaBus(settings.broker)
    answers, metrics = asyncio.run(_activate(bus, site, site_dir, rule_set, patience_s))
    refused = {unit for unit, entry in answers.items() if entry.kind != "activation"}
    if as_json:
        answer = {
            "rules_digest": rule_set.digest,
            "units": {
                unit: {"kind": entry.kind, "id": entry.id, "at_ns": entry.at_ns, **entry.detail}
                for unit, entry in answers.items()
            },
            "seconds": round(time.monotonic() - began_s, 1),
            "activation_pause_ms_max": metrics.get("activation_pause_ms_max"),
            "take_over_ms_max": metrics.get("rule_sets", {}).get("take_over_ms_max"),
        }
        print(orjson.dumps(answer).decode())
    else:
        _print(rule_set.digest, answers)
    return 1 if refused else 0


async def _activate(
    bus: Bus, site: Site, site_dir: Path, rule_set: RuleSet, patience_s: float
) -> tuple[Answers, Mapping[str, Any]]:
    """What each unit answered, and the metrics of a worker afterwards."""
    until_s = time.monotonic() + patience_s
    known: dict[str, dict[str, Any]] = {}
    try:
        partitions = await bus.partitions(EVENTS.name)
        if not partitions or not await bus.partitions(RULE_SETS.name):
            raise UnreachableError("the broker has no topics of a site: start it first (`headrace up`)")
        status = await bus.reader([STATUS.name])
        journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
        producer = await bus.producer("activate")
        try:
            _refuse_other(await _running(bus, status, known, until_s), site, site_dir)
            await (await producer.send(rule_set_message(rule_set)))
            await _until_ready(status, known, site, rule_set.digest, until_s)
            for unit in site.units:
                value = activation(site, unit, rule_set.digest, time.time_ns())
                await (await producer.send(encode_input(value, partitions)))
                await asyncio.sleep(APART_S)
            answers = await _answers(journal, site, rule_set.digest)
            return answers, await _metrics_after(status, time.time_ns())
        finally:
            for one in (producer, journal, status):
                await one.close()
    finally:
        await bus.close()


async def _workers(status: Reader, known: dict[str, dict[str, Any]]) -> None:
    """Reads what workers have said since into `known`, by role."""
    for record in await status.read(_READ_S):
        said = orjson.loads(record.value or b"{}")
        if "rule_sets" in said.get("metrics", {}):
            known[said["role"]] = said


def _present(known: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The metrics of the workers that are there now."""
    since_ns = time.time_ns() - FRESH_NS
    return [one["metrics"] for one in known.values() if one["at_ns"] > since_ns]


async def _running(bus: Bus, status: Reader, known: dict[str, dict[str, Any]], until_s: float) -> set[str]:
    """Names of the sites whose rules rule the workers that are there: one, unless nobody has published it."""
    while not (digests := {one for said in _present(known) for one in said.get("rules", {}).values()}):
        if time.monotonic() > until_s:
            raise UnreachableError("no worker is there: is the site running, or its worker just starting?")
        await _workers(status, known)
    published = await published_rule_sets(bus)
    return {published[digest].load_site().name for digest in digests if digest in published}


def _refuse_other(running: set[str], site: Site, site_dir: Path) -> None:
    if running and site.name not in running:
        text = f"these rules are for site '{site.name}', and site '{_names(running)}' is running there"
        hint = "name the folder of that site, or with --bootstrap the broker of this one"
        raise ConfigurationError([Finding(str(site_dir), 0, 0, text, hint)])


async def _until_ready(
    status: Reader, known: dict[str, dict[str, Any]], site: Site, digest: str, until_s: float
) -> None:
    """Every unit has a worker, and every worker has the rules."""
    missing, said_s = set(site.units), time.monotonic()
    while True:
        await _workers(status, known)
        present = _present(known)
        ready = [one for one in present if digest in one["rule_sets"]["ready"]]
        missing = set(site.units).difference(*(one.get("rules", {}) for one in ready))
        if not missing and len(ready) == len(present):
            return
        if time.monotonic() > until_s:
            if not present:
                raise UnreachableError("the workers are gone; nothing was activated")
            strangers = missing.difference(*(one.get("rules", {}) for one in present))
            if strangers:
                raise UnreachableError(f"no worker has {_names(strangers)}: is it this site that is running?")
            raise UnreachableError("the workers were not ready in time (--within); nothing was activated")
        if time.monotonic() > said_s + 1.0 and sys.stderr.isatty():
            said_s = time.monotonic()
            print(f"waiting for the worker to get ready: {_names(missing)}", file=sys.stderr)


async def _answers(journal: Reader, site: Site, digest: str) -> Answers:
    until_s = time.monotonic() + ANSWER_S
    answers: Answers = {}
    while len(answers) < len(site.units):
        if time.monotonic() > until_s:
            silent = _names(set(site.units) - set(answers))
            raise UnreachableError(
                f"activated, and it stands, but {silent} has not taken it up within {ANSWER_S:.0f} s: see its worker"
            )
        for record in await journal.read(_READ_S):
            try:
                output = decode_output(record.headers, record.value)
            except UndecodableError:
                continue
            if not isinstance(output, Entry) or not output.kind.startswith("activation"):
                continue
            if output.unit in site.units and output.detail.get("rules_digest") == digest:
                answers[output.unit] = output
    return {unit: answers[unit] for unit in site.units}


async def _metrics_after(status: Reader, after_ns: int) -> Mapping[str, Any]:
    """Of a worker that has said its status since; what it said last when it says no more."""
    known: dict[str, dict[str, Any]] = {}
    until_s = time.monotonic() + 3.0
    while time.monotonic() < until_s:
        await _workers(status, known)
        for said in known.values():
            if said["at_ns"] > after_ns:
                metrics: dict[str, Any] = said["metrics"]
                return metrics
    return {}


def _names(units: set[str]) -> str:
    return ", ".join(sorted(units))


def _print(digest: str, answers: Answers) -> None:
    rows: list[tuple[str, ...]] = []
    for unit, entry in answers.items():
        detail = entry.detail
        if entry.kind != "activation":
            rows.append((unit, "", "", "", "", f"refused: {detail['reason']}"))
        elif "rules_kept" not in detail:
            rows.append((unit, "", "", "", "", "these rules ruled already"))
        else:
            names = ("rules_kept", "rules_new", "rules_gone", "alarms_closed")
            rows.append((unit, *(str(detail[name]) for name in names), "taken up"))
    print(f"rules {digest[:12]}")
    print_table(("unit", "kept", "new", "gone", "alarms closed", ""), rows)

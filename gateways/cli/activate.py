"""`headrace activate`: the rules of a site's files rule the running site from now on.

Rules: what is wrong with the files, and that another site is running, is found before anything is sent; every worker
says that it is ready before the first activation is; units take the rules up one after the other, so that no two of
them pause at once; what each of them answers is read from the journal, where an operator finds it too. Who has a key
signs with it: where a site has users, only who may activate rules is believed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from gateways.access.answers import hear_answers
from gateways.access.signing import Acting, Who, acting, said_by, unknown_key
from gateways.cli.durations import duration_s
from gateways.cli.tables import print_table
from gateways.cli.workers import Metrics, Workers, refuse_other_site
from rules.engine.inputs import Activation
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus.bus import Bus, Reader
from streams.bus.kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_message, rule_set_of
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import EVENTS, JOURNAL, RULE_SETS, STATUS
from streams.wire import encode_input

APART_S: Final = 0.1
ANSWER_S: Final = 120.0

Answers = dict[str, Entry]
"""By unit."""


def activate_rules(
    site_dir: Path, rules: Path | None, who: Who, within: str, bootstrap: str | None, as_json: bool
) -> int:
    """0, or 1 when a unit refuses the rules. UnreachableError: nobody answers.

    ConfigurationError: files are wrong, another site is running there, or who acts has no right or no key to do so.
    """
    silence_logs()
    patience_s = duration_s(within, "--within")
    site = load_site(site_dir)
    me = acting(site_dir, who, "activate-rules")
    load_program(site_dir, site, rules)  # what is wrong is said in the words of its files
    rule_set = rule_set_of(site_dir, site, rules)
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    settings = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given)
    where = f"site '{site.name}' at {settings.broker.bootstrap}"
    print(f"{where}: rules {rule_set.digest[:12]} are to rule", file=sys.stderr, flush=True)
    began_s = time.monotonic()
    bus = KafkaBus(settings.broker, "--bootstrap") if bootstrap else KafkaBus(settings.broker)
    answers, metrics = asyncio.run(_activate(bus, site, site_dir, rule_set, me, patience_s))
    refused = {unit for unit, entry in answers.items() if entry.kind != "activation"}
    if as_json:
        answer = {
            "rules_digest": rule_set.digest,
            "units": {
                unit: {"kind": entry.kind, "id": entry.id, "at_ns": entry.at_ns, **entry.detail}
                for unit, entry in answers.items()
            },
            "seconds": round(time.monotonic() - began_s, 1),
            "activation_pause_ms_max": metrics and metrics.activation_pause_ms_max,
            "take_over_ms_max": metrics and metrics.rule_sets.take_over_ms_max,
        }
        print(orjson.dumps(answer).decode())
    else:
        _print(rule_set.digest, answers)
    if refused and me.key is not None and not me.is_known:
        print(unknown_key(site_dir, me.key), file=sys.stderr)
    return 1 if refused else 0


async def _activate(
    bus: Bus, site: Site, site_dir: Path, rule_set: RuleSet, me: Acting, patience_s: float
) -> tuple[Answers, Metrics | None]:
    """What each unit answered, and the metrics of a worker afterwards."""
    until_s = time.monotonic() + patience_s
    workers = Workers()
    try:
        partitions = await bus.partitions(EVENTS.name)
        if not partitions or not await bus.partitions(RULE_SETS.name):
            raise UnreachableError("the broker has no topics of a site: start it first (`headrace up`)")
        status = await bus.reader([STATUS.name])
        journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
        producer = await bus.producer("activate")
        try:
            await _until_there(status, workers, until_s)
            await refuse_other_site(bus, site, site_dir, workers)
            _refuse_unsigned(me, workers)
            await (await producer.send(rule_set_message(rule_set)))
            await _until_ready(status, workers, site, rule_set.digest, until_s)
            sent: dict[str, Activation] = {}
            for unit in site.units:
                value = activation(site, unit, rule_set.digest, time.time_ns())
                sent[unit] = said_by(me.name, me.key, value, site)
                await (await producer.send(encode_input(sent[unit], partitions)))
                await asyncio.sleep(APART_S)
            answers = await _answers(journal, sent)
            return answers, await _metrics_after(status, workers, time.time_ns())
        finally:
            for one in (producer, journal, status):
                await one.close()
    finally:
        await bus.close()


async def _until_there(status: Reader, workers: Workers, until_s: float) -> None:
    while not workers.digests():
        if time.monotonic() > until_s:
            raise UnreachableError("no worker is there: is the site running, or its worker just starting?")
        await workers.hear(status)


def _refuse_unsigned(me: Acting, workers: Workers) -> None:
    """Where units have an access list, they would refuse what nobody has signed."""
    if me.key is None and any(any(said.access.values()) for said in workers.present()):
        text = "the site has users: rules are activated with the key of one who has the right activate-rules"
        raise ConfigurationError([Finding("--key", 0, 0, text, "name its file with --key")])


async def _until_ready(status: Reader, workers: Workers, site: Site, digest: str, until_s: float) -> None:
    """Every unit has a worker, and every worker has the rules."""
    missing, said_s = set(site.units), time.monotonic()
    while True:
        await workers.hear(status)
        present = workers.present()
        ready = [one for one in present if digest in one.rule_sets.ready]
        missing = set(site.units).difference(*(one.rules for one in ready))
        if not missing and len(ready) == len(present):
            return
        if time.monotonic() > until_s:
            if not present:
                raise UnreachableError("the workers are gone; nothing was activated")
            strangers = missing.difference(*(one.rules for one in present))
            if strangers:
                raise UnreachableError(f"no worker has {_names(strangers)}: is it this site that is running?")
            raise UnreachableError("the workers were not ready in time (--within); nothing was activated")
        if time.monotonic() > said_s + 1.0 and sys.stderr.isatty():
            said_s = time.monotonic()
            print(f"waiting for the worker to get ready: {_names(missing)}", file=sys.stderr)


async def _answers(journal: Reader, sent: Mapping[str, Activation]) -> Answers:
    answers: Answers = {}
    try:
        await asyncio.wait_for(hear_answers(journal, sent, "activation", answers), ANSWER_S)
    except TimeoutError:
        silent = _names(sent.keys() - answers.keys())
        raise UnreachableError(
            f"activated, and it stands, but {silent} has not answered within {ANSWER_S:.0f} s: see its worker"
        ) from None
    return {unit: answers[unit] for unit in sent}


async def _metrics_after(status: Reader, workers: Workers, after_ns: int) -> Metrics | None:
    """Of a worker that has said its status since; None when none does."""
    until_s = time.monotonic() + 3.0
    while time.monotonic() < until_s:
        await workers.hear(status)
        if said := workers.since(after_ns):
            return said[0]
    return None


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

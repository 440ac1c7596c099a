"""`headrace report alarms`: the figures of alarm management of a recording."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import orjson

from gateways.cli.replay import INTERRUPTED
from gateways.cli.replay_pace import paced
from gateways.cli.replay_part import part_of
from gateways.cli.tables import print_table
from gateways.printable import printable
from gateways.reports.alarm_figures import AlarmReport, figures, limits, suggestion
from gateways.reports.alarm_plain import plain
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.output_file import finished_file
from streams.recording.recorded_site import recorded_rules, refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import missed_before, open_recordings
from streams.reports.alarm_words import read_alarm_words
from streams.reports.alarms import positions

_MET = {None: "", True: "met", False: "missed"}


class Asked(NamedTuple):
    """The options."""

    begin: str | None = None
    end: str | None = None
    units: Sequence[str] = ()
    output: Path | None = None


def report_alarms(paths: list[Path], asked: Asked, as_json: bool) -> int:
    """0, or 1 where the recording lacks something; 130 where Ctrl-C has ended it, with the figures up to there.

    ConfigurationError: an option is wrong, or the recording holds no word about alarms.
    """
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    # where no page can be written, that is said before the work, too
    with nullcontext() if asked.output is None else finished_file(asked.output) as file:
        report = _report(recordings, asked)
        if file is not None:
            from gateways.reports.alarm_page import alarm_page  # matplotlib takes a second to import

            file.write_text(alarm_page(report), encoding="utf-8")
    if as_json:
        page = None if asked.output is None else str(asked.output)
        sys.stdout.buffer.write(orjson.dumps({**plain(report), "page": page}) + b"\n")
    else:
        _print(report, asked.output)
    return INTERRUPTED if report.found.is_partial else 1 if report.lacks else 0


def _report(recordings: Sequence[Recording], asked: Asked) -> AlarmReport:
    readable = next(one for one in recordings if one.is_readable)
    site = recorded_rules(readable).load_site(f"{readable.path}:")
    of = part_of(recordings, asked.begin, asked.end, asked.units, site.units)
    with paced(recordings, of) as pace:
        found = read_alarm_words(recordings, of, pace)
    if not (found.has_alarms or found.has_journal):
        hint = "an import or a stripped copy has none: record the log of a running site"
        raise ConfigurationError(
            [Finding(str(readable.path), 0, 0, "the recording holds no alarms and no journal", hint)]
        )
    damage = [f"{one.path.name}: {line}" for one in recordings for line in one.damage]
    lacks = [*damage, *missed_before(recordings)]
    return AlarmReport(site.name, found, positions(found, of.units or site.units), lacks)


def _print(report: AlarmReport, output: Path | None) -> None:
    for one in report.positions:
        print(f"{one.unit} at {report.site}")
        rows = [(each.name, each.value, each.target, _MET[each.meets]) for each in figures(one)]
        print_table(("figure", "value", "target", ""), rows)
        for name, count in one.kpis.top:
            print(printable(f"  {count:>6,}  {name[1]} {name[2]}"))
        for each in one.chattering:
            chattering = printable(f"{each.name[1]} {each.name[2]}")
            print(f"  chatters: {chattering}, {each.count:,} times: {suggestion(each.delays)}")
        print()
    for line in limits(report):
        print(printable(line))
    if output is not None:
        print(f"\nwritten: {output}")

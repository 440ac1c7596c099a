"""What `headrace bench alerts` is made of: a site of racks, subscriptions, alarms, and who is to be told of them.

Rules: who is to get what is said here once more, as plainly as it goes, and not by the code that is measured.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, cast

from rules.engine.outputs import Alarm, AlarmState, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("urgent", "high", "medium", "low")
RULES: Final = tuple(f"rule-{number:02}" for number in range(12))
"""The severity of a rule is that of its number, modulo four."""
RACKS_OF_A_ROW: Final = 50
WIDE: Final = 9
_SITE: Final = """
name: bench
tick: 100 ms
sources:
  plc: {{kind: opcua, endpoint: "opc.tcp://127.0.0.1:4840", address: "ns=2;s={{point}}"}}
templates:
  rack: {{type: Rack, points: {{RackLiquidFlow: 0..300 L/min}}}}
units:
{units}
"""


class Wanted(NamedTuple):
    """A subscription: '' for any."""

    name: str
    unit: str = ""
    rule: str = ""
    asset: str = ""
    severity: str = ""
    channel: str = "sink"

    def takes(self, alarm: Alarm) -> bool:
        """Whether it is to be told of an alarm."""
        return (
            self.unit in ("", alarm.unit)
            and self.rule in ("", alarm.rule)
            and self.asset in ("", alarm.asset)
            and self.severity in ("", alarm.severity)
        )


def racks(count: int) -> list[tuple[str, str]]:
    """(unit, asset) of so many."""
    places = (divmod(number, RACKS_OF_A_ROW) for number in range(count))
    return [(f"row-{row + 1:02}", f"R{row + 1:02}{place + 1:02}") for row, place in places]


def site_text(count: int) -> str:
    """The site file."""
    by_unit = defaultdict[str, list[str]](list)
    for unit, asset in racks(count):
        by_unit[unit].append(asset)
    lines = []
    for unit, assets in by_unit.items():
        lines += [f"  {unit}:", "    assets:", *(f"      {asset}: rack" for asset in assets)]
    return _SITE.format(units="\n".join(lines))


def wanted(subscriptions: int, rack_count: int) -> list[Wanted]:
    """So many: a few of all that is urgent, one of which hangs; one a rack; then by row, rule and severity."""
    places = racks(rack_count)
    units = sorted({unit for unit, _ in places})
    found = [Wanted("hangs", severity="urgent", channel="hangs")]
    found += [Wanted(f"wide-{number}", severity="urgent") for number in range(WIDE)]
    found += [Wanted(f"rack-{asset.lower()}", asset=asset) for _, asset in places]
    found += [
        Wanted(f"{unit}-{rule}-{severity}", unit, rule, severity=severity)
        for unit in units
        for rule in RULES
        for severity in SEVERITIES
    ]
    found += [
        Wanted(f"{unit}-{severity}-{n}", unit, severity=severity)
        for n in range(100)
        for unit in units
        for severity in SEVERITIES
    ]
    return found[:subscriptions]


def subscriptions_text(found: Iterable[Wanted], address: str) -> str:
    """The file of subscriptions. `address`: of the sink."""
    lines = [
        "channels:",
        f"  sink: {{kind: webhook, url: '{address}/take', parallel: 32}}",
        f"  hangs: {{kind: webhook, url: '{address}/hang', timeout: 120 s, parallel: 1}}",
        "subscriptions:",
    ]
    for one in found:
        filters = [
            f"{key}: {value}"
            for key, value in one._asdict().items()
            if value and key not in ("name", "channel")
        ]
        lines.append(f"  {one.name}: {{{', '.join([f'to: {one.channel}', *filters])}}}")
    return "\n".join(lines) + "\n"


def raised(unit: str, asset: str, rule: str, number: int) -> Alarm:
    """An alarm goes off; `at_ns` is for who says it."""
    own_id = f"{unit}:plc:1:{number}:0"
    severity = SEVERITIES[RULES.index(rule) % 4]
    message = f"{asset} is out of its limits"
    return Alarm(own_id, unit, rule, asset, severity, "unacknowledged", own_id, 0, None, 42.0, message)


def then(before: Alarm, state: str, number: int) -> Alarm:
    """What becomes of it."""
    return dataclasses.replace(before, id=f"{before.unit}:plc:1:{number}:0", state=cast(AlarmState, state))


def steady(places: Sequence[tuple[str, str]], seed: int) -> Iterator[Alarm]:
    """Transitions without end: alarms of any rack go off and are over."""
    chance, number = random.Random(seed), 0
    open_: list[Alarm] = []
    while True:
        number += 1
        if open_ and chance.random() < 0.5:
            alarm = then(open_.pop(chance.randrange(len(open_))), "normal", number)
        else:
            alarm = raised(*chance.choice(places), chance.choice(RULES), number)
            if any(one.key == alarm.key for one in open_):
                continue
            open_.append(alarm)
        yield alarm


def flood(places: Sequence[tuple[str, str]], first: int) -> list[Alarm]:
    """Two alarms of each rack go off, one after the other; each is acknowledged and over later, some go off again."""
    number, said = first, list[Alarm]()
    open_ = list[Alarm]()
    for turn in (0, 5):
        for place, (unit, asset) in enumerate(places):
            number += 1
            open_.append(raised(unit, asset, RULES[(place + turn) % len(RULES)], number))
    said += open_
    for state in ("acknowledged", "normal"):
        for place, alarm in enumerate(open_):
            number += 1
            open_[place] = then(alarm, state, number)
        said += open_
    for alarm in open_[::7]:
        number += 1
        said.append(raised(alarm.unit, alarm.asset, alarm.rule, number))
    return said


def expected(found: Iterable[Wanted], said: Iterable[Alarm]) -> dict[tuple[str, str], list[str]]:
    """By (subscription, alarm) the transitions that it is to be told of, in order; nothing of those that hang."""
    plain = [one for one in found if one.channel == "sink"]
    told = defaultdict[tuple[str, str], list[str]](list)
    for alarm in said:
        for one in plain:
            if one.takes(alarm):
                told[one.name, alarm.key].append(alarm.id)
    return dict(told)

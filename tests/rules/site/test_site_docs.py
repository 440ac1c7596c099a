"""docs/site.md: its example is a good site, and it names every key, type and source kind."""

from __future__ import annotations

import re
from pathlib import Path

from rules.site.parse import ALARM_KEYS, KEYS, parse_site
from rules.site.sources import KINDS
from rules.site.spec import ACTUATOR_KEYS, ASSET_KEYS, POINT_KEYS
from rules.site.types import OBJECT_TYPES

PAGE = (Path(__file__).parents[3] / "docs" / "site.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_small_site_is_a_good_one() -> None:
    site, findings = parse_site(EXAMPLES[0], "site.yaml")
    assert findings == []
    assert site is not None
    assert len(site.units["row-a"].gpus) == 72
    assert site.assets["R01-T18-G4"].part_of == "R01"


def test_what_the_page_gives_for_alarms_is_what_they_are_when_left_out() -> None:
    said, _ = parse_site(EXAMPLES[0], "site.yaml")
    head, rest = EXAMPLES[0].split("alarms:", 1)
    silent, _ = parse_site(head + rest[rest.index("rules:") :], "site.yaml")
    other, _ = parse_site(EXAMPLES[0].replace("shelving_max: 8 h", "shelving_max: 90 min"), "site.yaml")
    assert said is not None
    assert silent is not None
    assert other is not None
    limits = [
        (one.shelving_max_ns, one.out_of_service_max_ns, one.hold_off_ns) for one in (said, silent, other)
    ]
    assert limits[0] == limits[1] == (8 * 3600 * 10**9, 30 * 86_400 * 10**9, 10**9)
    assert limits[2] == (5400 * 10**9, *limits[0][1:])


def test_the_rows_of_the_page_are_those_of_the_whole_site() -> None:
    whole = EXAMPLES[0][: EXAMPLES[0].index("units:")].replace("assets: R01 ", "assets: R[01..13][01..16] ")
    cdu = "  cdu: {type: CDU, points: {LiquidFlow: 0..1500 L/min}}\n"
    site, findings = parse_site(whole.rstrip() + "\n" + cdu + EXAMPLES[1], "site.yaml")
    assert findings == []
    assert site is not None
    assert sum(asset.type == "Rack" for asset in site.assets.values()) == 208
    assert site.assets["CDU-13"].feeds[-1] == "R1316"


def test_every_word_is_explained() -> None:
    words = {*KEYS, *ALARM_KEYS, *ASSET_KEYS, *POINT_KEYS, *ACTUATOR_KEYS, *KINDS} - {
        "location",
        "process_area",
        "templates",
    }
    missing = {word for word in words if not re.search(rf"\b{word}\b", PAGE)}
    assert missing == set()
    assert {name for name in OBJECT_TYPES if f"`{name}`" not in PAGE} == set()

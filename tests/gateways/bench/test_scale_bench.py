"""`headrace bench scale` without its processes: the load, what is made of the log, and the arithmetic of the plan."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gateways.bench.scale import numbers_of
from gateways.bench.scale_figures import figures, measured
from gateways.bench.scale_load import RULES, Load, Sent, make_load, send
from gateways.bench.scale_log import Age, Claimed, Said, ages, compared
from gateways.bench.scale_plan import PARTITIONS, Assumed, Measured, Row, busiest, plan
from gateways.bench.scale_run import Backlog, Live
from gateways.bench.scale_tables import BROKERS, limit_of, measured_lines, plan_lines
from gateways.bench.site_copy import site_copy
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_COUNT
from streams.bus.memory import MemoryBus
from streams.topics import EVENTS, TOPICS, partition_of

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"
COUNT = 4


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folder = tmp_path_factory.mktemp("load")
    return make_load(site_copy(SITE, folder / "site", RULES), folder, 4.0)


def test_every_sample_of_every_unit_with_gpus_has_an_output(load: Load) -> None:
    found = list(load.between(0, 4, COUNT))
    units = [unit.id for unit in load.site.units.values() if unit.gpus]
    caused = {name.rpartition(":")[0] for name in load.outputs}
    for unit in units:
        samples = {one.time_ns for one in found if one.cause.startswith(f"{unit}:")}
        said = {one.time_ns for one in found if one.cause in caused and one.cause.startswith(f"{unit}:")}
        assert said == samples
        assert len(samples) == 4
    assert {one.message.partition for one in found if one.message.key == units[0].encode()} == {
        partition_of(units[0], COUNT)
    }


def test_the_load_in_parts_is_the_load(load: Load) -> None:
    first = [one.message.key for one in load.first_rules(COUNT)]
    assert sorted(first) == sorted(unit.encode() for unit in load.site.units)
    parts = [
        *load.between(0, 0.7, COUNT),
        *load.between(0.7, 2, COUNT),
        *load.between(2, 4, COUNT),
    ]
    whole = list(load.between(0, 4, COUNT))
    assert [one.message for one in parts] == [one.message for one in whole]
    assert sum(one.readings for one in whole) > 4 * load.gpus * FIELD_COUNT


async def test_what_is_sent_is_counted(load: Load) -> None:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, COUNT)
    whole = list(load.between(0, 2, COUNT))
    found = await send(await bus.producer("bench"), whole, speed=20.0)
    assert sum((await bus.ends(EVENTS.name)).values()) == found.records == len(whole)
    assert found.readings == sum(one.readings for one in whole)
    assert found.bytes == sum(len(one.message.value or b"") for one in whole)
    due_ns = [found.due_ns[one.cause] for one in whole if one.cause in found.due_ns]
    assert due_ns == sorted(due_ns)
    # a step is 5 ms here; the first record is of 0.1 s, frames are of 1 s and 2 s, each somewhere in its step
    for due, step in ((due_ns[0], 9), (due_ns[-1], 19)):
        assert step * 5_000_000 <= due - found.begun_ns < (step + 1) * 5_000_000


def test_the_age_of_what_a_sample_causes() -> None:
    said = [
        Said("row:nvml:1:7:0", b"raised", 130),
        Said("row:nvml:1:7:1", b"line", 120),
        Said("row:nvml:1:7:0", b"raised", 500),  # said again by who took over
        Said("row:nvml:1:8:0", b"cleared", 260),
        Said("row:hot:GPU-1:100", b"by a deadline", 999),
    ]
    found = ages(said, {"row:nvml:1:7": 100, "row:nvml:1:8": 200})
    assert sorted(found) == [Age(100, 20), Age(100, 30), Age(200, 60)]


def test_outputs_are_compared_by_id_and_byte() -> None:
    wanted = {"a": b"1", "b": b"2", "c": b"3"}
    said = [Said("a", b"1", 0), Said("a", b"1", 9), Said("b", b"other", 0), Said("d", b"4", 0)]
    assert compared(said, wanted) == {"compared": 2, "different": 1, "missing": 1, "beside": 1}
    # the same id with two contents is different, whichever comes first
    assert compared([Said("a", b"x", 0), Said("a", b"1", 1)], {"a": b"1"})["different"] == 1


S = 1_000_000_000


def sent(begun_s: int, seconds: int, source: str) -> Sent:
    """A frame a second, and a million readings."""
    due_ns = {f"row:{source}:1:{at_s}": (begun_s + at_s) * S for at_s in range(seconds)}
    return Sent(begun_s * S, seconds, 1_000_000, 5_000_000, seconds, due_ns=due_ns)


def answers(load: Sent, age_ms: int) -> list[Said]:
    return [Said(f"{cause}:0", b"", due_ns + age_ms * 1_000_000) for cause, due_ns in load.due_ns.items()]


def figures_of(claimed_s: float) -> dict[str, Any]:
    """A backlog of 10 s that takes 4 s, 10 s at a pace, 20 s in which a second worker comes."""
    backlog = Backlog(sent(0, 10, "a"), 100 * S, {"worker-1": 3.0, BROKERS: 0.4}, 0.2, 1_500_000)
    steady, joining = sent(200, 10, "b"), sent(210, 20, "c")
    live = Live(0.5, steady, joining, {"worker-1": 4.0, BROKERS: 1.0}, 1.6, {"worker-1": 400})
    said = [
        *(Said(f"{cause}:0", b"", 104 * S) for cause in backlog.written.due_ns),
        *(
            one._replace(appended_ns=one.appended_ns + (place < 2) * S)
            for place, one in enumerate(answers(steady, 20))
        ),
        *(
            one._replace(appended_ns=one.appended_ns + (place == 7) * S)
            for place, one in enumerate(answers(joining, 30))
        ),
    ]
    claims = [Claimed(round(claimed_s * S), "worker-2", 6)]
    return figures(1, 12, backlog, live, said, claims, {one.id: one.value for one in said})


def test_the_figures_of_a_run() -> None:
    found = figures_of(claimed_s=218.5)
    backlog, live = found["backlog"], found["live"]
    assert (backlog["seconds"], backlog["readings_per_s"]) == (4.0, 250_000)
    assert backlog["cores_busy"] == {"worker-1": 0.75, BROKERS: 0.1}
    assert backlog["broker_cpu_s_per_million"] == {"written": 0.2, "read": 0.4}
    assert (backlog["worker_cpu_s_per_million"], backlog["bytes_per_reading"]) == (3.0, 1.5)
    # the first two seconds are those in which it was still slow
    assert live["event_to_output_ms"] == {"p50": 20.0, "p99": 20.0, "count": 8}
    assert (live["readings_per_s"], live["raw_bytes_per_reading"]) == (100_000, 5.0)
    assert found["one_more"] == {
        "partitions_moved": 6,
        "to_the_new_one": 6,
        "share": 6,
        "started_s": 8.5,
        "longest_while_it_starts_ms": 30,
        "longest_stop_ms": 1030,
    }
    assert found["outputs"] == {"compared": 40, "different": 0, "missing": 0, "beside": 0}
    assert measured(found, 1) == Measured(3.0, 1.0, 0.4, 1, 1.6, 5.0)


def test_a_stop_when_nothing_was_sent_any_more_is_none() -> None:
    found = figures_of(claimed_s=231)["one_more"]
    assert (found["longest_while_it_starts_ms"], found["longest_stop_ms"]) == (1030, None)


def test_the_figures_as_the_page_has_them() -> None:
    lines = measured_lines([figures_of(218.5), figures_of(231)])
    assert lines[0] == "|  | 1 worker | 1 worker |"
    assert {line.count("|") for line in lines} == {4}
    assert (
        "| one more: longest from event to output, ms: while it starts; while it joins | 30; 1,030 | 1,030; not seen |"
        in lines
    )


@pytest.mark.parametrize(
    ("busy", "cores", "words"),
    [
        ({"worker-1": 0.95, "brokers": 0.3}, 4, "the core of a worker"),
        ({"worker-1": 0.85, "worker-2": 0.8, "brokers": 0.3}, 2, "the cores of the machine"),
        ({"worker-1": 0.5, "brokers": 1.2}, 4, "none that was measured"),
    ],
)
def test_what_is_used_up(busy: dict[str, float], cores: int, words: str) -> None:
    assert limit_of(busy, cores) == words


def test_numbers_of_workers() -> None:
    assert numbers_of("1, 2,3") == (1, 2, 3)
    for wrong in ("", "0", "1;2", "two"):
        with pytest.raises(ConfigurationError):
            numbers_of(wrong)


def test_the_busiest_worker() -> None:
    found = list(busiest(87, 96))
    assert len(found) == 96
    assert found[0] == 87
    assert all(-(-87 // workers) <= has <= 87 for workers, has in enumerate(found, 1))
    # of as many workers as partitions, who has the fullest partition
    places = [partition_of(f"row-{number:02}", 12) for number in range(1, 14)]
    assert list(busiest(13, 12))[-1] == max(places.count(place) for place in places)


def test_the_plan_is_arithmetic() -> None:
    rows = {row.what: row for row in plan(Measured(0.1, 0.05, 0.02, 1, 2.0, 5.0), Assumed())}
    values = {what: row.value for what, row in rows.items()}
    assert values["readings"] == 24.0
    assert values["frames"] == 13_890
    assert values["units"] == 87
    assert values["worker CPU"] == pytest.approx(2.4)
    # none above half of its core, and no fewer would do, whatever the partitions
    workers, partitions, most = int(values["workers"]), int(values["partitions"]), int(0.5 / (2.4 / 87))
    assert partitions in PARTITIONS
    assert list(busiest(87, partitions))[workers - 1] <= most
    assert all(has > most for other in PARTITIONS for has in islice(busiest(87, other), workers - 1))
    assert values["broker CPU"] == pytest.approx(24 * (0.05 * 3 + 2 * 0.02))
    assert values["events on the network"] == pytest.approx(48.0)
    assert values["received by brokers"] == pytest.approx(144.0)
    assert values["sent by brokers"] == pytest.approx(48.0 * 5)
    assert values["disk"] == pytest.approx(48e6 * 86_400 * 7 * 3 / 1e12)
    assert values["disk, if nothing could be compressed"] == pytest.approx(values["disk"] * 2.5)
    assert rows["worker CPU"].of_all == pytest.approx(24.0)
    assert rows["partitions"].of_all is None
    copied = {row.what: row.value for row in plan(Measured(0.1, 0.15, 0.02, 3, 2.0, 5.0), Assumed())}
    assert copied["broker CPU"] == pytest.approx(values["broker CPU"])


def test_a_unit_too_large_for_half_a_core_has_a_worker_of_its_own() -> None:
    rows = {row.what: row.value for row in plan(Measured(3.0, 0.05, 0.02, 1, 2.0, 5.0), Assumed(gpus=15_000))}
    assert rows["units"] == 14
    assert list(busiest(14, int(rows["partitions"])))[int(rows["workers"]) - 1] == 1


def test_the_plan_as_the_page_has_it() -> None:
    row = Row("disk", "48 MB/s x 7 d x 3 copies", 87.0912, 870.912, "TB")
    said = {
        "what": row.what,
        "how": row.how,
        "one_site": row.value,
        "all_sites": row.of_all,
        "unit": row.unit,
    }
    assert plan_lines([said, {**said, "all_sites": None}])[2:] == [
        "| disk | 48 MB/s x 7 d x 3 copies | 87.09 TB | 871 TB |",
        "| disk | 48 MB/s x 7 d x 3 copies | 87.09 TB |  |",
    ]

"""When notifications go out, and what goes together: against random sequences, and a few said out loud."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateways.alerts.grouping import DIGEST, LARGEST, QUIET, Batch, Grouper, Hold, Item
from gateways.alerts.hours import covers
from gateways.alerts.model import Digest, Hours, Subscription
from rules.engine.outputs import Alarm
from tests.gateways.alerts.words import NOON, S, raised

UTC = ZoneInfo("UTC")
NIGHT = Hours(22 * 60, 6 * 60)

subscriptions = st.builds(
    Subscription,
    name=st.just("duty"),
    to=st.just(("phone",)),
    group_by=st.sampled_from([(), ("unit",), ("rule", "severity"), ("asset",), ("type",)]),
    wait_ns=st.sampled_from([0, 5 * S, 3600 * S]),
    digest=st.sampled_from([None, Digest(1, 60 * S), Digest(5, 10 * S)]),
    quiet=st.sampled_from([None, NIGHT, Hours(12 * 60, 12 * 60 + 1)]),
    at_once=st.sampled_from([frozenset(), frozenset({"urgent"}), frozenset({"urgent", "high"})]),
)
transitions = st.tuples(
    st.sampled_from([0.0, 0.0, 0.1, 3.0, 20.0, 7200.0, 35_990.0]),
    st.sampled_from(["R1", "R2", "R3"]),
    st.sampled_from(["low", "hot"]),
    st.sampled_from(["urgent", "high", "low"]),
)


def play(
    subscription: Subscription,
    steps: list[tuple[float, str, str, str]],
    restart_at: int,
    is_in_time: bool = False,
) -> tuple[list[Alarm], list[tuple[int, Batch]]]:
    """What was taken, and (when, what) went out; at one step another process goes on with what is held.

    `is_in_time`: what is due goes out then, and not with the next transition.
    """
    grouper, now = Grouper(subscription, UTC), NOON
    held: dict[int, tuple[Item, Hold]] = {}
    taken, sent = list[Alarm](), list[tuple[int, Batch]]()

    def send(batches: list[Batch]) -> None:
        for batch in batches:
            sent.append((now, batch))
            for item in batch.items:
                held.pop(item.place, None)

    for number, (pause_s, asset, rule, severity) in enumerate(steps, start=1):
        until = now + round(pause_s * S)
        while is_in_time and (at := grouper.due_ns) is not None and at <= until:
            now = max(now, at)
            send(grouper.due(now))
        now = until
        if number == restart_at:
            grouper = Grouper(subscription, UTC)
            for item, hold in held.values():
                grouper.restore(item, hold)
        alarm = raised(number, asset, rule, severity)
        taken.append(alarm)
        batches, hold_ = grouper.take(alarm, "Rack", now)
        send(batches)
        if hold_ is not None:
            held[number] = Item(alarm, number), hold_
            grouper.restore(*held[number])
        assert grouper.held == len(held)
    while (at := grouper.due_ns) is not None:
        now = max(now, at)
        send(grouper.due(now))
    assert not held
    return taken, sent


@given(subscriptions, st.lists(transitions, max_size=60), st.integers(0, 60))
def test_everything_goes_out_once_and_in_the_order_of_each_alarm(
    subscription: Subscription, steps: list[tuple[float, str, str, str]], restart_at: int
) -> None:
    taken, sent = play(subscription, steps, restart_at)
    went = [item.alarm for _, batch in sent for item in batch.items]
    assert sorted(alarm.id for alarm in went) == sorted(alarm.id for alarm in taken)
    by_alarm = defaultdict[str, list[str]](list)
    for alarm in taken:
        by_alarm[alarm.key].append(alarm.id)
    for alarm in went:
        assert by_alarm[alarm.key].pop(0) == alarm.id


@given(subscriptions, st.lists(transitions, max_size=60), st.integers(0, 60))
def test_what_is_at_once_goes_out_alone_and_nothing_else_in_quiet_hours(
    subscription: Subscription, steps: list[tuple[float, str, str, str]], restart_at: int
) -> None:
    _, sent = play(subscription, steps, restart_at, is_in_time=True)
    at = dict[str, int]()
    now = NOON
    for number, (pause_s, *_) in enumerate(steps, start=1):
        now += round(pause_s * S)
        at[f"row:plc:1:{number}:0"] = now
    for when, batch in sent:
        for item in batch.items:
            if item.alarm.severity in subscription.at_once:
                assert (batch.group, len(batch.items), when) == ("", 1, at[item.alarm.id])
            elif subscription.quiet is not None and covers(subscription.quiet, when, UTC):
                # it goes before a later word on an alarm of the batch that goes out at once
                keys = {one.alarm.key for one in batch.items}
                assert keys & {one.items[0].alarm.key for at_, one in sent if at_ == when and not one.group}
        assert len(batch.items) <= LARGEST


@given(st.lists(transitions, max_size=80))
def test_a_flood_makes_no_more_than_it_may(steps: list[tuple[float, str, str, str]]) -> None:
    subscription = Subscription("duty", ("phone",), digest=Digest(5, 10 * S), at_once=frozenset())
    _, sent = play(subscription, steps, 0)
    times = [when for when, batch in sent if batch.group == ""]
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first >= 10 * S
    digests = [when for when, batch in sent if batch.group == DIGEST]
    assert all(later - earlier >= 10 * S for earlier, later in pairwise(digests))


def take(grouper: Grouper, alarm: Alarm, at_s: float) -> list[Batch]:
    batches, hold = grouper.take(alarm, "Rack", NOON + round(at_s * S))
    if hold is not None:
        grouper.restore(Item(alarm, 1), hold)
    return batches


def test_what_goes_off_within_the_wait_is_one_notification_for_each_rule() -> None:
    grouper = Grouper(Subscription("duty", ("phone",), group_by=("rule",), wait_ns=5 * S), UTC)
    for number, (asset, rule) in enumerate([("R1", "low"), ("R2", "low"), ("R1", "hot")]):
        assert take(grouper, raised(number, asset, rule), number) == []
    assert grouper.due(NOON + 5 * S - 1) == []
    low, hot = grouper.due(NOON + 7 * S)
    assert [item.alarm.asset for item in low.items] == ["R1", "R2"]
    assert [item.alarm.rule for item in hot.items] == ["hot"]
    assert not low.is_folded


def test_a_flood_is_over_when_a_digest_had_no_more_than_that() -> None:
    grouper = Grouper(Subscription("duty", ("phone",), digest=Digest(2, 60 * S)), UTC)
    assert [len(take(grouper, raised(n, f"R{n}"), n)) for n in range(4)] == [1, 1, 0, 0]
    (digest,) = grouper.due(NOON + 62 * S)
    assert (digest.is_folded, len(digest.items)) == (True, 2)
    assert len(take(grouper, raised(9), 200)) == 1


def test_the_night_is_one_notification_in_the_morning() -> None:
    grouper = Grouper(Subscription("duty", ("phone",), quiet=NIGHT), UTC)
    late = 11 * 3600
    assert take(grouper, raised(1, severity="low"), late) == []
    assert len(take(grouper, raised(2, "R2", severity="urgent"), late + 60)) == 1
    assert take(grouper, raised(3, "R3", severity="low"), late + 120) == []
    assert grouper.due_ns == NOON + 18 * 3600 * S
    (morning,) = grouper.due(NOON + 18 * 3600 * S)
    assert (morning.group, [item.alarm.asset for item in morning.items]) == (QUIET, ["R1", "R3"])

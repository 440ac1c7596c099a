"""From words to notifications in the outbox, on a clock of the test: escalation, digests, restarts, and no news."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateways.alerts.intake import Intake, Sent
from gateways.alerts.log_state import KEEP_NS
from gateways.alerts.model import Digest, Filter, Hours, Step, Subscription, Subscriptions
from gateways.alerts.outbox import Outbox
from rules.engine.outputs import Alarm
from streams.wire import OWNER_EPOCH
from tests.gateways.alerts.words import NOON, S, raised, record, then
from tests.rules.engine.plant import site


class Desk:
    """An intake with its outbox, and what came of what it was given."""

    def __init__(self, file: Path, *subscriptions: Subscription, is_first: bool = False) -> None:
        self.file = file
        self.subscriptions = Subscriptions(subscriptions={one.name: one for one in subscriptions})
        self.now = NOON
        self.offset = 0
        self.metrics: dict[str, Any] = {}
        self.open()
        if not is_first:
            self.intake.end_of_history()

    def open(self) -> None:
        self.outbox = Outbox(self.file)
        self.intake = Intake(site(), self.subscriptions, self.outbox, lambda: self.now, self.metrics)

    def restart(self) -> None:
        """As after a kill: nothing is closed in order."""
        self.outbox._db.close()
        self.open()

    def take(self, *alarms: Alarm, after_s: float = 0, **more: Any) -> list[dict[str, Any]]:
        self.now += round(after_s * S)
        records = [record(alarm, self.offset + n, **more) for n, alarm in enumerate(alarms)]
        self.offset += len(alarms)
        return self.bodies(self.intake.take(records))

    def wait(self, after_s: float) -> list[dict[str, Any]]:
        self.now += round(after_s * S)
        return self.bodies(self.intake.due())

    def deliver(self) -> None:
        """Everything that is on its way is taken."""
        for seq, *_ in self.outbox.pending():
            message = self.outbox.message(seq)
            assert message is not None
            self.outbox.delivered(message, self.now)
        self.outbox.commit()

    def bodies(self, sent: list[Sent]) -> list[dict[str, Any]]:
        found = []
        for one in sent:
            message = self.outbox.message(one.seq)
            assert message is not None
            found.append({**message.notification.data, "to": one.channel})
        return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alerts.sqlite"


def ids(bodies: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in bodies]


ESCALATED = Subscription(
    "duty", ("phone",), escalate=(Step(300 * S, ("boss",)), Step(900 * S, ("boss", "plant")))
)


def test_what_nobody_acknowledges_goes_to_the_next(file: Path) -> None:
    desk = Desk(file, ESCALATED)
    desk.take(raised(1))
    assert desk.wait(299) == []
    (first,) = desk.wait(1)
    assert (first["id"], first["kind"], first["step"], first["to"]) == (
        "duty/row:plc:1:1:0/step-1", "escalation", 1, "boss",
    )  # fmt: skip
    assert [one["to"] for one in desk.wait(600)] == ["boss", "plant"]
    desk.deliver()
    assert desk.wait(10_000) == []


@pytest.mark.parametrize("state", ["acknowledged", "normal", "shelved", "suppressed"])
def test_what_somebody_has_seen_does_not(file: Path, state: str) -> None:
    desk = Desk(file, ESCALATED)
    alarm = raised(1)
    desk.take(alarm)
    desk.take(then(alarm, state, 2), after_s=10)
    desk.restart()
    assert desk.wait(10_000) == []


def test_what_is_over_and_not_acknowledged_still_does(file: Path) -> None:
    desk = Desk(file, ESCALATED)
    alarm = raised(1)
    desk.take(alarm)
    desk.take(then(alarm, "returned-unacknowledged", 2), after_s=10)
    (step,) = desk.wait(290)
    assert step["alarms"][0]["alarm"]["body"]["state"] == "returned-unacknowledged"


def test_another_occurrence_begins_its_own_escalation(file: Path) -> None:
    desk = Desk(file, ESCALATED)
    alarm = raised(1)
    desk.take(alarm, then(alarm, "normal", 2))
    desk.take(raised(3), after_s=200)
    assert desk.wait(100) == []
    assert ids(desk.wait(200)) == ["duty/row:plc:1:3:0/step-1"]


def test_the_time_to_acknowledge_runs_from_when_it_was_told(file: Path) -> None:
    night = dataclasses.replace(ESCALATED, quiet=Hours(12 * 60, 13 * 60))
    desk = Desk(file, night)
    alarm = raised(1)
    desk.take(alarm, raised(2, "R2"))
    assert desk.wait(1800) == []
    desk.take(then(alarm, "acknowledged", 3))
    (morning,) = desk.wait(1800)
    assert (morning["folded"]["transitions"], len(morning["alarms"])) == (3, 2)
    assert ids(desk.wait(300)) == ["duty/row:plc:1:2:0/step-1"]


def test_an_escalation_outlives_the_process(file: Path) -> None:
    desk = Desk(file, ESCALATED)
    desk.take(raised(1))
    desk.restart()
    assert ids(desk.wait(300)) == ["duty/row:plc:1:1:0/step-1"]


def test_a_flood_is_a_digest_with_the_worst_and_urgent_ones_pass(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",), digest=Digest(3, 60 * S, 2)))
    went = [
        desk.take(raised(n, f"R{n}", severity="low" if n % 2 else "high"), after_s=1) for n in range(1, 21)
    ]
    assert [len(one) for one in went] == [1] * 3 + [0] * 17
    assert len(desk.take(raised(99, "R99", severity="urgent"))) == 1
    (digest,) = desk.wait(60)
    assert digest["kind"] == "digest"
    assert digest["folded"]["transitions"] == 17
    assert digest["folded"]["by_severity"] == {"high": 9, "low": 8}
    assert [one["alarm"]["body"]["severity"] for one in digest["alarms"]] == ["high", "high"]
    assert desk.metrics["folded"] == 15


def test_what_is_held_outlives_the_process(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",), Filter(), ("unit",), 5 * S))
    assert desk.take(raised(1), raised(2, "R2")) == []
    desk.restart()
    assert desk.intake.held == 2
    assert desk.take(raised(3, "R3"), after_s=1) == []
    (one,) = desk.wait(4)
    assert [alarm["delivery"] for alarm in one["alarms"]] == [f"duty/row:plc:1:{n}:0" for n in (1, 2, 3)]
    assert list(desk.outbox.held()) == []


def test_what_is_held_for_who_is_gone_is_dropped_and_counted(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",), wait_ns=5 * S))
    desk.take(raised(1))
    desk.subscriptions = Subscriptions()
    desk.restart()
    assert (desk.metrics["orphaned"], desk.wait(10)) == (1, [])


def test_quiet_hours_end_in_the_morning_and_urgent_ones_wake(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",), quiet=Hours(12 * 60, 13 * 60)))
    assert desk.take(raised(1), raised(2, "R2", severity="low")) == []
    assert len(desk.take(raised(3, "R3", severity="urgent"))) == 1
    assert desk.wait(3599) == []
    (one,) = desk.wait(1)
    assert (one["kind"], len(one["alarms"])) == ("alarms", 2)


def test_a_process_that_dies_within_a_transaction_keeps_nothing_of_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(file, Subscription("duty", ("phone",)))

    def fail(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(desk.outbox, "move_to", fail)
        with pytest.raises(RuntimeError):
            desk.intake.take([record(raised(1), 0)])
    desk.restart()
    assert (desk.outbox.pending(), desk.outbox.positions()) == ([], {})
    assert ids(desk.take(raised(1))) == ["duty/row:plc:1:1:0"]


def test_history_is_told_at_its_end_and_only_what_needs_somebody(file: Path) -> None:
    desk = Desk(file, ESCALATED, is_first=True)
    alarm, other = raised(1), raised(2, "R2")
    assert desk.take(alarm, other, then(other, "acknowledged", 3)) == []
    desk.restart()  # killed while it read
    assert desk.take(raised(4, "R3")) == []
    told = desk.bodies(desk.intake.end_of_history())
    assert ids(told) == ["duty/row:plc:1:1:0", "duty/row:plc:1:4:0"]
    assert len(desk.wait(300)) == 2
    assert desk.intake.end_of_history() == []
    assert ids(desk.take(then(alarm, "normal", 5))) == ["duty/row:plc:1:5:0"]


def test_words_of_a_replay_of_another_site_and_of_nobody_are_no_news(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",)))
    assert desk.take(raised(1), headers=(("replay", b"run.mcap"),)) == []
    assert desk.take(raised(2, unit="another-site")) == []
    broken = dataclasses.replace(record(raised(3), 7), value=b"{}")
    assert desk.intake.take([broken]) == []
    assert (desk.metrics["replayed"], desk.metrics["unreadable"], desk.metrics["words"]) == (1, 1, 0)


def test_an_old_end_is_no_news_but_what_still_needs_somebody_is(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",)))
    alarm = raised(1)
    desk.now += 2 * KEEP_NS
    assert ids(desk.take(alarm)) == ["duty/row:plc:1:1:0"]
    assert desk.take(then(alarm, "normal", 2)) == []
    assert desk.metrics["too_old"] == 1


def test_what_was_delivered_is_gone_and_what_was_not_is_there_after_a_kill(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone", "mail")))
    desk.take(raised(1))
    first, second = (desk.outbox.message(seq) for seq, *_ in desk.outbox.pending())
    assert first is not None
    assert second is not None
    desk.outbox.delivered(first, desk.now)
    desk.restart()
    assert len(desk.outbox.pending()) == 2  # not committed: it comes again, under its id
    desk.outbox.delivered(first, desk.now)
    desk.outbox.failed(second, "503", desk.now)
    desk.outbox.commit()
    desk.restart()
    assert [channel for _, _, channel in desk.outbox.pending()] == ["mail"]
    phone, mail = sorted(desk.outbox.lanes(), key=lambda lane: lane.channel, reverse=True)
    assert (phone.delivered, phone.backlog, phone.last_error) == (1, 0, None)
    assert (mail.delivered, mail.failed, mail.backlog, mail.last_error) == (0, 1, 1, "503")


def test_a_diverted_notification_is_the_only_one_of_its_id_there(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone", "mail")), Subscription("office", ("phone",)))
    desk.take(raised(1))
    moved = desk.outbox.divert("phone", "mail")
    assert [name.partition("/")[0] for _, name in moved] == ["office"]
    assert desk.outbox.divert("mail", "phone") != moved
    bodies = {
        one.notification.id: one.channel
        for seq, *_ in desk.outbox.pending()
        if (one := desk.outbox.message(seq))
    }
    assert bodies == {"duty/row:plc:1:1:0": "phone", "office/row:plc:1:1:0": "mail"}


def test_the_bytes_of_an_alarm_are_those_of_the_topic(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",)))
    word = record(raised(1), 0)
    (body,) = desk.take(raised(1))
    assert body["alarms"][0]["alarm"] == orjson.loads(word.value or b"")


def test_lanes_of_a_subscription_part_alarms_and_never_one_of_them(file: Path) -> None:
    desk = Desk(file, Subscription("duty", ("phone",)), Subscription("held", ("phone",), wait_ns=S))
    alarms = [raised(n, f"R{n}") for n in range(1, 40)]
    desk.take(*alarms)
    desk.take(*(then(one, "acknowledged", 100 + n) for n, one in enumerate(alarms)))
    desk.wait(10)
    lanes = dict[str, set[str]]()
    for seq, lane, _ in desk.outbox.pending():
        message = desk.outbox.message(seq)
        assert message is not None
        for one in message.notification.data["alarms"]:
            body = one["alarm"]["body"]
            lanes.setdefault(f"{message.notification.subscription} {body['asset']}", set()).add(lane)
    assert {len(of_alarm) for of_alarm in lanes.values()} == {1}
    names = {lane for of_alarm in lanes.values() for lane in of_alarm}
    assert len(names) == 8 + 1
    assert "held" in names


def test_a_word_of_a_worker_that_has_lost_the_unit_is_none(file: Path) -> None:
    desk = Desk(file, ESCALATED)
    alarm = raised(1)
    desk.take(alarm, headers=((OWNER_EPOCH, b"8"),))
    assert desk.take(then(alarm, "normal", 2), headers=((OWNER_EPOCH, b"7"),)) == []
    assert desk.intake.last[alarm.key].alarm.state == "unacknowledged"
    assert desk.metrics["stale_words"] == 1
    desk.take(then(alarm, "acknowledged", 2), headers=((OWNER_EPOCH, b"8"),))
    assert desk.intake.last[alarm.key].alarm.state == "acknowledged"

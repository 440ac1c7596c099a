"""One channel at work, with a receiver of the test: what is on its way when a channel dies, and who asks for time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts.delivery import DeliveryError
from gateways.alerts.intake import Sent
from gateways.alerts.model import Channel, Secret
from gateways.alerts.notification import Notification, of_itself
from gateways.alerts.outbox import Outbox
from gateways.alerts.sender import Sender
from tests.gateways.alerts.sink import until

S = 1_000_000_000


class Receiver:
    """Takes what it is told to; holds what it is told to hold."""

    def __init__(self) -> None:
        self.took: list[str] = []
        self.tried: list[str] = []
        self.error: DeliveryError | None = None
        self.holds: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.held: set[str] = set()

    async def send(self, notification: Notification) -> None:
        self.tried.append(notification.id)
        if notification.id in self.held:
            await self.holds[notification.id].wait()
        if self.error is not None:
            raise self.error
        self.took.append(notification.id)

    async def close(self) -> None:
        """Nothing is open."""


class Board:
    """A switchboard of channels `a` and `b`, each the other's fallback."""

    def __init__(self, file: Path, **more: Any) -> None:
        self.outbox = Outbox(file)
        self.now = 1000 * S
        self.elapsed_s = 500.0
        self.metrics: dict[str, Any] = defaultdict(int)
        self.receivers = {"a": Receiver(), "b": Receiver()}
        self.senders = {
            name: Sender(
                Channel(name, "webhook", Secret("x"), give_up_s=10.0, fallback=other, **more),
                self.receivers[name],
                self.outbox,
                self,
                lambda: self.now,
                "test",
                self.metrics,
                lambda: 0.0,
                lambda: self.elapsed_s,
            )
            for name, other in (("a", "b"), ("b", "a"))
        }

    def let_pass(self, seconds: int) -> None:
        self.now += seconds * S
        self.elapsed_s += seconds

    def put(self, name: str, subscription: str, channel: str) -> str:
        one = of_itself("test", subscription, "test", 0, "x")
        one = Notification(f"{subscription}/{name}", subscription, one.body)
        with self.outbox.transaction():
            seq = self.outbox.put(one, channel, self.now)
        assert seq is not None
        self.dispatch([Sent(seq, subscription, channel)])
        return one.id

    def dispatch(self, sent: list[Sent]) -> None:
        for one in sent:
            self.senders[one.channel].add(one.seq, one.lane)
        for name in {one.channel for one in sent}:
            self.senders[name].hand_on()

    def announce(self, notification: Notification, channel: str) -> None:
        with self.outbox.transaction():
            seq = self.outbox.put(notification, channel, self.now)
        assert seq is not None
        self.dispatch([Sent(seq, notification.subscription, channel)])

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(one.run()) for one in self.senders.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "alerts.sqlite")


async def die(board: Board, name: str) -> None:
    """Nothing goes through any more, for longer than is waited."""
    board.receivers[name].error = DeliveryError("503")
    await until(lambda: board.senders[name]._failures >= 3)
    board.let_pass(11)
    board.senders[name].look()
    await until(lambda: board.senders[name].dead_since_ns > 0)


async def test_what_is_on_its_way_when_its_channel_dies_goes_once(board: Board) -> None:
    a, b = board.receivers["a"], board.receivers["b"]
    async with board.at_work():
        slow = "one/x"
        b.held.add(slow)
        board.put("x", "one", "a")
        await die(board, "a")
        await until(lambda: slow in b.tried)  # diverted to b, and on its way there
        board.put("y", "two", "b")
        await die(board, "b")
        a.error = b.error = None
        b.holds[slow].set()
        await until(lambda: slow in b.took and "two/y" in a.took)
        await until(lambda: board.senders["b"].backlog == board.senders["a"].backlog == 0)
    assert b.took.count(slow) == 1
    assert b.tried.count(slow) == 1
    assert slow not in a.took


async def test_a_channel_is_dead_while_all_that_it_has_pauses(board: Board) -> None:
    a, sender = board.receivers["a"], board.senders["a"]
    a.error = DeliveryError("503", after_s=0.001)
    async with board.at_work():
        board.put("x", "one", "a")
        await until(lambda: sender._failures >= 3)
        a.error = DeliveryError("429", after_s=3600.0)
        tried = len(a.tried)
        await until(lambda: len(a.tried) > tried)
        board.let_pass(9)
        sender.look()
        assert sender.dead_since_ns == 0
        board.let_pass(1)
        sender.look()
        await until(lambda: "one/x" in board.receivers["b"].took)
    assert board.outbox.dead_channels()["a"] == (1000 * S, "429")


async def test_a_clock_that_is_set_back_puts_off_no_death(board: Board) -> None:
    a, sender = board.receivers["a"], board.senders["a"]
    a.error = DeliveryError("503", after_s=0.001)
    async with board.at_work():
        board.put("x", "one", "a")
        await until(lambda: sender._failures >= 3)
        board.now -= 3600 * S
        board.let_pass(9)
        sender.look()
        assert sender.dead_since_ns == 0
        board.let_pass(1)
        sender.look()
        await until(lambda: "one/x" in board.receivers["b"].took)
    assert board.outbox.dead_channels()["a"] == (1000 * S, "503")


async def test_what_fails_after_its_channel_has_died_goes_to_the_fallback(board: Board) -> None:
    a, sender = board.receivers["a"], board.senders["a"]
    a.error = DeliveryError("503")
    async with board.at_work():
        board.put("x", "one", "a")
        await until(lambda: sender._failures >= 3)
        a.held.add("one/x")
        tried = len(a.tried)
        await until(lambda: len(a.tried) > tried)
        board.let_pass(11)
        sender.look()
        assert sender.dead_since_ns > 0
        a.holds["one/x"].set()
        await until(lambda: "one/x" in board.receivers["b"].took)


async def test_two_dead_channels_play_no_ball(board: Board) -> None:
    async with board.at_work():
        board.put("x", "one", "a")
        board.put("y", "two", "b")
        board.receivers["a"].error = DeliveryError("503")
        await die(board, "b")
        await die(board, "a")
        assert board.metrics["diverted"] <= 4
        board.receivers["a"].error = board.receivers["b"].error = None
        took = lambda: {*board.receivers["a"].took, *board.receivers["b"].took}  # noqa: E731
        await until(lambda: {"one/x", "two/y"} <= took())
        await until(lambda: not board.senders["a"].dead_since_ns or not board.senders["b"].dead_since_ns)


async def test_a_lane_goes_on_in_order_while_another_pauses(board: Board) -> None:
    a = board.receivers["a"]
    async with board.at_work():
        a.held.add("one/1")
        for number in range(1, 4):
            board.put(str(number), "one", "a")
            board.put(str(number), "two", "a")
        await until(lambda: len(a.took) == 3)
        assert a.took == ["two/1", "two/2", "two/3"]
        assert a.tried.count("one/2") == 0
        a.holds["one/1"].set()
        await until(lambda: len(a.took) == 6)
    assert [one for one in a.took if one.startswith("one")] == ["one/1", "one/2", "one/3"]
    board.outbox.commit()
    assert board.outbox.pending() == []


async def test_who_asks_for_time_is_given_it(board: Board) -> None:
    a = board.receivers["a"]
    a.error = DeliveryError("429", after_s=0.4)
    loop = asyncio.get_running_loop()
    async with board.at_work():
        board.put("x", "one", "a")
        await until(lambda: len(a.tried) == 1)
        began, a.error = loop.time(), None
        await until(lambda: len(a.took) == 1)
    assert loop.time() - began > 0.3


def test_pauses_double_up_to_a_limit_with_chance_in_them(board: Board) -> None:
    pauses = [board.senders["a"]._pause_s(attempts) for attempts in range(1, 14)]
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]
    assert pauses[-1] == 15.0
    board.senders["a"]._chance = lambda: 1.0
    assert board.senders["a"]._pause_s(13) == 30.0


async def test_a_channel_that_was_dead_is_dead_after_a_restart(board: Board) -> None:
    async with board.at_work():
        board.put("x", "one", "a")
        await die(board, "a")
    again = Board(board.outbox.file)
    assert again.senders["a"].dead_since_ns == board.senders["a"].dead_since_ns
    again.put("z", "three", "a")
    async with again.at_work():
        await until(lambda: "three/z" in again.receivers["b"].took)
    assert again.receivers["a"].tried == []

"""The one sender of actions: the command line, the OPC UA server, reply links and the console all act by it.

    async with action_sender(bus, site, "scada", key) as sender:
        answer = await sender.act(Wanted("acknowledge", "row-a", "gpu-hot", "R01-T01-G1", "eva", occurrence=seen))

Rules: the engine decides, and its answer is read from the journal, where everybody finds it. Each action is a writer of
its own (an epoch of its own), so that none waits for another and none can be said again. Who could not be identified
acts as "" (`by`): the engine refuses and journals it. A journal that can't be read is asked again, for as long as it
takes; nothing is sent meanwhile, as no answer would be heard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.access.answers import names_in, names_of
from gateways.access.signing import said_by
from rules.alarms.actions import JOURNALED, REFUSED
from rules.engine.inputs import ACTION_SOURCE, Action, ActionKind, Identity
from rules.engine.outputs import Entry
from rules.errors import UndecodableError, UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus, Producer, Reader
from streams.record import Record
from streams.replay_mark import replay_of
from streams.topics import EVENTS, JOURNAL
from streams.wire import decode_output, encode_input

ANSWER_S: Final = 10.0
AGAIN_S: Final = 1.0
_READ_S: Final = 0.2

log = logging.getLogger("headrace.actions")


class Wanted(NamedTuple):
    """What is to be done about an alarm, by whom and why.

    `occurrence`: the `raised_id` that they saw; `for_ns`: of a silence, how long it lasts.
    """

    kind: ActionKind
    unit: str
    rule: str
    asset: str
    by: str
    comment: str = ""
    occurrence: str = ""
    for_ns: int = 0
    one_shot: bool = False

    @property
    def alarm(self) -> str:
        """The name of the alarm."""
        return f"{self.unit}:{self.rule}:{self.asset}"


class Answer(NamedTuple):
    """What the engine said of one alarm: `kind` of its entry, `reason` of a refusal, "" where it is done."""

    alarm: str
    kind: str
    reason: str


class ActionSender:
    """Sends actions as `name`, signed with `key` where there is one, and hears the answers. See `action_sender`."""

    def __init__(
        self,
        producer: Producer,
        journal: Reader,
        partitions: int,
        site: Site,
        name: str,
        key: Ed25519PrivateKey | None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._producer = producer
        self.journal = journal
        self._partitions = partitions
        self._site = site
        self._name = name
        self._key = key
        self._clock_ns = clock_ns
        self._epoch = 0
        self._waiting: dict[str, tuple[Wanted, asyncio.Future[Answer]]] = {}
        self._order = asyncio.Lock()
        """Epochs reach the log in their order."""
        self._mark = orjson.dumps(ACTION_SOURCE + name)[1:-1]
        self._failure: BaseException | None = None

    async def act(self, wanted: Wanted, within_s: float = ANSWER_S) -> Answer:
        """Ask for one thing, and the engine's answer. Many may be asked for at once.

        UnreachableError: the broker does not take it, or no engine answers in time; what was asked may be done all the
        same.
        """
        if self._failure is not None:
            raise UnreachableError(f"the journal can't be read now: {self._failure}")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        names: tuple[str, ...] = ()
        try:
            async with self._order:
                action = self._action(wanted)
                names = names_of(action)
                self._waiting.update(dict.fromkeys(names, (wanted, answer)))
                taken = await self._producer.send(encode_input(action, self._partitions))
            await taken
            return await asyncio.wait_for(answer, within_s)
        except TimeoutError:
            raise UnreachableError(
                f"said, but no answer within {within_s:.0f} s on {wanted.alarm}: is its worker running? "
                "`headrace alarms` shows what has become of it"
            ) from None
        finally:
            for name in names:
                self._waiting.pop(name, None)

    def _action(self, wanted: Wanted) -> Action:
        self._epoch = max(self._clock_ns(), self._epoch + 1)
        action = Action(
            wanted.unit,
            Identity(ACTION_SOURCE + self._name, self._epoch, 1),
            wanted.kind,
            wanted.rule,
            wanted.asset,
            wanted.by,
            self._epoch,
            wanted.occurrence,
            self._epoch + wanted.for_ns if wanted.for_ns else 0,
            wanted.one_shot,
            wanted.comment,
        )
        return said_by(self._name, self._key, action, self._site)

    async def listen(self, bus: Bus) -> None:
        """Take answers from the journal, until it is cancelled; where it can't be read, from a new reader of it."""
        while True:
            try:
                while True:
                    self._take(await self.journal.read(_READ_S))
            except Exception as error:
                log.warning("the journal can't be read, and is asked again: %s", error)
                self._fail(error)
            await self._journal_again(bus)

    async def _journal_again(self, bus: Bus) -> None:
        while self._failure is not None:
            await asyncio.sleep(AGAIN_S)
            try:
                await self.journal.close()
                self.journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
                self._failure = None
            except Exception as error:
                self._failure = error

    def _fail(self, error: Exception) -> None:
        """Nobody waits for an answer that may have gone by meanwhile."""
        self._failure = error
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UnreachableError(f"the journal can't be read now: {error}"))

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            if not self._waiting or record.value is None or self._mark not in record.value:
                continue
            try:
                entry = decode_output(record.headers, record.value)
            except UndecodableError:
                continue
            if not isinstance(entry, Entry):
                continue
            for name in names_in(entry):
                wanted, answer = self._waiting.get(name, (None, None))
                if wanted is None or answer is None or answer.done():
                    continue
                if entry.kind in (REFUSED, JOURNALED[wanted.kind]):
                    reason = str(entry.detail.get("reason", ""))
                    answer.set_result(Answer(wanted.alarm, entry.kind, reason))


@asynccontextmanager
async def action_sender(
    bus: Bus,
    site: Site,
    name: str,
    key: Ed25519PrivateKey | None,
    clock_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[ActionSender]:
    """A sender with a connection and a reader of the journal of its own, for one call or for a server's whole life.

    `name`: the user who signs, a person or an edge; two edges that run at once have two names. UnreachableError: no
    broker, or a replay runs there, where nobody acts.
    """
    if (replay := await replay_of(bus)) is not None:
        raise UnreachableError(f"a replay of {replay.recording} runs there: nobody takes actions")
    journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
    producer = await bus.producer(f"actions-{name}")
    sender = ActionSender(producer, journal, await bus.partitions(EVENTS.name), site, name, key, clock_ns)
    listening = asyncio.create_task(sender.listen(bus))
    try:
        yield sender
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await producer.close()
        await sender.journal.close()

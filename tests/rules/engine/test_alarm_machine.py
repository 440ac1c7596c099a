"""Random samples, ticks, actions, restarts and rule changes against a plain model; then the log is run again."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rules.engine.engine import Engine
from rules.engine.inputs import ActionKind, Input, Tick
from rules.engine.outputs import Alarm, Entry, Output
from rules.engine.tables import compile_unit
from streams.wire import encode_output
from tests.rules.access.people import PEOPLE, action, activation, listing
from tests.rules.engine.plant import START, UNIT, S, flow, program, site, tick
from tests.support.examples import examples

RULE = """
  low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{{asset}}: {{value:.0f}} L/min"
    latch: {latch}
    re_alarm: 3 s
"""
OTHER = """
  other:
    for: Rack
    when: RackLiquidFlow < 1 L/min
    severity: low
    message: "{asset}"
"""
HALF = S // 2
AGAIN = 6
"""After how many halves of a second it is heard again."""
HALVES = st.sampled_from([1, 2, 5, 30])
KINDS = (
    "acknowledge", "acknowledge", "confirm", "shelve", "reset", "remove-from-service", "unshelve",
    "return-to-service", "comment",
)  # fmt: skip
NAMES = ("out-of-service", "shelved")


class Who(NamedTuple):
    """`key`: whose key signs, where it is not the signer's own."""

    signer: str
    by: str
    key: str = ""


WHO = [
    *[Who("eng", "eng"), Who("eva", "eva")] * 3, Who("scada", "eva"), Who("scada", "eng"), Who("scada", "vic"),
    Who("vic", "vic"), Who("eva", "eng"), Who("eva", "eva", "vic"), Who("eng", "eng", "eva"),
]  # fmt: skip
OPERATORS, ENGINEERS = {"operator", "engineer", "admin"}, {"engineer", "admin"}


class Model:
    """One alarm in plain words. Times in half seconds."""

    def __init__(self, latch: bool) -> None:
        self.latch = latch
        self.close()

    def close(self) -> None:
        self.is_true = self.is_latched = False
        self.is_seen = True
        self.is_acknowledged = self.is_confirmed = False
        self.again = 0
        self.silences: dict[str, tuple[int, bool]] = {}

    @property
    def state(self) -> str:
        for name in NAMES:
            if name in self.silences:
                return name
        seen = "acknowledged" if self.is_seen else "unacknowledged"
        if self.is_true:
            return seen
        if self.is_latched:
            return f"latched-{seen}"
        return "normal" if self.is_seen else "returned-unacknowledged"

    def unsee(self) -> None:
        self.is_seen = self.is_acknowledged = self.is_confirmed = False

    def sample(self, is_true: bool) -> None:
        if is_true and not self.is_true:
            self.is_true, self.is_latched = True, False
            self.unsee()
        elif self.is_true and not is_true:
            self.is_true, self.is_latched = False, self.latch
            if self.silences.get("shelved", (0, False))[1]:
                self.end("shelved")

    def end(self, name: str) -> None:
        del self.silences[name]
        if not self.silences:
            self.unsee()
            self.is_seen = not (self.is_true or self.is_latched)

    def pass_time(self, now: int) -> None:
        while due := [
            (until, NAMES.index(name), name) for name, (until, _) in self.silences.items() if until <= now
        ]:
            self.end(min(due)[2])
        if self.state == "acknowledged" and self.again <= now:
            self.unsee()

    def act(self, kind: ActionKind, now: int, until: int, one_shot: bool, is_current: bool) -> bool:
        """Whether it is done."""
        if self.state == "normal":
            self.unsee()
            self.is_seen = True
        if kind == "acknowledge":
            can = not self.silences and not self.is_seen and is_current
            if can:
                self.is_seen = self.is_acknowledged = True
                self.again = now + AGAIN
            return can
        if kind == "confirm":
            can = self.is_acknowledged and not self.is_confirmed and is_current
            self.is_confirmed = self.is_confirmed or can
            return can
        if kind == "reset":
            can = not self.silences and self.is_latched and self.is_seen and is_current
            self.is_latched = self.is_latched and not can
            return can
        for name, (begins, ends) in {
            "shelved": ("shelve", "unshelve"),
            "out-of-service": ("remove-from-service", "return-to-service"),
        }.items():
            if kind == begins:
                self.silences[name] = (until, one_shot)
                return True
            if kind == ends:
                can = name in self.silences
                if can:
                    self.end(name)
                return can
        return True


class AlarmMachine(RuleBasedStateMachine):
    """The engine, the model, and the log of all inputs."""

    @initialize(latch=st.booleans(), is_open=st.sampled_from([True, False, False]))
    def begin(self, latch: bool, is_open: bool) -> None:
        self.rules = program(RULE.format(latch=str(latch).lower()))
        self.model = Model(latch)
        self.now, self.flows, self.actions, self.epoch = 0, 0, 0, 1
        self.log: list[Input] = []
        self.said: list[Output] = []
        self.state, self.occurrences, self.rules_are = "normal", [""], "these"
        self.people: dict[str, str] = {}
        self.engine = self.fresh()
        self.take(tick(START))
        if not is_open:
            self.people_change("", "ada")

    def fresh(self) -> Engine:
        made = Engine(self.rules, site(), UNIT, "these")
        made.offer("other", compile_unit(program(OTHER), site(), site().units[UNIT]))
        return made

    def take(self, value: Input) -> list[Output]:
        self.log.append(value)
        outputs = self.engine.step([value])
        self.said += outputs
        for one in outputs:
            if isinstance(one, Alarm) and one.rule == "low":
                self.state = one.state
                if one.id == one.raised_id:
                    self.occurrences.append(one.raised_id)
        return outputs

    @rule(halves=HALVES)
    def time_passes(self, halves: int) -> None:
        self.now += halves
        self.model.pass_time(self.now)
        self.take(tick(START + self.now * HALF))

    @rule(litres=st.sampled_from([60, 100, 69, 70]), halves=st.integers(2, 5), ticks=st.booleans())
    def sample(self, litres: float, halves: int, ticks: bool) -> None:
        """Mostly up to a second ahead of the last tick, as samples are: behind the ends of silences that lie before."""
        self.now += halves
        before = self.now - 2 * (not ticks)
        self.model.pass_time(before)
        self.take(tick(START + before * HALF))
        self.flows += 1
        if litres < 70 if not self.model.is_true else litres >= 70:
            self.model.pass_time(self.now - 1)  # at its own time a silence still is
        if self.rules_are == "these":
            self.model.sample(litres < 70)
        self.take(flow(self.flows, START + self.now * HALF, litres))

    @rule(
        kind=st.sampled_from(KINDS),
        halves=HALVES,
        one_shot=st.booleans(),
        back=st.integers(0, 1),
        who=st.sampled_from(WHO),
    )
    def act(self, kind: ActionKind, halves: int, one_shot: bool, back: int, who: Who) -> None:
        self.actions += 1
        if not self.is_forged(who):  # which changes nothing, and makes nothing come true
            self.model.pass_time(self.now)
        until, occurrence = self.now + halves, self.occurrences[max(-1 - back, -len(self.occurrences))]
        one_shot = one_shot and kind == "shelve"
        is_current = occurrence == self.occurrences[-1]
        can = self.rules_are == "these" and self.may(kind, who)
        done = can and self.model.act(kind, self.now, until, one_shot, is_current)
        sent = action(
            kind, who.signer, who.by, self.actions, who.key, START + self.now * HALF,
            occurrence=occurrence, until_ns=START + until * HALF, one_shot=one_shot,
        )  # fmt: skip
        if not self.people:
            sent = replace(sent, signer="", signature="")
        outputs = self.take(sent)
        own = f"{UNIT}:action:{who.signer}:", f"{UNIT}:forged:"
        kinds = [one.kind for one in outputs if isinstance(one, Entry) and one.id.startswith(own)]
        assert ("action-refused" not in kinds) == done
        assert len(kinds) == 1

    def is_forged(self, who: Who) -> bool:
        return bool(self.people) and (bool(who.key) or who.signer not in self.people)

    def may(self, kind: ActionKind, who: Who) -> bool:
        """In plain words, where `people` has names and roles."""
        if not self.people:
            return True
        if self.is_forged(who) or who.by not in self.people:
            return False
        if who.signer not in (who.by, "scada"):
            return False
        needed = ENGINEERS if kind in ("remove-from-service", "return-to-service") else OPERATORS
        return {self.people[who.signer], self.people[who.by]} <= needed

    @rule(without=st.sampled_from(["", "", "eva"]), signer=st.sampled_from(["ada", "ada", "eng"]))
    def people_change(self, without: str, signer: str) -> None:
        """An admin, or somebody who is none, says who may act."""
        users = {name: user for name, user in PEOPLE.items() if name != without}
        self.actions += 1
        kinds = [
            one.kind
            for one in self.take(listing(self.actions, users, signer, at_ns=START + self.now * HALF))
            if isinstance(one, Entry)
        ]
        assert ("access-list" in kinds) == (signer == "ada")
        if signer == "ada":
            self.people = {name: user.role for name, user in users.items()}

    @rule()
    def restart(self) -> None:
        state = self.engine.snapshot()
        self.engine = self.fresh()
        if self.rules_are == "other":
            self.engine = Engine(program(OTHER), site(), UNIT, "other")
        self.engine.restore(state)
        assert self.engine.snapshot() == state

    @rule(chance=st.integers(0, 15), who=st.sampled_from(WHO))
    def rules_change(self, chance: int, who: Who) -> None:
        """Now and then: nothing of the alarm is left to look at behind it. Who may not do that changes nothing."""
        may = not self.people or (not self.is_forged(who) and self.people[who.signer] in ENGINEERS)
        if self.rules_are == "other" or (may and chance != 15):
            return
        self.actions += 1
        sent = activation("other", who.signer, self.actions, who.key, START + self.now * HALF)
        if not self.people:
            sent = replace(sent, signer="", signature="")
        if may:
            self.rules_are = "other"
            self.model.close()
        [said] = [one for one in self.take(sent) if isinstance(one, Entry) and one.kind.startswith("activ")]
        assert (said.kind == "activation") == may

    @invariant()
    def both_agree(self) -> None:
        if hasattr(self, "model"):
            assert self.state == self.model.state

    def teardown(self) -> None:
        """The log again, in one batch: the same bytes; with more ticks: the same, too."""
        if not hasattr(self, "log"):
            return
        said = [encode_output(one, 1) for one in self.said]
        assert [encode_output(one, 1) for one in self.fresh().step(self.log)] == said
        dense: list[Input] = []
        for before, value in zip([None, *self.log], self.log, strict=False):
            if isinstance(value, Tick) and before is not None:
                last = max(one.time_ns for one in dense if isinstance(one, Tick))
                dense += [tick(at_ns) for at_ns in range(last + HALF // 2, value.time_ns, HALF // 2)]
            dense.append(value)
        by_ticks = [encode_output(one, 1) for one in self.fresh().step(dense)]
        assert by_ticks == said


AlarmMachine.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
test_alarm_machine = AlarmMachine.TestCase

"""A plant of two pumps whose alarms the engine's own words are about, and recordings of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from rules.engine.cause import input_cause
from rules.engine.facts import Told
from rules.engine.inputs import Action, ActionKind, Fact, Identity, Tick
from rules.engine.outputs import Output, Severity
from rules.engine.statements import Statements
from rules.engine.tables import Spoken
from rules.site.model import Site
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.wire import Message, encode_input, encode_output
from tests.support.small_sites import OPENING

S = 1_000_000_000
MIN = 60 * S
HOUR = 60 * MIN
T0 = 1_767_225_600 * S
SITE = (
    OPENING
    + """\
  row-a:
    assets: {P-1: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}}}
  row-b:
    assets: {P-2: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}}}
"""
)
RULES = """
rules:
  slow: {for: Pump, when: PumpSpeed < 50 percent, severity: high, message: "{asset}: {value:.0f} %"}
"""


def _tells_nobody(part: Told, at_ns: int, value: float, known: float) -> Fact:
    raise AssertionError("no alarm here explains one of another unit")


class Unit:
    """Says what the engine would, at times in s from `T0`."""

    def __init__(self, site: Site, unit: str = "row-a", asset: str = "P-1") -> None:
        self._statements = Statements(site.units[unit], site, Counter(), _tells_nobody)
        self._unit, self._asset, self._inputs = unit, asset, 0
        self.outputs: list[Output] = []

    def _cause(self):  # type: ignore[no-untyped-def]
        self._inputs += 1
        return input_cause(self._unit, Identity("plc", 1, self._inputs))

    def up(self, at_s: float, rule: str = "slow", severity: Severity = "high") -> str:
        """The condition becomes true; the id of the occurrence."""
        at_ns = T0 + round(at_s * S)
        self._statements.advance(self.outputs, at_ns)
        self._statements.raise_alarm(
            self.outputs, self._cause(), rule, self._asset, severity, at_ns, 1.0, rule
        )
        return self._statements.standing[rule, self._asset].raised_id

    def down(self, at_s: float, rule: str = "slow", latches: bool = False) -> None:
        at_ns = T0 + round(at_s * S)
        self._statements.advance(self.outputs, at_ns)
        self._statements.clear_alarm(
            self.outputs, self._cause(), rule, self._asset, at_ns, 1.0, rule, latches
        )

    def act(
        self, at_s: float, kind: ActionKind, rule: str = "slow", occurrence: str = "", for_s: float = 0
    ) -> None:
        at_ns = T0 + round(at_s * S)
        self._statements.advance(self.outputs, at_ns)
        action = Action(
            self._unit, Identity("action:ann", 1, self._inputs + 1), kind, rule, self._asset, "ann", at_ns,
            occurrence=occurrence, until_ns=at_ns + round(for_s * S), comment="why",
        )  # fmt: skip
        spoken = Spoken(rule, "", "high", "", (), {}, False, "", 0, 0, False)
        self._statements.act(self.outputs, self._cause(), action, spoken, at_ns, "", {"signed": False})

    def until(self, at_s: float) -> list[Output]:
        """All that was said up to a time."""
        self._statements.advance(self.outputs, T0 + round(at_s * S))
        return self.outputs


@pytest.fixture(scope="session")
def site_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "rules").mkdir()
    (folder / "site.yaml").write_text(SITE)
    (folder / "rules" / "pumps.yaml").write_text(RULES)
    return folder


@pytest.fixture(scope="session")
def site(site_dir: Path) -> Site:
    return load_site(site_dir)


Messages = list[tuple[int, Message]]
"""Each with its event time in ns."""


def log_of(outputs: Iterable[Output], ticks_ns: Iterable[int], unit: str = "row-a") -> Messages:
    """What is on the log, in its order: outputs before the tick that follows them."""
    said = [
        (value.at_ns, 0, encode_output(value, 2))  # type: ignore[union-attr]
        for value in outputs
    ]
    ticked = [
        (at_ns, 1, encode_input(Tick(unit, Identity("ticker", 0, at_ns // S), at_ns), 2))
        for at_ns in ticks_ns
    ]
    return [(at_ns, message) for at_ns, _, message in sorted([*said, *ticked], key=lambda one: one[:2])]


Write = Callable[..., list[Path]]


@pytest.fixture
def write(tmp_path: Path, site_dir: Path, site: Site) -> Write:
    """Writes a log as recordings that follow each other, cut at places in it."""

    def written(log: Messages, cuts: Sequence[int] = (), without: Sequence[str] = ()) -> list[Path]:
        attachments = site_attachments(rule_set_of(site_dir, site))
        metadata = recording_metadata(site, attachments)
        offsets: Counter[tuple[str, int]] = Counter()
        edges = [0, *sorted(cuts), len(log)]
        paths = []
        for number, (first, last) in enumerate(pairwise(edges)):
            path = tmp_path / f"part-{len(list(tmp_path.iterdir()))}-{number}.mcap"
            with RecordingWriter(path, attachments=attachments, metadata=metadata) as writer:
                for at_ns, message in log[first:last]:
                    if message.topic in without:
                        continue
                    place = message.topic, message.partition
                    record = Record(*place, offsets[place], 1, message.key, message.value, message.headers)
                    offsets[place] += 1
                    writer.write(record, at_ns)
            paths.append(path)
        return paths

    return written

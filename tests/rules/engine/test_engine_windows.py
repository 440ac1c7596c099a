"""Every function of time at the edges of panes and windows: the engine and its twin agree to the last digit.

A rule's `when` turns with each sample and is no concern here: what it shows are the functions' values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Input, Readings
from rules.gpu_fields import FIELD_INDEX
from rules.language.program import Program, Rule, make_program
from rules.language.terms import FUNCTIONS, WINDOWED, Limit, Term
from tests.rules.engine.plant import MS, START, UNIT, S, frame, site, tick
from tests.rules.engine.terms_of_rules import NUMBERS, literal, point
from tests.rules.engine.twin import Twin
from tests.support.examples import examples

GPUS = ("R1-T1-G1", "R1-T1-G2")
SIGNALS: Mapping[str, tuple[tuple[str, ...], Term, Term]] = {
    "GPU": (GPUS, Term("field", signal="temperature"), Term("field", signal="xid")),
    "Rack": (
        ("R1",),
        point("RackLiquidFlow", {"R1": "R1.RackLiquidFlow"}),
        point("RackPower", {"R1": "R1.RackPower"}),
    ),
}
WINDOWS_NS = (7 * MS, 300 * MS, 1600 * MS)
THIRD = Limit(1 / 3, {"R1-T1-G2": 0.1})


def program(window_ns: int) -> Program:
    """A rule for each function and kind of asset: of a signal, of a third or a tenth of it, and of its rate;
    over a window, and since a condition.
    """
    rules = {}
    for kind, (assets, watched, turning) in SIGNALS.items():
        parts = (
            watched,
            Term("mul", (watched, Term("number", number=THIRD))),
            Term("rate", (watched,), window_ns=window_ns),
        )
        anew = (
            Term("gt", (turning, literal(20.0))) if kind == "Rack" else Term("gt", (watched, literal(55.0)))
        )
        for op, since in [(op, ()) for op in sorted(FUNCTIONS)] + [(op, (anew,)) for op in sorted(WINDOWED)]:
            shown = {}
            for name, part in zip(("value", "part", "outer"), parts, strict=True):
                args: tuple[Term, ...] = (part,)
                if op in ("count", "since"):
                    args = (Term("gt", (part, literal(16.0))),)
                elif op == "cusum":
                    args = (part, turning, literal(5.0))
                over_time = (op in WINDOWED and not since) or op == "ewma"
                shown[name] = Term(op, (*args, *since), window_ns=window_ns if over_time else 0)
            name = f"{kind.lower()}-{op}{'-anew' if since else ''}"
            when = Term("ne", (turning, literal(0.0)))
            text = "{value:.17g} {part:.17g} {outer:.17g}"
            rules[name] = Rule(
                name, kind, assets, when, None, None, {}, 0, 0, "low", text, shown
            )  # fmt: skip
    return make_program(rules, site().digest)


PROGRAMS = {window_ns: program(window_ns) for window_ns in WINDOWS_NS}


def readings(sequence: int, at_ns: int, flow: float, power: float) -> Readings:
    """The watched point, and 1 us later the one that turns."""
    return Readings(
        UNIT,
        Identity("plant", 1, sequence),
        at_ns,
        ("R1.RackLiquidFlow", "R1.RackPower"),
        np.array([at_ns, at_ns + 1000]),
        np.zeros(2, np.int64),
        np.array([flow, power]),
        np.zeros(2, np.uint8),
        np.zeros(2, np.uint32),
    )


@st.composite
def logs(draw: st.DrawFn, window_ns: int) -> list[Input]:
    """Samples some panes apart, or a nanosecond more or less, or within a pane."""
    pane_ns = window_ns // 16
    steps_ns = [pane_ns * panes + more for panes in (1, 2, 15, 16, 17, 18, 32, 33) for more in (-1, 0, 1)]
    steps = st.sampled_from([pane_ns // 3, pane_ns // 7, pane_ns] * 20 + steps_ns)
    numbers = st.sampled_from((*NUMBERS, np.nan))
    log: list[Input] = []
    at_ns = (START // pane_ns) * pane_ns + pane_ns
    samples = draw(st.lists(st.tuples(steps, numbers, numbers), min_size=20, max_size=80))
    now_ns = -1
    for n, (step_ns, first, second) in enumerate(samples, 1):
        at_ns += step_ns
        if at_ns // (100 * MS) * 100 * MS != now_ns:
            now_ns = at_ns // (100 * MS) * 100 * MS
            log.append(tick(now_ns))
        gpus = frame(n, at_ns, [first, second], gpus=(0, 1))
        gpus.values[:, :, FIELD_INDEX["xid"]] = n % 2
        log += [gpus, readings(n, at_ns, first, n % 2 * 40.0)]
    log.append(tick(now_ns + S))
    return log


@settings(
    max_examples=examples(20),
    deadline=None,
    phases=[p for p in Phase if p is not Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data(), st.sampled_from(WINDOWS_NS))
def test_functions_at_the_edges_of_panes_equal_their_twins(data: st.DataObject, window_ns: int) -> None:
    engine = Engine(PROGRAMS[window_ns], site(), UNIT)
    twin = Twin(PROGRAMS[window_ns], site(), UNIT)
    for value in data.draw(logs(window_ns)):
        assert engine.step([value]) == twin.step([value])


def test_a_frame_of_more_samples_than_a_block_holds_equals_its_twin() -> None:
    """Eight GPUs and 120 samples: the kernel takes them in parts, windows and panes go on over their edges."""
    engine, twin = Engine(PROGRAMS[300 * MS], site(), UNIT), Twin(PROGRAMS[300 * MS], site(), UNIT)
    for n in range(1, 5):
        now_ns = START + n * S
        times_ns = [now_ns - 7 * MS * back for back in range(119, -1, -1)]
        gpus = frame(n, now_ns, 0.0, asset=UNIT, gpus=range(8), times_ns=times_ns)
        samples = np.arange(120)
        gpus.values[:, :, FIELD_INDEX["temperature"]] = ((n * samples) % 13)[:, None] + np.arange(8)
        gpus.values[:, :, FIELD_INDEX["xid"]] = (samples // 9 % 2)[:, None]
        gpus.quality[40:50, 1] = 1
        log: list[Input] = [tick(now_ns), gpus]
        said = twin.step(log)
        assert said
        assert engine.step(log) == said

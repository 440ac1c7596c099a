"""The load of the pipeline bench is what a gateway would send."""

from itertools import islice
from pathlib import Path

from gateways.bench.pipeline import backlog
from rules.engine.inputs import Frame, Tick
from streams.site_folder import load_site
from streams.wire import decode_input

SITE = load_site(Path(__file__).parents[3] / "examples" / "narvik")


def test_every_copy_has_its_own_sequence_and_time() -> None:
    inputs = [
        decode_input(message.key, message.headers, message.value)
        for message in islice(backlog(SITE, 100, 3, 1_000_000_000, 3), 9)
    ]
    frames = [value for value in inputs if isinstance(value, Frame) and value.asset == "R01"]
    assert [(frame.identity.sequence, int(frame.time_ns[0])) for frame in frames] == [
        (1, 1_000_000_000),
        (2, 1_100_000_000),
        (3, 1_200_000_000),
    ]
    assert {frame.ingest_ns - int(frame.time_ns[0]) for frame in frames} == {0}
    rest = [value for value in inputs if isinstance(value, Frame) and value.asset == "R02"]
    assert {frame.values.shape for frame in rest} == {(1, 28, 24)}
    assert [value.time_ns for value in inputs if isinstance(value, Tick)] == [
        1_000_000_000,
        1_100_000_000,
        1_200_000_000,
    ]

"""What workers say of themselves, among what others say on the same topic."""

from __future__ import annotations

import orjson
import pytest

from gateways.cli.workers import Workers
from streams.record import Record
from streams.topics import STATUS

SAID = {
    "role": "headrace-0",
    "kind": "worker",
    "state": "ready",
    "at_ns": 5,
    "metrics": {"rule_sets": {"ready": ["a"]}, "rules": {"row-a": "a"}},
}


def said(value: bytes | None) -> Record:
    return Record(STATUS.name, 0, 0, 0, b"worker-0", value, ())


@pytest.mark.parametrize(
    "other",
    [
        None,
        b"nothing",
        b"[]",
        b'{"metrics": 3}',
        b'{"metrics": {"rule_sets": {"ready": []}}}',
        b'{"role": "ticker", "at_ns": 5, "metrics": {"last_tick_ns": 5}}',
        orjson.dumps(SAID | {"at_ns": "now"}),
        orjson.dumps(SAID | {"role": "headrace-1", "kind": "ticker"}),
        orjson.dumps(SAID | {"metrics": {"rule_sets": 7}}),
        orjson.dumps(SAID | {"metrics": {"rule_sets": {"ready": [["a"]]}}}),
    ],
)
def test_what_is_no_worker_s_status_says_nothing(other: bytes | None) -> None:
    workers = Workers()
    workers.note([said(orjson.dumps(SAID)), said(other)])
    assert [one.rules for one in workers.since(4)] == [{"row-a": "a"}]
    assert workers.since(5) == []

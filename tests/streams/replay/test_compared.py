"""By what an output is known in a comparison: all of its bytes, but a journal line's place in the chain."""

from __future__ import annotations

from dataclasses import replace

from rules.engine.chain import entry_bytes
from rules.engine.outputs import Alarm, Entry
from streams.replay.replayed import compared
from streams.wire import encode_output

DETAIL = {"number": 7, "previous": 'x","number":1,"previous":"ab"},"id":'}
LINE = Entry("row:plc:1:1:0", "row", "gap", 5, DETAIL, 12, "cd" * 32)


def test_a_line_is_known_without_its_place() -> None:
    said = compared(LINE, entry_bytes(LINE))
    other = replace(LINE, number=1, previous="")
    assert said == compared(other, entry_bytes(other))
    assert said == entry_bytes(LINE).replace(b',"number":12,"previous":"' + b"cd" * 32 + b'"', b"")
    assert compared(LINE, said) == said  # as it was before lines had one


def test_every_other_byte_makes_a_difference() -> None:
    said = compared(LINE, entry_bytes(LINE))
    assert compared(LINE, entry_bytes(LINE) + b" ") != said
    other = replace(LINE, detail={**DETAIL, "number": 8})
    assert compared(other, entry_bytes(other)) != said
    alarm = Alarm(
        "a", "row", "r", "x", "low", "normal", "a", 1, None, 1.0, ',"number":1,"previous":""},"id":'
    )
    value = encode_output(alarm, 1).value or b""
    assert compared(alarm, value) == value

"""What is printed of an alarm."""

from __future__ import annotations

from dataclasses import replace

from gateways.plain import told
from rules.engine.outputs import Alarm

ALARM = Alarm(
    "row:plc:1:1:0", "row", "low", "R1", "high", "unacknowledged", "row:plc:1:1:0", 1, None, 1.0, "R1 is low"
)


def test_a_comment_is_one_line_that_does_nothing_to_a_terminal() -> None:
    """Whoever may comment could else write over the alarms of others, in the list of whoever looks."""
    worded = replace(ALARM, by="åse", comment="seen,\n\x1b[2J\x9b2J\u202eso far\ud800 «ok»")
    assert told(worded) == r"R1 is low (åse: seen,\n\x1b[2J\x9b2J\u202eso far\ud800 «ok»)"
    assert told(replace(ALARM, message="\x1b[2Jall is well")) == r"\x1b[2Jall is well"

"""The table of topics in docs/kafka.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from streams.topics import TOPICS, Topic

PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"
DAY_MS = 24 * 3600 * 1000


def row(topic: Topic) -> str:
    kept = "for good" if topic.cleanup == "compact" else f"{topic.retention_ms // DAY_MS} d"
    cells = (
        f"`{topic.name}`",
        topic.holds,
        topic.key,
        str(topic.partitions or "as set"),
        topic.cleanup,
        kept,
    )
    return f"| {' | '.join(cells)} |"


def test_every_topic_is_on_the_page_as_it_is() -> None:
    lines = PAGE.read_text().splitlines()
    begin = lines.index("| topic | holds | key | partitions | cleanup | kept for |") + 2
    assert lines[begin : begin + len(TOPICS) + 1] == [*map(row, TOPICS), ""]
    assert {topic.max_message_bytes for topic in TOPICS} == {1048576}
    own = [(topic.name, name, value) for topic in TOPICS for name, value in topic.config.items()]
    assert own == [(name, "min.compaction.lag.ms", "3600000") for name in ("alarms", "owners")], (
        "as the page says"
    )

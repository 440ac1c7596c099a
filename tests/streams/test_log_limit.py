"""A library that repeats itself is heard once a period, with a count."""

import logging

import pytest

from streams.log_limit import AIOKAFKA_LOGGERS, LogLimit, limit_logs, limited


def record(text: str, name: str = "aiokafka") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, ("x",), None)


def test_repeats_are_held_back_and_counted() -> None:
    now = 0.0
    limit = LogLimit(10, lambda: now)
    assert limit.filter(record("can't reach %s"))
    assert [limit.filter(record("can't reach %s")) for _ in range(5)] == [False] * 5
    assert limit.filter(record("another %s")), "another template is another matter"
    assert limit.filter(record("can't reach %s", "aiokafka.conn")), "and so is another logger"
    now = 11.0
    late = record("can't reach %s")
    assert limit.filter(late)
    assert late.getMessage() == "can't reach x (and 5 times more before)"
    now = 22.0
    assert limit.filter(record("can't reach %s"))


def test_what_the_bus_says_itself_is_left_out() -> None:
    assert not LogLimit().filter(record("Unexpected error during InitProducerIdRequest: %s"))


def test_a_logger_gets_one_limit() -> None:
    limit_logs()
    limit_logs()
    for name in AIOKAFKA_LOGGERS:
        assert sum(isinstance(given, LogLimit) for given in logging.getLogger(name).filters) == 1


def test_what_we_say_again_and_again_is_limited_and_other_words_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(5):
        limited("headrace.tried").warning("no broker: %s", "x")
        logging.getLogger("headrace.tried").warning("said each time")
    assert caplog.messages.count("no broker: x") == 1
    assert caplog.messages.count("said each time") == 5
    assert limited("headrace.tried") is limited("headrace.tried")
    assert len(limited("headrace.tried").filters) == 1

"""Log lines for machines: one object each, with the ids that the code gives."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from gateways.observability.logs import log_to_stderr


@contextlib.contextmanager
def logging_as(name: str, role: str, form: Literal["text", "json"]) -> Iterator[None]:
    """Without the handlers that pytest has at the root."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = []
    log_to_stderr(name, role, form)
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_is_an_object_with_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pythonjsonlogger")
    with logging_as("actuators-2", "actuators", "json"):
        logging.getLogger("headrace").warning(
            "%s: refused", "row-a:R:x", extra={"command": "row-a:R:x", "unit": "row-a"}
        )
    line = json.loads(capsys.readouterr().err)
    at = line.pop("at")
    assert at.endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": "headrace", "message": "row-a:R:x: refused",
        "role": "actuators", "instance": "actuators-2", "command": "row-a:R:x", "unit": "row-a",
    }  # fmt: skip


def test_an_exception_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pythonjsonlogger")
    with logging_as("worker", "worker", "json"):
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("headrace").exception("it\nfailed")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "it\nfailed"
    assert "ValueError: odd" in json.loads(line)["exc_info"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as("worker-2", "worker", "text"):
        logging.getLogger("headrace").info("it works", extra={"unit": "row-a"})
    assert capsys.readouterr().err.endswith(" worker-2 INFO it works\n")


def test_a_record_is_one_line_whatever_a_peer_says(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as("scada", "scada", "text"):
        forged = "x\n2026-11-28 12:00:00,000 scada INFO \x1b[2J\x1b]0;all is well\x07"
        logging.getLogger("headrace").warning("nobody trusts %s", forged)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        r"WARNING nobody trusts x\n2026-11-28 12:00:00,000 scada INFO \x1b[2J\x1b]0;all is well\x07"
    )


def test_a_traceback_is_indented_below_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as("scada", "scada", "text"):
        try:
            raise ValueError("x\n2026-11-28 12:00:00,000 scada INFO \x1b[2J")
        except ValueError:
            logging.getLogger("headrace").exception("a request failed", stack_info=True)
    line, *rest = capsys.readouterr().err.splitlines()
    assert line.endswith(" scada ERROR a request failed")
    assert all(one.startswith("    ") for one in rest)
    assert r"    2026-11-28 12:00:00,000 scada INFO \x1b[2J" in rest

"""What a process logs on stderr: lines for people, or an object a line for machines.

Ids go with a record as `extra={"command": …, "unit": …}`: fields of the object, and no part of the text.
In text a record is one line, whatever a peer has put into it; what an exception adds is indented below it.
"""

from __future__ import annotations

import logging
import sys
from textwrap import indent
from typing import Any, Final, Literal

from gateways.printable import printable, printable_lines

_INDENT: Final = "    "
_NOISY = ("asyncua", "aiokafka", "faust", "mode")


def log_to_stderr(name: str, role: str, form: Literal["text", "json"]) -> None:
    """Set up the root logger of a process: `name` is the instance."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json(name, role) if form == "json" else _text(name))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own
        return indent(printable_lines(super().formatException(ei)), _INDENT)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's own
        return indent(printable_lines(super().formatStack(stack_info)), _INDENT)


def _text(name: str) -> logging.Formatter:
    return _Text(f"%(asctime)s {name} %(levelname)s %(message)s")


def _json(name: str, role: str) -> logging.Formatter:
    from pythonjsonlogger.orjson import OrjsonFormatter

    return OrjsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"role": role, "instance": name},
        timestamp="at",
    )

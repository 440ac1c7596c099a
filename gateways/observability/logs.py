"""What a process logs on stderr: lines for people, or an object a line for machines.

Ids go with a record as `extra={"command": …, "unit": …}`: fields of the object, and no part of the text.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

_NOISY = ("asyncua", "aiokafka", "faust", "mode")


def log_to_stderr(name: str, role: str, form: Literal["text", "json"]) -> None:
    """Set up the root logger of a process: `name` is the instance."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json(name, role) if form == "json" else _text(name))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _text(name: str) -> logging.Formatter:
    return logging.Formatter(f"%(asctime)s {name} %(levelname)s %(message)s")


def _json(name: str, role: str) -> logging.Formatter:
    from pythonjsonlogger.orjson import OrjsonFormatter

    return OrjsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"role": role, "instance": name},
        timestamp="at",
    )

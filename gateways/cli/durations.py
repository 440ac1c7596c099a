"""Times as people type them: `40s`, `5min`, `1.5h`, `250ms`."""

from __future__ import annotations

import re

from rules.errors import ConfigurationError
from rules.findings import Finding

_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)\s*")


def seconds_of(text: str, what: str) -> float:
    """Seconds in `text`; ConfigurationError names `what` when it can't be read."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            [Finding(what, 0, 0, f"{text!r} is no time", "write for example 40s, 5min or 1h")]
        )
    return float(match[1]) * _SECONDS[match[2]]


def duration_s(text: str, what: str) -> float:
    """As `seconds_of`, for how long something goes on: 0 is refused too."""
    seconds = seconds_of(text, what)
    if seconds <= 0.0:
        raise ConfigurationError([Finding(what, 0, 0, f"{text!r} leaves no time", "write for example 40s")])
    return seconds

"""How the twin names what it says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

Key = tuple[str, str]
"""Rule and asset."""
Ids = Callable[[], str]
"""The next id of one cause at each call."""


def numbered(*parts: Any) -> Ids:
    numbers = count()
    return lambda: ":".join(map(str, (*parts, next(numbers))))

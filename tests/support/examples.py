"""How many examples a property test tries: a few for each commit, ten times as many at night."""

from __future__ import annotations

import os


def examples(each_commit: int) -> int:
    """`make test-night` sets HEADRACE_EXAMPLES_TIMES."""
    return each_commit * int(os.environ.get("HEADRACE_EXAMPLES_TIMES", "1"))

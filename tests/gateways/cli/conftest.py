"""The small run of the replay tests, for commands that read recordings."""

from tests.streams.compare.conftest import made, written

__all__ = ["made", "written"]

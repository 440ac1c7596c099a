"""All targets, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools.fuzz.edge_targets import EDGE_TARGETS
from tools.fuzz.file_targets import FILE_TARGETS
from tools.fuzz.log_targets import LOG_TARGETS
from tools.fuzz.recording_targets import RECORDING_TARGETS
from tools.fuzz.role_targets import ROLE_TARGETS
from tools.fuzz.runner import Prepare

TARGETS: Final[Mapping[str, Prepare]] = {
    **LOG_TARGETS,
    **ROLE_TARGETS,
    **FILE_TARGETS,
    **RECORDING_TARGETS,
    **EDGE_TARGETS,
}

"""The JSON schema for editors knows the keys that the language knows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from rules.engine.outputs import Severity
from rules.language.limits import DEFAULTS, ROWS
from rules.language.load import TOP_KEYS
from rules.language.rule_reader import KEYS
from rules.strict_yaml import load

ROOT = Path(__file__).parents[3]
SCHEMA: dict[str, Any] = json.loads((ROOT / "rules" / "language" / "rules.schema.json").read_text("utf-8"))
RULE = SCHEMA["$defs"]["rule"]["properties"]


def test_keys_are_those_of_the_language() -> None:
    assert set(SCHEMA["properties"]) == set(TOP_KEYS)
    assert set(RULE) == set(KEYS)
    assert set(RULE["limits"]["properties"]) == {"of", *DEFAULTS, *ROWS}
    assert set(SCHEMA["$defs"]["row"]["properties"]) == {"limit", *DEFAULTS}
    assert set(RULE["severity"]["enum"]) == set(get_args(Severity))


def test_durations_and_names_of_the_example_fit() -> None:
    name = re.compile(SCHEMA["properties"]["rules"]["propertyNames"]["pattern"])
    for path in sorted((ROOT / "examples" / "narvik" / "rules").glob("*.yaml")):
        root, _ = load(path.read_text(encoding="utf-8"), path.name)
        assert root is not None
        for rule, node in root.entries["rules"].entries.items():
            assert name.search(rule)
            for key in ("on_delay", "off_delay", "after"):
                if key in node.entries:
                    assert re.search(RULE[key]["pattern"], node.entries[key].scalar)

"""Schemas for kubeconform out of the wheel of kubernetes-validate: `kubernetes_schemas.py WHEEL 1.34 FOLDER`.

Each kind of object is a file there that refers to one file of definitions by an address; kubeconform would ask the
network for it. In FOLDER they refer to the file beside them, and its names are those that kubeconform's
`FOLDER/{{.ResourceKind}}{{.KindSuffix}}.json` asks for. The schemas are the strict ones: an unknown key is refused.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

DEFINITIONS = "_definitions.json"


def without_address(part: Any) -> Any:
    """A part of a schema whose references to the definitions are relative."""
    if isinstance(part, list):
        return [without_address(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {name: without_address(item) for name, item in part.items()}
    reference = found.get("$ref")
    if isinstance(reference, str) and DEFINITIONS in reference:
        found["$ref"] = reference[reference.index(DEFINITIONS) :]
    return found


def main(wheel: Path, version: str, folder: Path) -> int:
    """Write the schemas; 1 where the wheel has none of that version."""
    inside = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/"
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(inside) and name.endswith(".json")]
        if not names:
            print(f"{wheel.name} has no schemas of Kubernetes {version}", file=sys.stderr)
            return 1
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            schema = without_address(json.loads(archive.read(name)))
            schema.pop("$id", None)  # by it a relative reference would be one to that address
            (folder / Path(name).name).write_text(json.dumps(schema))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))

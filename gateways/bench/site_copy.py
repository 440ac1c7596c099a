"""A copy of a site's folder for a bench, with rules of the bench beside its own or in their place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rules.errors import UnreachableError
from streams.site_folder import load_site

_RULES_LINE: Final = re.compile(r"^rules: *\[(.*)\]$", re.MULTILINE)
_FOLDER: Final = "bench-rules"


def site_copy(site_dir: Path, folder: Path, rules: str, with_own: bool = True) -> Path:
    """Make `folder` with the site file and `rules` (YAML text); its own stay where they are. UnreachableError."""
    load_site(site_dir)  # what is wrong with it is said in its own words
    text = (site_dir / "site.yaml").read_text()
    found = _RULES_LINE.search(text)
    if found is None:
        raise UnreachableError(f"{site_dir / 'site.yaml'} has no line 'rules: […]', the bench needs one")
    own = [str((site_dir / name.strip()).resolve()) for name in found[1].split(",") if with_own]
    (folder / _FOLDER).mkdir(parents=True)
    (folder / "site.yaml").write_text(text.replace(found[0], f"rules: [{', '.join([*own, _FOLDER])}]"))
    (folder / _FOLDER / "bench.yaml").write_text(rules)
    return folder

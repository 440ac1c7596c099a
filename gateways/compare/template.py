"""The templates of the pages, which lie beside the modules that fill them: `compare/page.html.j2`.

Rules: every text is escaped, unless it is marked as markup; a name that a page lacks is an error, and no gap in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def filled(template: str, **shown: Any) -> str:
    """A template with what it shows, as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(shown)

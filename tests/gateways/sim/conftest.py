"""The demo site, read once; a plant of it is cheap to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.site.model import Site
from streams.site_folder import load_site

SITE = Path(__file__).parents[3] / "examples" / "narvik"


@pytest.fixture(scope="session")
def site() -> Site:
    return load_site(SITE)

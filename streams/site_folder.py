"""A site is a folder with a `site.yaml`: read it. The one place that opens site files."""

from __future__ import annotations

from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from rules.site.parse import parse_site
from streams.text_file import plain_text, unreadable

SITE_FILE = "site.yaml"


def read_site_text(folder: Path) -> tuple[str, str]:
    """(text, file name for findings) of the site file. Raises ConfigurationError where there is none."""
    file = folder / SITE_FILE
    try:
        return plain_text(file), str(file)
    except FileNotFoundError:
        message = (
            f"no site: the folder has no {SITE_FILE}" if folder.is_dir() else f"no site: no folder '{folder}'"
        )
        hint = "name a site folder, such as examples/narvik"
    except NotADirectoryError:
        message, hint = f"'{folder}' is a file", f"name the folder that holds {SITE_FILE}"
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([unreadable(str(file), error)]) from None
    raise ConfigurationError([Finding(str(file), 0, 0, message, hint)])


def load_site(folder: Path) -> Site:
    """The site of `folder`. Raises ConfigurationError with every finding where there is none or it is wrong."""
    text, name = read_site_text(folder)
    site, findings = parse_site(text, name)
    if site is None:
        raise ConfigurationError(findings)
    return site

"""Writes users into `users.yaml`: what is there, comments as well, stays as it is; nothing wrong is ever written."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from gateways.access.users_file import USERS_FILE, parse_users
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.text_file import read_text

_BEGIN: Final = "# Who may do what (docs/access.md). `headrace users apply` makes it rule.\nusers: {}\n"


def put_user(site_dir: Path, name: str, fields: Mapping[str, Any]) -> Path:
    """Add a user; the file is made where there is none, readable by its owner only. ConfigurationError: it is wrong."""
    file = site_dir / USERS_FILE
    if not site_dir.is_dir():
        raise ConfigurationError([Finding(str(site_dir), 0, 0, "there is no such folder")])
    text = read_text(file, str(file)) if file.exists() else _BEGIN
    if file.exists() and name in parse_users(text, str(file)).users:
        raise ConfigurationError(
            [Finding(str(file), 0, 0, f"there is a user '{name}' already", "edit the file")]
        )
    yaml = YAML()
    yaml.width = 1000
    document = yaml.load(text)
    if not document["users"]:  # `{}` goes on in lines of its own
        document["users"].fa.set_block_style()
    document["users"][name] = {key: value for key, value in fields.items() if value}
    out = io.StringIO()
    yaml.dump(document, out)
    parse_users(out.getvalue(), str(file))
    _write(file, out.getvalue())
    return file


def _write(file: Path, text: str) -> None:
    """All of it or nothing; the mode stays that of the file before."""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    try:
        descriptor, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(part).chmod(mode)
        Path(part).rename(file)
    except OSError as error:
        raise ConfigurationError([Finding(str(file), 0, 0, f"can't be written: {error.strerror}")]) from None

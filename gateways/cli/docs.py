"""`headrace docs rules`: alarm response sheets, made from the rule files themselves (Markdown); `docs asyncapi`: what
others may read, made from the code (JSON).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import orjson

from gateways.asyncapi import asyncapi
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.language.sheets import Sheet, sheets
from rules.site.model import Site
from streams.rule_sets.rule_folder import load_program, rule_texts
from streams.site_folder import load_site

_SAID = {
    "when": "When",
    "until": "Until",
    "deadband": "Dead-band",
    "after": "After",
    "on_delay": "On-delay",
    "off_delay": "Off-delay",
}


def docs_rules(site_dir: Path, output: Path | None, as_json: bool) -> int:
    """Print the page, or write it to `output`; 0. Raises ConfigurationError when a rule is wrong."""
    site = load_site(site_dir)
    program = load_program(site_dir, site)
    found = sheets(rule_texts(site_dir, site), program)
    if as_json:
        text = orjson.dumps([asdict(sheet) for sheet in found]).decode() + "\n"
    else:
        text = "\n".join(_page(site, found)) + "\n"
    _put(text, output)
    return 0


def docs_asyncapi(site_dir: Path, output: Path | None) -> int:
    """Print the document, or write it to `output`; 0."""
    document = asyncapi(load_site(site_dir), version("headrace"))
    _put(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n", output)
    return 0


def _put(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            [Finding(str(output), 0, 0, f"can't be written: {error.strerror or error}")]
        ) from None


def _page(site: Site, found: Sequence[Sheet]) -> Iterator[str]:
    yield f"# Alarms of {site.name}"
    yield ""
    yield f"{len(found)} rules, most severe first. Made by `headrace docs rules`: change the rule files, not this page."
    yield ""
    yield "| alarm | severity | for | condition | acts |"
    yield "| --- | --- | --- | --- | --- |"
    for sheet in found:
        link = f"[{sheet.rule}](#{sheet.rule})"
        acts = "; ".join(sheet.actions)
        yield f"| {link} | {sheet.severity} | {sheet.asset_type} | `{sheet.condition['when']}` | {acts} |"
    for sheet in found:
        yield ""
        yield from _sheet(sheet)


def _sheet(sheet: Sheet) -> Iterator[str]:
    count = sheet.assets
    yield f"## {sheet.rule}"
    yield ""
    yield f"**{sheet.severity}**, for {count} {sheet.asset_type}{'' if count == 1 else 's'}. “{sheet.message}”"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for name, text in sheet.condition.items():
        yield f"| {_SAID[name]} | `{text}` |"
    yield f"| Cause | {_cell(sheet.cause) or 'not given'} |"
    yield f"| Response | {_cell(sheet.response) or 'not given'} |"
    for action in sheet.actions:
        yield f"| Headrace | `{action}` |"
    yield f"| Written in | {sheet.file}, line {sheet.line} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

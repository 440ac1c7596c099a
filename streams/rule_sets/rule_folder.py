"""Rule files of a site's folder to a program. The reading is here, the language in `rules/language`.

Rules: file names in findings are relative to the site's folder where they can be; the order of files means
nothing; a file that can't be read keeps no other from being read and checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.language.program import Program
from rules.site.model import Site
from rules.strict_yaml import load
from streams.site_folder import SITE_FILE, read_site_text
from streams.text_file import read_text

SUFFIXES = (".yaml", ".yml")


def read_rules(
    site_dir: Path, site: Site, override: Path | None = None
) -> tuple[dict[str, str], list[Finding]]:
    """Texts of the rule files by name, and what can't be read.

    The files are those that the site file names, or those of `override` (a folder or file).
    """
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    for path in [override] if override else [site_dir / name for name in site.rule_paths]:
        name = _name(path, site_dir)
        try:
            files = _files(path)
        except OSError as error:
            findings.append(Finding(name, 0, 0, f"can't be read: {error.strerror}"))
            continue
        if override is None and not path.exists():
            findings.append(_not_there(site_dir, name))
            continue
        if override is not None and (path / SITE_FILE).is_file():
            findings.append(_a_site(path, name))
            continue
        if not files:
            findings.append(Finding(name, 0, 0, "no rule file in this folder", "*.yaml or *.yml"))
        for file in files:
            name = _name(file, site_dir)
            try:
                texts[name] = read_text(file, name)
            except ConfigurationError as error:
                findings += error.findings
    return texts, findings


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)


def _not_there(site_dir: Path, name: str) -> Finding:
    """Where the site file names what isn't there, and what is there instead."""
    root, _ = load(read_site_text(site_dir)[0], SITE_FILE)
    rules = None if root is None else root.entries.get("rules")
    nodes = () if rules is None else rules.items or (rules,)
    others = [path.name for path in site_dir.iterdir() if path.is_dir() or path.suffix in SUFFIXES]
    hint = nearest(name, others) or "rules: the folders and files of rules, from the site's folder"
    for node in nodes:
        if node.scalar == name:
            return node.document.report(node.line, node.column, f"no folder or file '{name}'", hint)
    return Finding(name, 0, 0, "no such folder or file", hint)


def _a_site(path: Path, name: str) -> Finding:
    """Where a site's folder is given as one of rules."""
    hint = str(path / "rules") if (path / "rules").is_dir() else "the folder or file of its rules"
    return Finding(name, 0, 0, f"a site's folder, with a {SITE_FILE}, is no folder of rules", hint)


def _name(path: Path, site_dir: Path) -> str:
    return str(path.relative_to(site_dir)) if path.is_relative_to(site_dir) else str(path)


def rule_texts(site_dir: Path, site: Site, override: Path | None = None) -> dict[str, str]:
    """`read_rules`, where all of it must be readable. Raises ConfigurationError with what is not."""
    texts, findings = read_rules(site_dir, site, override)
    if findings:
        raise ConfigurationError(findings)
    return texts


def load_program(site_dir: Path, site: Site, override: Path | None = None) -> Program:
    """The program of a site. Raises ConfigurationError with every finding when a rule is wrong."""
    from rules.language.load import load_rules  # a start that finds tables of the rules does without

    texts, findings = read_as_opened(site_dir, site, override)
    program, of_rules = load_rules(texts, site)
    if program is None or findings:
        raise ConfigurationError([*findings, *of_rules])
    return program


def read_as_opened(
    site_dir: Path, site: Site, override: Path | None = None
) -> tuple[dict[str, str], list[Finding]]:
    """`read_rules`, with the names by which the user can open the files."""
    texts, findings = read_rules(site_dir, site, override)
    if override is None or override.is_relative_to(site_dir):  # else their names are what the user gave
        return as_opened(texts, findings, site_dir)
    return texts, findings


def as_opened(
    texts: Mapping[str, str], findings: Iterable[Finding], site_dir: Path
) -> tuple[dict[str, str], list[Finding]]:
    """Named from where the user stands, not from the site's folder, so that an editor finds file:line:column."""
    return (
        {str(site_dir / name): text for name, text in texts.items()},
        [replace(finding, file=str(site_dir / finding.file)) for finding in findings],
    )

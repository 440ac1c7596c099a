"""Rule files of a site's folder to a program. The reading is here, the language in `rules/language`.

Rules: file names in findings are relative to the site's folder where they can be; the order of files means
nothing.
"""

from __future__ import annotations

from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.language.load import load_rules
from rules.language.program import Program
from rules.site.model import Site

SUFFIXES = (".yaml", ".yml")


def rule_texts(site_dir: Path, site: Site, override: Path | None = None) -> dict[str, str]:
    """Texts of the rule files by name: those that the site file names, or those of `override` (a folder or file).

    Raises ConfigurationError for a path that is missing, holds no rule file or is no UTF-8 text.
    """
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    for path in [override] if override else [site_dir / name for name in site.rule_paths]:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            if not files:
                findings.append(Finding(str(path), 0, 0, "no rule file in this folder", "*.yaml or *.yml"))
        for file in files:
            name = str(file.relative_to(site_dir)) if file.is_relative_to(site_dir) else str(file)
            try:
                texts[name] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                findings.append(
                    Finding(name, 0, 0, f"can't be read: {reason}", "see 'rules' in the site file")
                )
    if findings:
        raise ConfigurationError(findings)
    return texts


def load_program(site_dir: Path, site: Site, override: Path | None = None) -> Program:
    """The program of a site. Raises ConfigurationError with every finding when a rule is wrong."""
    program, findings = load_rules(rule_texts(site_dir, site, override), site)
    if program is None:
        raise ConfigurationError(findings)
    return program

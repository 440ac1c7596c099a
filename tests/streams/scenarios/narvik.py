"""The example site, and short ways to read and run scenarios on it."""

from functools import cache
from pathlib import Path
from textwrap import indent

from rules.findings import Finding
from rules.language.program import Program
from rules.site.model import Site
from streams.rule_sets.rule_folder import load_program
from streams.scenarios.load import load_scenarios
from streams.scenarios.model import Scenario
from streams.scenarios.run import Result, RulesUnderTest, run
from streams.site_folder import load_site

FOLDER = Path(__file__).parents[3] / "examples" / "narvik"


@cache
def site() -> Site:
    return load_site(FOLDER)


@cache
def program() -> Program:
    return load_program(FOLDER, site())


@cache
def under_test() -> RulesUnderTest:
    return RulesUnderTest(program(), site())


def read(text: str) -> tuple[list[Scenario], list[Finding]]:
    """The scenarios of a file, given without its first key."""
    return load_scenarios({"s.yaml": "scenarios:\n" + indent(text, "  ")}, site(), program())


def outcome(text: str) -> Result:
    """What comes of the only scenario of `text`."""
    scenarios, findings = read(text)
    assert not findings, findings
    return run(scenarios[0], under_test())

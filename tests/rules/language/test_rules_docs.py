"""docs/rules.md: its examples are good on the example site, and it names every key and function."""

from __future__ import annotations

import re
from pathlib import Path

from rules.language.functions import FUNCTIONS
from rules.language.load import TOP_KEYS, load_rules
from rules.language.rule_reader import KEYS, LATER
from streams.rule_sets.rule_folder import rule_texts
from streams.scenarios.load import load_scenarios
from streams.scenarios.run import RulesUnderTest, run
from streams.site_folder import load_site

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
NARVIK = ROOT / "examples" / "narvik"


def test_every_example_is_good_beside_the_rules_of_the_site() -> None:
    site = load_site(NARVIK)
    first, _, *others = EXAMPLES
    for example in (first, *others):
        program, findings = load_rules({**rule_texts(NARVIK, site), "mine.yaml": example}, site)
        assert [str(finding) for finding in findings] == []
        assert program is not None


def test_the_first_rule_passes_its_test() -> None:
    site = load_site(NARVIK)
    program, _ = load_rules({**rule_texts(NARVIK, site), "mine.yaml": EXAMPLES[0]}, site)
    assert program is not None
    scenarios, findings = load_scenarios({"mine.yaml": EXAMPLES[1]}, site, program)
    assert findings == []
    under_test = RulesUnderTest(program, site)
    assert [run(scenario, under_test).problems for scenario in scenarios] == [(), ()]


def test_every_word_is_explained() -> None:
    words = {*TOP_KEYS, *KEYS, *LATER, *FUNCTIONS}
    assert {word for word in words if not re.search(rf"\b{word}\b", PAGE)} == set()
    forms = {function.form for function in FUNCTIONS.values()}
    assert {form for form in forms if f"`{form}`" not in PAGE} <= {"no_data(SIGNAL)"}

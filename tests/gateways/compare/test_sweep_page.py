"""The page of a sweep: what it shows, and that nothing in it is taken for markup."""

from __future__ import annotations

from dataclasses import replace

from gateways.compare.sweep_page import sweep_page
from gateways.compare.sweep_result import SweepResult
from rules.language.candidates import Parameter
from streams.compare.sweep import Candidate, Swept
from streams.compare.sweep_scores import Known, Score
from tests.rules.engine.plant import LOW, program

H = 3600 * 10**9
RULE = program(LOW).rules[0]


def score(number: int) -> Score:
    return Score(
        9 * number,
        None,
        number / 20,
        number // 4,
        12,
        12 - number // 2,
        -number * 10**9,
        number**3,
        None,
        0.01,
    )


def sweep() -> SweepResult:
    """Twenty candidates, the last of them refused, of a rule whose names are markup."""
    candidates = [
        Candidate(
            {} if not number else {"limit": f"{number} * <b>design</b>", "on_delay": "1 s"},
            replace(RULE, on_delay_ns=number),
        )
        for number in range(20)
    ]
    refused = Candidate({"limit": "0", "on_delay": "1 s"}, None, "'until' is true where <i>'when'</i> is")
    return SweepResult(
        "flow-<script>low",
        "site & <more>",
        {"limit": Parameter("0.7 * <b>design</b>", ""), "on_delay": Parameter("", "s")},
        [*candidates, refused],
        [*(score(number) for number in range(20)), None],
        [(0, 10 * H)],
        Known(reference=()),
        "the rule <other>",
        Swept([], 0, 10 * H, lacks=["<chunk> 3"]),
        "",
    )


def test_texts_are_no_markup_and_everything_is_there() -> None:
    text = sweep_page(sweep())
    for markup in ("<script", "<b>design", "<i>", "<more>", "<other>", "<chunk>"):
        assert markup not in text
    for shown in (
        "flow-&lt;script&gt;low",
        "site &amp; &lt;more&gt;",
        "&lt;chunk&gt; 3",
        "#19",
        "as it is ★",
        "; no candidate beats it. To be detected",
        "where &lt;i&gt;",
    ):
        assert shown in text
    assert "20 candidates, 0 worth a look" in text
    assert text.count("<svg") == 1


def test_without_anything_to_detect_there_is_no_plot() -> None:
    result = sweep()
    none = [one if one is None else one._replace(to_detect=0, detected=0) for one in result.scores]
    text = sweep_page(replace(result, scores=none))
    assert "<svg" not in text
    assert "There is nothing to detect" in text
    assert "20 candidates, 0 worth a look" in text


def test_the_rule_as_it_is_and_its_twin_are_no_trade_offs() -> None:
    """Of three that no other beats, one is the rule as it is and one has its values."""
    result = sweep()
    scores = [*result.scores]
    scores[1] = scores[2] = scores[0]
    twin = result.candidates[1]._replace(rule=result.candidates[0].rule)
    candidates = [result.candidates[0], twin, *result.candidates[2:]]
    text = sweep_page(replace(result, candidates=candidates, scores=scores))
    assert "20 candidates, 1 worth a look" in text
    assert text.count("<li><b>#") == text.count("<li><b>#2</b>") == 1
    assert text.count("As it is") == 1
    assert "#1 as it is ★" in text

import pytest

from gateways.cli.durations import duration_s, seconds_of
from rules.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"), [("40s", 40), ("250ms", 0.25), ("5min", 300), ("1.5h", 5400), (" 2 m ", 120)]
)
def test_times_as_people_type_them(text: str, seconds: float) -> None:
    assert seconds_of(text, "--for") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "40", "forty s", "-3s", "3 days", "1e3s"])
def test_other_words_are_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--for"):
        seconds_of(text, "--for")


def test_nothing_goes_on_for_no_time() -> None:
    assert duration_s("250ms", "--for") == pytest.approx(0.25)
    with pytest.raises(ConfigurationError, match="--for: error: '0s' leaves no time"):
        duration_s("0s", "--for")

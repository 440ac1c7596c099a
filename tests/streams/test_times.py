import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.times import iso_utc, time_ns_of


@given(st.integers(0, 4 * 10**18))
def test_times_come_back_to_the_nanosecond(time_ns: int) -> None:
    assert time_ns_of(iso_utc(time_ns)) == time_ns


def test_times_as_people_write_them() -> None:
    assert (
        time_ns_of("2026-11-27T12:30Z")
        == time_ns_of("2026-11-27 12:30:00")
        == time_ns_of("2026-11-27T13:30+01:00")
    )
    assert time_ns_of("1970-01-01T00:00:01.5Z") == 1_500_000_000
    for text in ("", "12:30", "row-a:pump-slow:P-1:1767225612000001000:0", "2026-13-01T00:00Z"):
        with pytest.raises(ValueError):  # noqa: PT011
            time_ns_of(text)

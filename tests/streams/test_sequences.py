from hypothesis import given
from hypothesis import strategies as st

from rules.engine.inputs import Gap, Identity
from streams.sequences import SequenceTracker


def test_of_a_log_read_from_its_middle_the_first_of_an_older_epoch_may_be_any() -> None:
    tracker = SequenceTracker(since_ns=10)
    for epoch, sequence in ((9, 4), (9, 6), (10, 2)):
        tracker.see("row-a", Identity("plant", epoch, sequence))
    assert (tracker.lost, tracker.duplicates, tracker.restarts) == (2, 0, 1)


def tracked(*identities: tuple[str, int, int]) -> SequenceTracker:
    tracker = SequenceTracker()
    for source, epoch, sequence in identities:
        tracker.see("row-a", Identity(source, epoch, sequence))
    return tracker


@given(st.integers(1, 40), st.sets(st.integers(1, 40)), st.lists(st.integers(1, 40), max_size=5))
def test_holes_and_repeats_are_counted_one_by_one(count: int, missing: set[int], repeated: list[int]) -> None:
    sent = [number for number in range(1, count + 1) if number not in missing]
    again = [number for number in repeated if number in sent]
    tracker = tracked(*(("s", 1, number) for number in [*sent, *again]))
    assert tracker.lost == (max(sent) - len(sent) if sent else 0)
    assert tracker.duplicates == len(again)


def test_a_higher_epoch_starts_anew_and_a_lower_one_is_a_repeat() -> None:
    tracker = tracked(("s", 1, 1), ("s", 1, 2), ("s", 5, 1), ("s", 5, 2), ("s", 1, 3))
    assert (tracker.lost, tracker.duplicates, tracker.restarts) == (0, 1, 1)


def test_sources_and_units_are_counted_apart() -> None:
    tracker = tracked(("s", 1, 1), ("t", 1, 1))
    tracker.see("row-b", Identity("s", 1, 1))
    assert (tracker.lost, tracker.duplicates) == (0, 0)


def test_what_a_source_reports_itself_is_kept_apart_from_what_is_lost() -> None:
    tracker = tracked(("s", 1, 1))
    identity = Identity("s", 1, 2)
    tracker.see("row-a", identity, Gap("row-a", identity, "spool-full", 5, 9, 240))
    assert (tracker.lost, tracker.gaps, tracker.lost_readings_reported) == (0, 1, 240)

"""Which part of a site is silent, by the last words of its roles."""

from __future__ import annotations

from gateways.observability.silent import Silent, expected_roles, silent_parts
from tests.gateways.observability.filled import NOW_NS, status
from tests.rules.engine.plant import site

S = 1_000_000_000


def test_a_role_that_says_nothing_and_one_that_never_did() -> None:
    words = [status("worker", {}, at_ns=NOW_NS - 11 * S), status("opcua", {}, at_ns=NOW_NS - 10 * S)]
    assert silent_parts(words, ["worker", "opcua", "ticker"], NOW_NS) == [
        Silent("ticker", "role", "has said nothing"),
        Silent("worker", "role", "silent for 11.0 s"),
    ]


def test_a_part_of_a_role_that_speaks() -> None:
    words = [status("worker", {"now_ns": {"row-a": NOW_NS - 5 * S}})]
    assert silent_parts(words, ["worker"], NOW_NS) == [
        Silent("worker", "ticks of row-a", "the last tick was 5.0 s ago")
    ]


def test_parts_are_judged_as_of_the_word_that_tells_of_them() -> None:
    words = [status("worker", {"now_ns": {"row-a": NOW_NS - 5 * S}}, at_ns=NOW_NS - 4 * S)]
    assert silent_parts(words, ["worker"], NOW_NS) == []
    words = [status("worker", {"now_ns": {"row-a": NOW_NS - 9 * S}}, at_ns=NOW_NS - 4 * S)]
    assert [one.why for one in silent_parts(words, ["worker"], NOW_NS)] == ["the last tick was 5.0 s ago"]


def test_a_word_from_ahead_of_the_clock_says_nothing_of_now() -> None:
    words = [
        status("worker", {}, at_ns=NOW_NS + 3600 * S),
        status("ticker", {"last_tick_ns": NOW_NS + 60 * S}),
        status("opcua", {}, at_ns=NOW_NS + 2 * S),
        status("scada", {}, "stopping", NOW_NS + 60 * S),
    ]
    assert silent_parts(words, ["worker", "ticker"], NOW_NS) == [
        Silent("worker", "role", "the clock was set back: it is 3600 s behind its last word"),
        Silent("scada", "role", "was stopped", was_stopped=True),
        Silent("ticker", "ticks", "the clock was set back: it is 60.0 s behind the last tick"),
    ]


def test_another_instance_takes_its_place() -> None:
    gone = status("worker", {}, at_ns=NOW_NS - 60 * S) | {"role": "worker-2"}
    found = silent_parts([gone, status("worker", {})], ["worker"], NOW_NS)
    assert found == [Silent("worker-2", "role", "silent for 60.0 s", has_substitute=True)]


def test_one_that_was_stopped_says_so() -> None:
    words = [status("scada", {}, "stopping", NOW_NS - 2 * S)]
    assert silent_parts(words, [], NOW_NS) == [
        Silent("scada", "role", "was stopped 2.0 s ago", was_stopped=True)
    ]


def test_a_status_with_odd_metrics_is_said_to_be_odd() -> None:
    words = [status("worker", {"publishers": 3})]
    assert silent_parts(words, [], NOW_NS) == [Silent("worker", "role", "its status can't be read")]


def test_the_roles_of_a_site() -> None:
    assert set(expected_roles(site(), with_alerts=True)) >= {"ticker", "worker", "alerts"}
    assert "alerts" not in set(expected_roles(site(), with_alerts=False))

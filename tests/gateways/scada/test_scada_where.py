"""Where clauses on the fields of events: three values, subtypes, and what is no filter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_server import InternalServer

from gateways.scada import encoding
from gateways.scada.event import Event, Select
from gateways.scada.event_types import EventTypes
from gateways.scada.where import ELEMENTS_MAX, WHERE_BYTES_MAX, Where

F = ua.FilterOperator
LEVEL = ua.NodeId(ua.ObjectIds.ExclusiveLevelAlarmType)
AT_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def types() -> EventTypes:
    server = InternalServer()
    asyncio.run(server.load_standard_address_space())
    return EventTypes(server.aspace)


EVENT = Event(
    LEVEL,
    {
        "Severity": encoding.uint16(700),
        "SourceName": encoding.text("R01-T02"),
        "Message": encoding.words("R01: 60 L/min"),
        "ActiveState/Id": encoding.boolean(True),
        "AckedState/Id": encoding.boolean(False),
        "Time": encoding.moment(AT_NS),
        "SourceNode": encoding.node(ua.NodeId("R01", 2)),
        "LowLimit": encoding.double(None),
    },
    frozenset(),
)


def field(path: str) -> Any:
    return ua.SimpleAttributeOperand(
        BrowsePath=[ua.QualifiedName(part) for part in path.split("/")], AttributeId=ua.AttributeIds.Value
    )


def literal(value: Any) -> Any:
    return ua.LiteralOperand(value if isinstance(value, ua.Variant) else ua.Variant(value))


def element(kind: Any, *operands: Any) -> Any:
    return ua.ContentFilterElement(kind, list(operands))


def passes(types: EventTypes, *elements: Any) -> bool:
    where = Where.of(ua.ContentFilter(Elements=list(elements)), types)
    assert where is not None
    return where.passes(EVENT)


CASES = {
    "equal": (F.Equals, [field("Severity"), literal(700)], True),
    "equal text": (F.Equals, [field("SourceName"), literal("R01-T02")], True),
    "equal localized": (F.Equals, [field("Message"), literal(ua.LocalizedText("R01: 60 L/min"))], True),
    "equal node": (F.Equals, [field("SourceNode"), literal(ua.NodeId("R01", 2))], True),
    "other node": (F.Equals, [field("SourceNode"), literal(ua.NodeId("R02", 2))], False),
    "nested path": (F.Equals, [field("ActiveState/Id"), literal(True)], True),
    "another nested path": (F.Equals, [field("AckedState/Id"), literal(True)], False),
    "greater": (F.GreaterThan, [field("Severity"), literal(700)], False),
    "greater or equal": (F.GreaterThanOrEqual, [field("Severity"), literal(700)], True),
    "less": (F.LessThan, [field("Severity"), literal(701)], True),
    "time": (
        F.LessThanOrEqual,
        [field("Time"), literal(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))],
        True,
    ),
    "time before": (F.LessThan, [field("Time"), literal(datetime(2023, 11, 14, tzinfo=UTC))], False),
    "null is less than nothing": (F.LessThan, [field("LowLimit"), literal(5.0)], False),
    "null is not equal either": (F.Equals, [field("Nothing"), literal(5)], False),
    "a number against a node": (F.GreaterThan, [field("Severity"), literal(ua.NodeId(5))], False),
    "a node against a number": (F.LessThanOrEqual, [field("SourceNode"), literal(5)], False),
    "a node between texts": (F.Between, [field("SourceNode"), literal("a"), literal("b")], False),
    "text against a number": (F.GreaterThan, [field("SourceName"), literal(5)], False),
    "is null": (F.IsNull, [field("LowLimit")], True),
    "is not null": (F.IsNull, [field("Severity")], False),
    "between": (F.Between, [field("Severity"), literal(700), literal(900)], True),
    "not between": (F.Between, [field("Severity"), literal(701), literal(900)], False),
    "in a list": (F.InList, [field("Severity"), literal(1), literal(700)], True),
    "in no list": (F.InList, [field("Severity"), literal(1), literal(2)], False),
    "like": (F.Like, [field("SourceName"), literal("R01%")], True),
    "like a letter": (F.Like, [field("SourceName"), literal("R0_-T0_")], True),
    "like a set": (F.Like, [field("SourceName"), literal("R0[12]%")], True),
    "like no set": (F.Like, [field("SourceName"), literal("R0[^12]%")], False),
    "like, escaped": (F.Like, [field("SourceName"), literal("R01\\%")], False),
    "like all of it": (F.Like, [field("SourceName"), literal("R01")], False),
    "bits": (F.BitwiseAnd, [field("Severity"), literal(4)], False),
    "of its type": (F.OfType, [literal(LEVEL)], True),
    "of a type above": (F.OfType, [literal(ua.NodeId(ua.ObjectIds.ConditionType))], True),
    "of all types": (F.OfType, [literal(ua.NodeId(ua.ObjectIds.BaseEventType))], True),
    "of another type": (F.OfType, [literal(ua.NodeId(ua.ObjectIds.OffNormalAlarmType))], False),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operator(types: EventTypes, case: str) -> None:
    kind, operands, expected = CASES[case]
    assert passes(types, element(kind, *operands)) is expected


TRUE, FALSE = (F.Equals, literal(1), literal(1)), (F.Equals, literal(1), literal(2))
NULL = (F.Equals, field("Nothing"), literal(1))


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        (F.And, TRUE, TRUE, True), (F.And, TRUE, FALSE, False), (F.And, TRUE, NULL, None), (F.And, FALSE, NULL, False),
        (F.Or, FALSE, FALSE, False), (F.Or, NULL, TRUE, True), (F.Or, FALSE, NULL, None),
    ],
)  # fmt: skip
def test_and_and_or_know_what_is_unknown(
    types: EventTypes, kind: Any, one: Any, other: Any, expected: bool | None
) -> None:
    both = element(kind, ua.ElementOperand(1), ua.ElementOperand(2))
    assert passes(types, both, element(*one), element(*other)) is (expected is True)
    turned = element(F.Not, ua.ElementOperand(1))
    both = element(kind, ua.ElementOperand(2), ua.ElementOperand(3))
    assert passes(types, turned, both, element(*one), element(*other)) is (expected is False)


def test_what_can_not_be_compared_is_null(types: EventTypes) -> None:
    compared = (F.GreaterThan, field("SourceNode"), literal(5))
    assert not passes(types, element(F.Not, ua.ElementOperand(1)), element(*compared))
    assert passes(types, element(F.IsNull, ua.ElementOperand(1)), element(*compared))


def test_an_element_is_worked_out_once_however_many_refer_to_it(types: EventTypes) -> None:
    """Twice for each that does was longer than anybody lives."""
    last = ELEMENTS_MAX - 1
    chain = [element(F.And, ua.ElementOperand(at + 1), ua.ElementOperand(at + 1)) for at in range(last)]
    assert passes(types, *chain, element(F.IsNull, field("LowLimit")))
    assert not passes(types, *chain, element(F.IsNull, field("Severity")))


@pytest.mark.parametrize(
    ("code", "elements"),
    [
        ("BadFilterOperandInvalid", [element(F.Not, ua.ElementOperand(0))]),
        ("BadFilterOperandInvalid", [element(F.Not, ua.ElementOperand(7))]),
        ("BadFilterOperandInvalid", [element(F.Not, ua.AttributeOperand())]),
        ("BadFilterOperandCountMismatch", [element(F.Equals, literal(1))]),
        ("BadFilterOperandCountMismatch", [element(F.InList, literal(1))]),
        ("BadFilterOperatorUnsupported", [element(F.RelatedTo, literal(1))]),
        ("BadFilterOperatorUnsupported", [element(F.Cast, literal(1), literal(1))]),
        ("BadEventFilterInvalid", [element(*TRUE)] * 201),
        ("BadEventFilterInvalid", [element(F.Like, field("Message"), literal("a" * WHERE_BYTES_MAX))]),
    ],
)
def test_what_is_no_filter_is_refused(types: EventTypes, code: str, elements: list[Any]) -> None:
    with pytest.raises(ServiceError) as refused:
        Where.of(ua.ContentFilter(Elements=elements), types)
    assert ua.StatusCode(refused.value.code).name == code


def test_the_same_clauses_share_their_bytes() -> None:
    clauses = [field("Severity"), field("AckedState/Id"), field("Nothing")]
    one, other = Select.of(clauses), Select.of([field("Severity"), field("AckedState/Id"), field("Nothing")])
    assert one is other
    assert EVENT.joined(one) is EVENT.joined(other)
    assert EVENT.joined(one) == b"\x03\x00\x00\x00" + b"\x05\xbc\x02" + b"\x01\x00" + b"\x00"
    assert Select.of([field("Severity")]) is not one

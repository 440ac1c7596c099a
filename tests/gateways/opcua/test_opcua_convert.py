"""An OPC UA data value as a reading: numbers, times, quality and why a value is none."""

import math
from datetime import UTC, datetime

import pytest
from asyncua import ua

from gateways.opcua.convert import (
    BAD_NO_DATA,
    BAD_OUT_OF_RANGE,
    BAD_TYPE_MISMATCH,
    moment_of,
    overflowed,
    sample_of,
    time_ns,
)
from rules.quality import Quality

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
NOON_NS = 1_772_366_400_123_456_000


def data_value(value, variant_type=None, status=0, source=NOON, server=NOON):
    variant = ua.Variant(value, variant_type) if variant_type else ua.Variant(value)
    return ua.DataValue(
        variant, StatusCode=ua.StatusCode(status), SourceTimestamp=source, ServerTimestamp=server
    )


@pytest.mark.parametrize(
    ("value", "variant_type", "number"),
    [
        (21.5, ua.VariantType.Double, 21.5),
        (21.5, ua.VariantType.Float, 21.5),
        (True, ua.VariantType.Boolean, 1.0),
        (False, ua.VariantType.Boolean, 0.0),
        (-7, ua.VariantType.Int16, -7.0),
        (2**63, ua.VariantType.UInt64, 2.0**63),
        (ua.ServerState.Suspended, ua.VariantType.Int32, 3.0),
    ],
)
def test_numbers_booleans_and_enumerations_are_good(value, variant_type, number):
    sample = sample_of(data_value(value, variant_type))
    assert (sample.value, sample.quality, sample.status) == (number, Quality.GOOD, 0)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("running", BAD_TYPE_MISMATCH),
        ([1.0, 2.0], BAD_TYPE_MISMATCH),
        (NOON, BAD_TYPE_MISMATCH),
        (ua.EUInformation(), BAD_TYPE_MISMATCH),
        (None, BAD_NO_DATA),
        (math.nan, BAD_OUT_OF_RANGE),
        (-math.inf, BAD_OUT_OF_RANGE),
    ],
)
def test_what_is_no_number_is_bad_and_says_why(value, status):
    sample = sample_of(data_value(value))
    assert math.isnan(sample.value)
    assert (sample.quality, sample.status) == (Quality.BAD, status)


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (0x00000000, Quality.GOOD),
        (0x00960000, Quality.GOOD),  # GoodLocalOverride
        (0x40900000, Quality.UNCERTAIN),  # UncertainLastUsableValue
        (0x808C0000, Quality.BAD),  # BadSensorFailure
        (0xC0000000, Quality.BAD),  # reserved: to be read as bad
    ],
)
def test_severity_of_the_status_code_is_the_quality(status, quality):
    sample = sample_of(data_value(5.0, status=status))
    assert (sample.value, sample.quality, sample.status) == (5.0, quality, status)


def test_a_bad_status_of_the_servers_own_is_kept_beside_a_missing_value():
    assert sample_of(data_value(None, status=0x808C0000)).status == 0x808C0000


def test_source_time_is_kept_and_server_time_beside_it():
    later = NOON.replace(microsecond=200000)
    sample = sample_of(data_value(1.0, server=later))
    assert (sample.time_ns, sample.server_ns) == (NOON_NS, NOON_NS + 76_544_000)


def test_without_a_source_time_the_servers_counts():
    assert sample_of(data_value(1.0, source=None)).time_ns == NOON_NS
    assert sample_of(data_value(1.0, source=None, server=None)).time_ns == 0


def test_times_without_zone_are_utc_and_no_time_is_zero():
    assert time_ns(NOON.replace(tzinfo=None)) == NOON_NS
    assert time_ns(datetime(1601, 1, 1, tzinfo=UTC)) == 0
    assert time_ns(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) == 0
    assert time_ns(None) == 0


def test_overflow_needs_both_the_info_type_and_the_bit():
    assert overflowed(0x00000480)
    assert not overflowed(0x00000080)
    assert not overflowed(0x00000400)
    assert sample_of(data_value(1.0, status=0x480)).quality == Quality.GOOD


def test_a_time_goes_out_as_it_came_in():
    assert moment_of(NOON_NS) == NOON
    assert moment_of(NOON_NS + 999) == NOON, "microseconds are what a timestamp holds"

"""Units of a site file as OPC UA describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyncua import ua

UNECE: Final[Mapping[str, str]] = {
    "A": "AMP",
    "Hz": "HTZ",
    "K": "KEL",
    "L": "LTR",
    "L/min": "L2",
    "MW": "MAW",
    "Pa": "PAL",
    "V": "VLT",
    "W": "WTT",
    "bar": "BAR",
    "degC": "CEL",
    "kPa": "KPA",
    "kV": "KVT",
    "kVA": "KVA",
    "kW": "KWT",
    "m": "MTR",
    "m^3/s": "MQS",
    "percent": "P1",
    "rpm": "RPM",
}
"""Common codes of UNECE recommendation 20, which OPC UA part 8 takes as ids of engineering units."""


def engineering_units(unit: str) -> Any:
    """The unit as OPC UA describes it; its id is the UNECE code's bytes, -1 where there is none."""
    code = UNECE.get(unit)
    return ua.EUInformation(
        NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
        UnitId=int.from_bytes(code.encode(), "big") if code else -1,
        DisplayName=ua.LocalizedText({"percent": "%", "degC": "°C"}.get(unit, unit)),
        Description=ua.LocalizedText(unit),
    )

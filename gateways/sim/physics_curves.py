"""Curves and correlations of the plant's equipment, as functions: exchangers of arrays, single machines of numbers.

Rules: pure NumPy; every formula and coefficient carries its source; temperatures in °C unless a name ends in `_k`,
heat and power in W, flows as heat capacity rates in W/K.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WATER_CP = 4186.0
"""J/kgK."""
PG25_CP = 3910.0
"""J/kgK, 25 % propylene glycol."""
PG25_DENSITY = 1015.0
"""kg/m³."""
GRAVITY = 9.81
ZERO_CELSIUS_K = 273.15

# DOE-2 centrifugal chiller: terms 1, x, x², y, y², xy with x leaving evaporator, y entering condenser, °C.
_CAP_FT = (0.257896, 0.0389016, -0.00021708, 0.0468684, -0.00094284, -0.00034344)
_EIR_FT = (0.933884, -0.058212, 0.00450036, 0.00243, 0.000486, -0.001215)
_EIR_FPLR = (0.222903, 0.313387, 0.463710)
CHILLER_COP_REFERENCE = 5.5
CHILLER_X_C = (4.4, 12.0)
CHILLER_Y_C = (12.0, 35.0)
"""The span in which the curves are used: outside of it a polynomial says nothing, so its inputs are held there."""


def _bi_quadratic(c: tuple[float, ...], leaving_c: float, condenser_c: float) -> float:
    x = min(max(leaving_c, CHILLER_X_C[0]), CHILLER_X_C[1])
    y = min(max(condenser_c, CHILLER_Y_C[0]), CHILLER_Y_C[1])
    return c[0] + c[1] * x + c[2] * x * x + c[3] * y + c[4] * y * y + c[5] * x * y


def chiller_capacity(reference_w: float, leaving_c: float, condenser_c: float) -> float:
    """Available capacity in W: Cap·CapFT, from the temperatures leaving evaporator and entering condenser."""
    return reference_w * _bi_quadratic(_CAP_FT, leaving_c, condenser_c)


def chiller_power(reference_w: float, heat_w: float, leaving_c: float, condenser_c: float) -> float:
    """Compressor power in W for `heat_w` taken: Cap·CapFT·EIRFT·EIRFPLR/COP_ref. 0 where no heat is taken."""
    available_w = chiller_capacity(reference_w, leaving_c, condenser_c)
    if heat_w <= 0 or available_w <= 0:
        return 0.0
    part = heat_w / available_w
    part_factor = _EIR_FPLR[0] + _EIR_FPLR[1] * part + _EIR_FPLR[2] * part * part
    return available_w * _bi_quadratic(_EIR_FT, leaving_c, condenser_c) * part_factor / CHILLER_COP_REFERENCE


def effectiveness(ua_w_k: Array, hot_w_k: Array, cold_w_k: Array) -> Array:
    """Effectiveness of a counter-flow exchanger (ε-NTU), 0 where either side stands still."""
    small = np.minimum(hot_w_k, cold_w_k)
    large = np.maximum(hot_w_k, cold_w_k)
    flowing = small > 1e-9
    safe_small = np.where(flowing, small, 1.0)
    ratio = safe_small / np.where(flowing, large, 1.0)
    ntu = ua_w_k / safe_small
    decay = np.exp(-ntu * (1.0 - ratio))
    balanced = ratio > 1.0 - 1e-6
    general = (1.0 - decay) / np.where(balanced, 1.0, 1.0 - ratio * decay)
    return np.where(flowing, np.where(balanced, ntu / (1.0 + ntu), general), 0.0)


def exchanged_heat(
    ua_w_k: Array, hot_w_k: Array, cold_w_k: Array, hot_in_c: Array, cold_in_c: Array
) -> Array:
    """Heat in W from the hot to the cold side; negative when the 'cold' side is the warmer one."""
    return effectiveness(ua_w_k, hot_w_k, cold_w_k) * np.minimum(hot_w_k, cold_w_k) * (hot_in_c - cold_in_c)


def heat_pump_cop(condensing_c: float, evaporating_c: float, eta: float = 0.55) -> float:
    """COP = η·T_c/(T_c - T_e) with a lift of at least 10 K; η 0.55 of Carnot is typical of large ammonia units."""
    return eta * (condensing_c + ZERO_CELSIUS_K) / max(condensing_c - evaporating_c, 10.0)


def francis_efficiency(flow: float) -> float:
    """Efficiency of a Francis turbine over its relative flow: 0.93 near 80 %, poor below 40 %."""
    poor = 0.9 * math.pow(max(0.4 - flow, 0.0), 1.5)
    return min(max(0.93 - 0.55 * (flow - 0.8) ** 2 - poor, 0.05), 0.93)

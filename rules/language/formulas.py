"""Small physical models of the plant, as functions of the language: what a sound machine would show.

Rules: a formula is written in the language itself, about plain numbers in the units that its arguments are converted
to. So it needs no operation of its own in a kernel, and has the same bits everywhere. What physics excludes (an
exchanger whose cold side is the warmer one, a machine without load) is unknown: `x / most(x, 0)` is 1, or a division
by zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SHARE: Final = "share"
"""As a unit: a part of a whole, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Formula:
    """`arguments` with their units; those in `defaults` may be left out. `unit`: of the result.

    `steps`: names and what they stand for, in order, in terms of arguments and of steps before; the last one is the
    result.
    """

    arguments: Mapping[str, str]
    unit: str
    steps: Mapping[str, str]
    defaults: Mapping[str, float] = field(default_factory=dict)

    def form(self, name: str) -> str:
        """How it is written."""
        required = [one for one in self.arguments if one not in self.defaults]
        return f"{name}({', '.join([*required, *(f'[{one}]' for one in self.defaults)])})"


_ENDS: Final = dict.fromkeys(("hot_in", "hot_out", "cold_in", "cold_out"), "degC")

FORMULAS: Final[Mapping[str, Formula]] = {
    # Q = flow·ρ·cp·ΔT, and the other way round. ρ·cp in kJ/L/K: water at 25 °C 997.05 kg/m³ · 4,181 J/kg/K (IAPWS-95);
    # with 25 % of propylene glycol 1,015 kg/m³ · 3,910 J/kg/K (domain notes of the plant); in between and beyond in a
    # straight line.
    "heat": Formula(
        {"flow": "L/min", "cold": "degC", "hot": "degC", "glycol": SHARE},
        "kW",
        {"heat": "flow / 60 * (4.169 - 0.8 * glycol) * (hot - cold)"},
        {"glycol": 0.0},
    ),
    "warmed": Formula(
        {"flow": "L/min", "cold": "degC", "heat": "kW", "glycol": SHARE},
        "degC",
        {"hot": "cold + heat / (most(flow, 0) / 60 * (4.169 - 0.8 * glycol))"},
        {"glycol": 0.0},
    ),
    # ε = C·ΔT / (C_min·ΔT_max): the side with the smaller heat capacity rate is the one that changes more (Kays and
    # London, Compact Heat Exchangers). Any arrangement of flows.
    "effectiveness": Formula(
        _ENDS,
        "",
        {"effectiveness": "most(hot_in - hot_out, cold_out - cold_in) / most(hot_in - cold_in, 0)"},
    ),
    # Counter-flow. (a - b) / ln(a / b) is the mean of both ends over atanh(u)/u with u = (a - b)/(a + b); of the
    # inverse tangent the continued fraction (DLMF section 4.25, at iu), four terms: 0.01 % too much at a/b = 5, 0.2 %
    # at 10. No logarithm, and nothing special where both ends are equal.
    "lmtd": Formula(
        _ENDS,
        "K",
        {
            "a": "hot_in - cold_out",
            "b": "hot_out - cold_in",
            "u": "(a - b) / (a + b)",
            "square": "u * u",
            "mean": "(a + b) / 2 * (1 - square / (3 - 4 * square / (5 - 9 * square / (7 - 16 / 9 * square))))",
            "both": "least(a, b)",
            "lmtd": "mean * (both / most(both, 0))",
        },
    ),
    # DOE-2 centrifugal chiller: x leaving evaporator, y entering condenser. Both are held inside the span for which
    # the curves were made, as EnergyPlus does.
    "chiller_cop": Formula(
        {
            "heat": "kW",
            "design_heat": "kW",
            "design_cop": "",
            "leaving": "degC",
            "entering": "degC",
        },
        "",
        {
            "x": "least(most(leaving, 4.4), 12)",
            "y": "least(most(entering, 12), 35)",
            "capacity": "0.257896 + x * (0.0389016 - 0.00021708 * x - 0.00034344 * y)"
            " + y * (0.0468684 - 0.00094284 * y)",
            "by_temperature": "0.933884 + x * (0.00450036 * x - 0.058212 - 0.001215 * y)"
            " + y * (0.00243 + 0.000486 * y)",
            "part": "heat / (design_heat * capacity)",
            "by_part": "0.222903 + part * (0.313387 + 0.463710 * part)",
            "cop": "design_cop * part / (by_temperature * by_part) * (heat / most(heat, 0))",
        },
    ),
    # T_hot / (T_hot - T_cold); a real heat pump has some 0.55 of it.
    "carnot_cop": Formula(
        {"hot": "degC", "cold": "degC"},
        "",
        {"cop": "(hot + 273.15) / most(hot - cold, 0)"},
    ),
}

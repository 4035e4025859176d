"""What an answer took from the socket, and how that is known.

measured    a meter of the machine counted it
estimated   watts that the user states, times the seconds the engine was busy
unknown     neither is there: joules and cost are then None, never 0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

EnergyTier = Literal["measured", "estimated", "unknown"]

JOULES_PER_KWH = Decimal(3_600_000)
SMALLEST_USD = Decimal("1e-12")
"""Costs of single answers are rounded to this, so that their sums are exact."""


@dataclass(frozen=True, slots=True)
class Power:
    """What the user states about the machine. Neither may be below zero."""

    watts: float
    """What it draws while it answers, all of it: so the saving is rather too small."""
    usd_per_kwh: Decimal | None = None
    """The tariff; without it joules are known and their cost is not."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.watts) and self.watts >= 0):
            raise ValueError(f"watts is {self.watts}; it must be a finite number from 0")
        tariff = self.usd_per_kwh
        if tariff is not None and not (tariff.is_finite() and tariff >= 0):
            raise ValueError(f"usd_per_kwh is {tariff}; it must be a finite number from 0")


@dataclass(frozen=True, slots=True)
class Electricity:
    """Of one answer."""

    tier: EnergyTier = "unknown"
    joules: float | None = None
    usd: Decimal | None = None


UNKNOWN_ELECTRICITY = Electricity()


def estimated(power: Power | None, seconds: float | None) -> Electricity:
    """Stated watts times seconds; unknown where either is."""
    if power is None or seconds is None or not (math.isfinite(seconds) and seconds >= 0):
        return UNKNOWN_ELECTRICITY
    joules = power.watts * seconds
    if not math.isfinite(joules):
        return UNKNOWN_ELECTRICITY
    return Electricity("estimated", joules, cost_usd(joules, power.usd_per_kwh))


def cost_usd(joules: float, usd_per_kwh: Decimal | None) -> Decimal | None:
    """What `joules` cost, to 1e-12 dollars; None without a tariff."""
    if usd_per_kwh is None:
        return None
    # str: the shortest decimal that is this float, not its fifty binary digits
    exact = Decimal(str(joules)) * usd_per_kwh / JOULES_PER_KWH
    return exact.quantize(SMALLEST_USD, ROUND_HALF_EVEN)

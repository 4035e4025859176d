"""Energy is watts times seconds, its cost is exact, and what is unknown stays unknown."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.electricity import UNKNOWN_ELECTRICITY, Power, cost_usd, estimated

WATTS = st.floats(0, 10_000)
SECONDS = st.floats(0, 1_000_000)
TARIFF = st.decimals(0, 10, places=4)


@given(WATTS, SECONDS, TARIFF)
def test_stated_watts_times_seconds_is_an_estimate(
    watts: float, seconds: float, tariff: Decimal
) -> None:
    found = estimated(Power(watts, tariff), seconds)
    assert found.tier == "estimated"
    assert found.joules == watts * seconds
    assert found.usd is not None
    exact = Fraction(Decimal(str(found.joules))) * Fraction(tariff) / 3_600_000
    assert abs(Fraction(found.usd) - exact) <= Fraction(1, 2 * 10**12)


@pytest.mark.parametrize(
    ("power", "seconds"),
    [(None, 2.0), (Power(30), None), (Power(30), math.nan), (Power(30), -1.0), (Power(1e308), 1e9)],
    ids=["no watts", "no time", "no number", "back in time", "beyond all numbers"],
)
def test_what_cannot_be_known_is_unknown(power: Power | None, seconds: float | None) -> None:
    assert estimated(power, seconds) == UNKNOWN_ELECTRICITY
    assert (UNKNOWN_ELECTRICITY.joules, UNKNOWN_ELECTRICITY.usd) == (None, None)


def test_without_a_tariff_only_the_joules_are_known() -> None:
    found = estimated(Power(30), 2.0)
    assert (found.tier, found.joules, found.usd) == ("estimated", 60.0, None)


def test_a_kilowatt_hour_costs_the_tariff() -> None:
    assert cost_usd(3_600_000.0, Decimal("0.31")) == Decimal("0.31")


@pytest.mark.parametrize(
    ("watts", "tariff"),
    [(-1.0, None), (math.inf, None), (math.nan, None), (1.0, Decimal(-1)), (1.0, Decimal("NaN"))],
    ids=str,
)
def test_what_nobody_can_have_is_refused(watts: float, tariff: Decimal | None) -> None:
    with pytest.raises(ValueError, match="must be a finite number from 0"):
        Power(watts, tariff)

"""Bars that can be read: the longest fills its rows, nothing is nothing, below zero hangs down."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ondevice.tui.widgets.bars import DOWN, UP, bars, reach, rows_of


def drawn(*values: float | None, height: int = 3) -> list[str]:
    given_values = [None if value is None else Decimal(str(value)) for value in values]
    return bars(given_values, height, wide=1, gap=1)


def test_what_is_above_zero_stands_in_proportion() -> None:
    assert drawn(1, 2, 3) == ["    █", "  █ █", "█ █ █"]
    assert drawn(0.5, 1.5, 3) == ["    █", "  ▄ █", "▄ █ █"]


def test_what_is_below_zero_hangs_down_at_the_same_scale() -> None:
    assert drawn(2, -1) == ["█  ", "█  ", "  █"]
    assert drawn(-1, -2, height=2) == ["█ █", "  █"]
    assert drawn(-1, -4, height=2) == ["▀ █", "  █"]


def test_nothing_is_no_bar_little_is_one_and_unknown_is_a_mark() -> None:
    assert drawn(0, 0.0001, None, 3) == ["      █", "      █", "  ▁ ? █"]
    assert drawn(0, 0) == ["   "] * 3
    assert drawn(None) == [" ", " ", "?"]


def test_bars_may_be_wide() -> None:
    assert bars([Decimal(1), Decimal(2)], 2, wide=3, gap=2) == ["     ███", "███  ███"]


AMOUNTS = st.decimals(-1000, 1000, places=9)


@given(
    values=st.lists(st.none() | AMOUNTS, min_size=1, max_size=40),
    height=st.integers(2, 20),
    wide=st.integers(1, 5),
    gap=st.integers(0, 2),
)
def test_whatever_the_values_every_row_is_as_wide_and_signs_are_kept(
    values: list[Decimal | None], height: int, wide: int, gap: int
) -> None:
    rows = bars(values, height, wide, gap)
    above, below = rows_of(values, height)
    assert (len(rows), above + below) == (height, height)
    assert {len(row) for row in rows} == {len(values) * (wide + gap) - gap}
    top, bottom = reach(values)
    for number, value in enumerate(values):
        column = [row[number * (wide + gap)] for row in rows]
        over, under = set(column[:above]) & set(UP[1:]), set(column[above:]) & set(DOWN[1:])
        assert bool(over) == (value is not None and value > 0)
        assert bool(under) == (value is not None and value < 0)
    assert not top or above
    assert not bottom or below

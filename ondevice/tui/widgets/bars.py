"""Upright bars: one for each value, those below zero hanging down from the line of zero."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

UP = " ▁▂▃▄▅▆▇█"
DOWN = " ▀█"
"""Terminals have upper halves, and no finer parts of a cell from above."""
UNKNOWN = "?"

Values = Sequence[Decimal | None]
"""None is unknown: no bar but a mark."""


def reach(values: Values) -> tuple[Decimal, Decimal]:
    """How far they go above zero, and below it."""
    known = [value for value in values if value is not None]
    return max([*known, Decimal(0)]), -min([*known, Decimal(0)])


def rows_of(values: Values, height: int) -> tuple[int, int]:
    """How many of `height` rows, at least 2, are above zero and how many below."""
    top, bottom = reach(values)
    if not bottom:
        return height, 0
    above = min(max(round(height * top / (top + bottom)), 1), height - 1)
    return (above, height - above) if top else (0, height)


def bars(values: Values, height: int, wide: int, gap: int) -> list[str]:
    """The rows from top to bottom; bars are `wide` columns with `gap` between them."""
    above, below = rows_of(values, height)
    top, bottom = reach(values)
    row_is = max(top / above if above else Decimal(0), bottom / below if below else Decimal(0))
    rows = [[_upward(value, row_is, row) for value in values] for row in range(above, 0, -1)]
    rows += [[_downward(value, row_is, row) for value in values] for row in range(1, below + 1)]
    return [(" " * gap).join(cell * wide for cell in row) for row in rows]


def _upward(value: Decimal | None, row_is: Decimal, row: int) -> str:
    """The cell in the `row`th row above zero; a whole one is `row_is`."""
    if value is None:
        return UNKNOWN if row == 1 else " "
    if value <= 0:
        return " "
    eighths = max(1, round(value / row_is * 8))  # something is never nothing
    return UP[min(8, max(0, eighths - 8 * (row - 1)))]


def _downward(value: Decimal | None, row_is: Decimal, row: int) -> str:
    """The cell in the `row`th row below zero."""
    if value is None:
        return UNKNOWN if row == 1 else " "
    if value >= 0:
        return " "
    halves = max(1, round(-value / row_is * 2))
    return DOWN[min(2, max(0, halves - 2 * (row - 1)))]

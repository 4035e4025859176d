"""The one line always fits, and bars say what they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.tui.widgets.meter import LINE, bar, curve, fit


@given(st.lists(st.tuples(st.integers(0, 9), st.text("abc ", max_size=40))))
def test_the_line_never_exceeds_its_columns(parts: list[tuple[int, str]]) -> None:
    assert len(fit(parts, LINE)) <= LINE


def test_the_most_dispensable_part_gives_way_first() -> None:
    parts = [(0, "rate"), (2, "x" * 40), (1, "y" * 40)]
    assert fit(parts, LINE) == f"rate  {'y' * 40}"


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0, 100, "░░░░"), (1, 1000, "█░░░"), (50, 100, "██░░"), (100, 100, "████"), (0, 0, "░░░░")],
)
def test_a_bar_fills_with_its_part(part: int, whole: int, expected: str) -> None:
    assert bar(part, whole, 4) == expected


def test_the_curve_begins_at_zero_and_shows_the_newest() -> None:
    assert curve([100.0, 5.0, 10.0, 10.0], 3) == "▅██"
    assert curve([], 3) == curve([0.0], 3) == ""

"""Windows over a text, and the numbers that are made of its tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.quality import Window, divergence, mean, perplexity, windows


@given(
    count=st.integers(0, 400),
    begin=st.integers(0, 1),
    window=st.integers(4, 64),
    data=st.data(),
)
def test_every_token_is_scored_once_with_something_before_it(
    count: int, begin: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window - 2))
    found = list(windows(count, begin, window, stride))
    scored = [token for each in found for token in range(each.first, each.end)]
    assert scored == list(range(0 if begin else 1, count))
    for each in found:
        assert 0 <= each.start <= each.first < each.end <= count
        assert each.end - each.start + begin <= window
        assert begin + each.first - each.start >= 1
    for each in found[1:]:
        assert begin + each.first - each.start >= window - stride


def test_windows_overlap_by_what_is_not_new() -> None:
    assert list(windows(1000, 0, 512, 256)) == [
        Window(0, 512, 1),
        Window(256, 768, 512),
        Window(488, 1000, 768),
    ]


def test_a_text_shorter_than_the_window_is_one_window() -> None:
    assert list(windows(100, 1, 512, 256)) == [Window(0, 100, 0)]
    assert list(windows(1, 0, 512, 256)) == []


def test_equal_chances_make_a_perplexity_of_their_number() -> None:
    found = perplexity([-math.log(20)] * 8)
    assert found.value == pytest.approx(20)
    assert found.standard_error == pytest.approx(0)


def test_a_standard_error_is_that_of_the_mean() -> None:
    assert mean([1.0, 3.0]).value == 2.0
    assert mean([1.0, 3.0]).standard_error == pytest.approx(1.0)
    assert mean([1.0]).standard_error is None
    found = perplexity([-1.0, -3.0])
    assert (found.value, found.standard_error) == (
        pytest.approx(math.exp(2)),
        pytest.approx(math.exp(2)),
    )


def test_a_ratio_is_more_certain_than_what_it_is_of() -> None:
    reference = [-1.0, -9.0, -2.0, -7.0]
    own = [each - 0.1 for each in reference]
    found = divergence(own, reference, [0.1, 0.3, 0.2, 0.2], [True, True, False, True])
    assert found.ratio.value == pytest.approx(math.exp(0.1))
    assert found.ratio.standard_error == pytest.approx(0)
    assert (found.median, found.largest) == (0.2, 0.3)
    assert found.agreement.value == 0.75

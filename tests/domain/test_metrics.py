"""The numbers as `domain/metrics.py` defines them; what cannot be known is None."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.generation import GenerationDone, PrefillProgress, Timings, Usage
from ondevice.domain.metrics import decode_tok_per_s, middle_and_spread, prefill_tok_per_s


def test_n_tokens_have_n_minus_one_gaps() -> None:
    assert decode_tok_per_s(11, 2.0) == 5.0


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [(0, 1.0), (1, 1.0), (5, None), (5, 0.0), (5, -1.0), (5, math.nan), (5, math.inf)],
    ids=["none", "one", "no-time", "zero-time", "negative-time", "nan", "endless"],
)
def test_a_decode_rate_that_cannot_be_known_is_none(tokens: int, seconds: float | None) -> None:
    assert decode_tok_per_s(tokens, seconds) is None


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [(0, 1.0), (-1, 1.0), (5, None), (5, 0.0), (5, math.nan)],
    ids=["all-cached", "negative", "no-time", "zero-time", "nan"],
)
def test_a_prefill_rate_that_cannot_be_known_is_none(tokens: int, seconds: float | None) -> None:
    assert prefill_tok_per_s(tokens, seconds) is None


@given(st.integers(0, 10**9), st.floats() | st.none())
def test_a_rate_is_never_zero_and_never_endless(tokens: int, seconds: float | None) -> None:
    for rate in (decode_tok_per_s(tokens, seconds), prefill_tok_per_s(tokens, seconds)):
        assert rate is None or 0 < rate < math.inf


def test_cached_tokens_are_no_part_of_the_prefill_rate() -> None:
    done = GenerationDone("stop", Usage(100, 60, 3), Timings(1.0, 2.0, 4.0), 2, 512)
    assert done.usage.evaluated_tokens == 40
    assert done.prefill_tok_per_s == 20.0
    assert done.decode_tok_per_s == 0.5


@pytest.mark.parametrize(
    ("done", "elapsed_s", "eta_s"),
    [(0, 1.0, None), (10, 0.0, None), (10, 2.0, 18.0), (100, 5.0, 0.0)],
    ids=["before-the-first-batch", "no-time-yet", "under-way", "finished"],
)
def test_time_left_of_reading_follows_the_mean_rate(
    done: int, elapsed_s: float, eta_s: float | None
) -> None:
    assert PrefillProgress(done, 100, 0, elapsed_s).eta_s == eta_s


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], None),
        ([4.0], (4.0, 0.0)),
        ([1.0, 3.0], (2.0, 1.0)),
        ([5.0, 1.0, 2.0, 4.0, 3.0], (3.0, 2.0)),
    ],
    ids=["none", "one", "two", "five"],
)
def test_median_and_quartile_range_of_samples(
    samples: list[float], expected: tuple[float, float] | None
) -> None:
    assert middle_and_spread(samples) == expected


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_the_middle_lies_among_the_samples(samples: list[float]) -> None:
    found = middle_and_spread(samples)
    assert found is not None
    middle, spread = found
    assert min(samples) <= middle <= max(samples)
    assert 0 <= spread <= max(samples) - min(samples) + 1e-6

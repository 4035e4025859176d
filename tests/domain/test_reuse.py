"""What reuse saved is told at a rate that was measured here, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.generation import FinishReason, GenerationDone, Timings, Usage
from ondevice.domain.reuse import READ_TOKENS, Reuse, ReuseMeter


def done(
    prompt: int, cached: int, prefill_s: float | None, finish: FinishReason = "stop"
) -> GenerationDone:
    timings = Timings(0.5, prefill_s, 1.0)
    return GenerationDone(finish, Usage(prompt, cached, 7), timings, 2, 4096)


def test_seconds_are_unknown_until_a_prompt_was_read() -> None:
    meter = ReuseMeter()
    meter.note("a", done(50, 40, 0.1))
    assert meter.last == meter.total == Reuse(40, None, 40)
    meter.note("a", done(200, 0, 2.0), "another prompt")
    assert meter.last == Reuse(missed="another prompt")
    assert meter.total == Reuse(40, pytest.approx(0.4), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "read",
    [
        done(READ_TOKENS - 1, 0, 0.1),
        done(500, 0, None),
        done(500, 0, 0.1, "cancelled"),
        done(600, 600 - READ_TOKENS + 1, 0.1),
    ],
    ids=["short", "without a time", "cancelled", "mostly cached"],
)
def test_no_rate_comes_from_a_reading_that_is(read: GenerationDone) -> None:
    meter = ReuseMeter()
    meter.note("a", read)
    meter.note("a", done(50, 40, 0.1))
    assert meter.last.seconds is None


def test_the_rate_of_one_model_says_nothing_of_another() -> None:
    meter = ReuseMeter()
    meter.note("a", done(1000, 0, 10.0))
    meter.note("b", done(50, 40, 0.1))
    assert meter.last == Reuse(40, None, 40)
    meter.note("a", done(110, 100, 0.1))
    assert meter.last == Reuse(100, 1.0)
    assert meter.total == Reuse(140, 1.0, 40)


TURNS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 3000),
        st.integers(0, 3000),
        st.none() | st.floats(0, 100),
    ),
    max_size=20,
)


@given(turns=TURNS)
def test_the_total_is_that_of_all_turns(turns: list[tuple[str, int, int, float | None]]) -> None:
    meter = ReuseMeter()
    for model, cached, evaluated, prefill_s in turns:
        meter.note(model, done(cached + evaluated, cached, prefill_s))
        assert meter.last.tokens == cached
        assert (meter.last.seconds is None) == (meter.last.unmeasured_tokens == cached)
    total = meter.total
    assert total.tokens == sum(cached for _, cached, _, _ in turns)
    assert 0 <= total.unmeasured_tokens <= total.tokens
    assert total.seconds is None or total.seconds >= 0

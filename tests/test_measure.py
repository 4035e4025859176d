"""One generation with its numbers, from an engine in a real child process."""

from __future__ import annotations

import os
import signal
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from echoing import PRICE, Loaded, echo

from ondevice.domain.electricity import Power
from ondevice.domain.generation import (
    GenerationDone,
    GenerationRequest,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.errors import EngineCrashed, EngineTrouble
from ondevice.measure import MeasureEvent, measure

REQUEST = GenerationRequest(Prompt.chat("one two three"))


def events_of(loaded: Loaded, price: Any = PRICE, **request: Any) -> list[MeasureEvent]:
    asked = GenerationRequest(Prompt.chat("one two three"), **request)
    return list(measure(loaded.engine, loaded.info, asked, price))


def measured_of(events: list[MeasureEvent]) -> Measured:
    assert isinstance(events[-1], Measured)
    return events[-1]


def test_the_numbers_come_last_and_once(tmp_path: Path) -> None:
    with echo(tmp_path) as loaded:
        events = events_of(loaded)
    kinds = [type(event) for event in events]
    assert kinds[0] is PrefillProgress
    assert kinds[-2:] == [GenerationDone, Measured]
    assert set(kinds[1:-2]) <= {PrefillProgress, TextDelta}
    assert TextDelta in kinds
    assert kinds.count(Measured) == 1


def test_it_holds_all_that_is_known(tmp_path: Path) -> None:
    with echo(tmp_path, delay_s=0.01) as loaded:
        measured = measured_of(events_of(loaded))
        assert measured.memory.peak_private_bytes is not None
        assert 1 << 20 < measured.memory.peak_private_bytes < 1 << 30
        assert measured.memory.model_pages_bytes == 0  # a script is read, not mapped
    assert measured.text == "one two three"
    assert measured.done.usage.prompt_tokens == measured.done.usage.completion_tokens == 3
    assert measured.done.decode_tok_per_s is not None
    assert measured.done.timings.decode_s is not None
    assert measured.done.timings.decode_s >= 0.02
    assert measured.notices == ()


def test_cost_is_computed_from_usage_exactly(tmp_path: Path) -> None:
    with echo(tmp_path) as loaded:
        cost = measured_of(events_of(loaded)).cost
    assert cost is not None
    assert cost.usd == Decimal("0.0000012")  # 3 × $0.1 and 3 × $0.3 per million
    assert cost.price is PRICE


def test_stated_watts_are_taken_off_what_is_avoided(tmp_path: Path) -> None:
    power = Power(36.0, Decimal(1))
    with echo(tmp_path, delay_s=0.02) as loaded:
        events = list(measure(loaded.engine, loaded.info, REQUEST, PRICE, power=power))
    measured = measured_of(events)
    seconds = measured.done.timings.busy_s
    assert seconds is not None
    assert seconds >= 0.04
    assert measured.electricity.joules == 36.0 * seconds
    assert measured.cost is not None
    assert measured.cost.usd == Decimal("0.0000012")
    assert measured.cost.electricity_usd == measured.electricity.usd
    assert measured.cost.net_usd == measured.cost.usd - (measured.electricity.usd or 0)
    assert measured.cost.net_usd < measured.cost.usd


def test_without_watts_the_electricity_is_unknown(tmp_path: Path) -> None:
    with echo(tmp_path) as loaded:
        measured = measured_of(events_of(loaded))
    assert (measured.electricity.tier, measured.electricity.joules) == ("unknown", None)
    assert measured.cost is not None
    assert measured.cost.electricity_usd is None


def test_without_a_price_there_is_no_cost(tmp_path: Path) -> None:
    with echo(tmp_path) as loaded:
        assert measured_of(events_of(loaded, price=None)).cost is None


@pytest.mark.parametrize("pieces", [[""], [" ", "\n"]], ids=["end-token-only", "blank"])
def test_an_empty_reply_avoids_nothing(pieces: list[str], tmp_path: Path) -> None:
    with echo(tmp_path, pieces=pieces) as loaded:
        measured = measured_of(events_of(loaded))
    assert measured.done.usage.completion_tokens > 0
    assert measured.cost is not None
    assert measured.cost.usd == 0


def test_noise_is_not_billed_and_has_no_cost(tmp_path: Path) -> None:
    with echo(tmp_path) as loaded:
        events = list(measure(loaded.engine, loaded.info, REQUEST, PRICE, random_weights=True))
    assert measured_of(events).cost is None
    assert measured_of(events).cost_at(PRICE) is None
    assert not measured_of(events).billable


@pytest.mark.parametrize("pieces", [["word"], [""], [" ", "\n"]], ids=["word", "end", "blank"])
def test_what_it_costs_does_not_depend_on_when_the_price_is_known(
    pieces: list[str], tmp_path: Path
) -> None:
    with echo(tmp_path, pieces=pieces) as loaded:
        before = measured_of(events_of(loaded, price=None))
        after = measured_of(events_of(loaded))
    assert before.cost_at(PRICE) == after.cost
    assert before.billable is after.billable is (pieces == ["word"])


def test_an_interrupted_reply_counts_the_tokens_made(tmp_path: Path) -> None:
    with echo(tmp_path, pieces=["word "], repeat=1000, delay_s=0.01) as loaded:
        events = []
        for event in measure(loaded.engine, loaded.info, REQUEST, PRICE):
            events.append(event)
            if isinstance(event, TextDelta):
                loaded.engine.cancel()
        measured = measured_of(events)
    assert measured.done.finish_reason == "cancelled"
    made = measured.done.usage.completion_tokens
    assert 0 < made < 1000
    assert measured.text == "word " * made
    assert measured.cost is not None
    assert measured.cost.usd == (3 * Decimal("0.1") + made * Decimal("0.3")) / 1_000_000


def test_an_engine_that_fails_gives_no_numbers(tmp_path: Path) -> None:
    with echo(tmp_path, pieces=["a", "b"], fail_at=1) as loaded:
        events = []
        with pytest.raises(EngineTrouble, match="asked for a failure"):
            events.extend(measure(loaded.engine, loaded.info, REQUEST, PRICE))
    assert not any(isinstance(event, Measured) for event in events)


def test_a_killed_engine_is_a_named_error(tmp_path: Path) -> None:
    with echo(tmp_path, pieces=["word "], repeat=1000, delay_s=0.01) as loaded:
        events = measure(loaded.engine, loaded.info, REQUEST, PRICE)
        assert isinstance(next(events), PrefillProgress)
        os.kill(loaded.info.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            list(events)


def test_closing_early_leaves_the_engine_free_and_no_thread(tmp_path: Path) -> None:
    with echo(tmp_path, pieces=["word "], repeat=1000, delay_s=0.01) as loaded:
        events = measure(loaded.engine, loaded.info, REQUEST, PRICE)
        next(event for event in events if isinstance(event, TextDelta))
        assert "memory" in {thread.name for thread in threading.enumerate()}
        events.close()  # type: ignore[attr-defined]
        assert "memory" not in {thread.name for thread in threading.enumerate()}
        assert measured_of(events_of(loaded, max_tokens=2)).text == "word word "


def test_the_peak_is_of_the_process_that_computes(tmp_path: Path) -> None:
    """The parent's own memory is no part of it."""
    with echo(tmp_path) as loaded:
        before = measured_of(events_of(loaded)).memory.peak_private_bytes
        ballast = bytearray(b"x" * (200 << 20))
        after = measured_of(events_of(loaded)).memory.peak_private_bytes
    assert before is not None
    assert after is not None
    assert after - before < len(ballast) // 4

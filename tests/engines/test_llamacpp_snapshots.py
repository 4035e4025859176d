"""Going back in models whose state cannot simply be cut: the same text as a fresh engine's."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from driving import Answer, done_of, notices_of, text_of
from tiny import MAMBA, RWKV, SLIDING

from ondevice.domain.generation import (
    GREEDY,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import wire
from ondevice.engines.llamacpp.context import BATCH
from ondevice.engines.process import EngineProcess
from ondevice.gguf.shapes import write_shape

Start = Callable[[], EngineProcess]


@pytest.fixture
def started() -> Iterator[list[EngineProcess]]:
    engines: list[EngineProcess] = []
    yield engines
    for engine in engines:
        engine.close()


def starter_of(path: Path, engines: list[EngineProcess], n_ctx: int) -> Start:
    def start() -> EngineProcess:
        engine = EngineProcess("llama.cpp")
        engines.append(engine)
        options = LoadOptions(n_ctx=n_ctx, repack=False)  # batch shapes then round alike
        engine.load(ModelFile(path, "llama.cpp", path.stem), options)
        return engine

    return start


@pytest.fixture(params=[MAMBA, RWKV, SLIDING], ids=lambda spec: spec.name)
def start(request: pytest.FixtureRequest, tmp_path: Path, started: list[EngineProcess]) -> Start:
    """Fresh engines for one tiny model; the context is smaller than a recurrent model's text."""
    path = tmp_path / f"{request.param.name}.gguf"
    write_shape(request.param, "F16", path)
    return starter_of(path, started, n_ctx=2048 if request.param is SLIDING else 256)


def ids(count: int, seed: int) -> tuple[int, ...]:
    """Token ids that are plain text in each of the tiny vocabularies."""
    return tuple(random.Random(seed).choices(range(300, 500), k=count))


def ask(engine: EngineProcess, tokens: tuple[int, ...]) -> tuple[str, GenerationDone, list[str]]:
    request = GenerationRequest(Prompt(tokens=tokens), GREEDY, max_tokens=12, ignore_eos=True)
    events = list(engine.generate(request))
    return text_of(events), done_of(events), notices_of(events)


LONG = ids(700, seed=1)


def test_a_long_prompt_reports_its_progress_in_batches(start: Start) -> None:
    request = GenerationRequest(Prompt(tokens=LONG), max_tokens=1)
    events = list(start().generate(request))
    progress = [event for event in events if isinstance(event, PrefillProgress)]
    done = [event.done_tokens for event in progress]
    assert done == sorted(set(done))
    assert max(after - before for before, after in pairwise(done)) <= BATCH
    assert (done[0], done[-1]) == (0, len(LONG))
    assert done_of(events).timings.prefill_s == progress[-1].elapsed_s


def test_a_long_prompt_asked_again_is_restored_not_evaluated(start: Start) -> None:
    engine = start()
    first, _, _ = ask(engine, LONG)
    again, done, notices = ask(engine, LONG)
    assert again == first == ask(start(), LONG)[0]
    assert done.usage.cached_tokens == len(LONG) - 1
    assert "cache_miss" not in notices


@pytest.mark.parametrize("kept", [0, 5, 350, 699], ids="the first {} tokens stay".format)
def test_a_prompt_that_differs_gets_the_answer_of_a_fresh_engine(start: Start, kept: int) -> None:
    edited = LONG[:kept] + ids(300, seed=2)
    engine = start()
    first, _, _ = ask(engine, LONG)
    text, done, _ = ask(engine, edited)
    assert text == ask(start(), edited)[0] != first
    assert done.usage.cached_tokens <= kept


def test_a_prompt_that_goes_on_evaluates_only_what_was_added(start: Start) -> None:
    engine = start()
    ask(engine, LONG)
    longer = LONG + ids(40, seed=3)
    text, done, _ = ask(engine, longer)
    assert done.usage.cached_tokens in (len(LONG) - 1, len(LONG))
    assert text == ask(start(), longer)[0]


def test_a_cancel_in_prefill_does_not_spoil_the_state(start: Start) -> None:
    engine = start()
    ask(engine, LONG[:100])
    answer = Answer(engine, GenerationRequest(Prompt(tokens=LONG + ids(600, seed=4))))
    assert answer.prefill_began.wait(20)
    engine.cancel()
    answer.wait()
    assert answer.error is None
    assert ask(engine, LONG)[0] == ask(start(), LONG)[0]


def test_a_cancel_that_overtakes_its_request_does_not_spoil_the_state(start: Start) -> None:
    engine = start()
    ask(engine, LONG)
    engine._numbers = itertools.count(100)
    assert engine._child is not None
    engine._child.send(wire.Cancel(100))
    _, done, _ = ask(engine, LONG + ids(40, seed=3))
    assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 0)
    assert ask(engine, LONG)[0] == ask(start(), LONG)[0]


def test_gemma_regenerates_after_a_long_prompt_as_a_fresh_engine_does(
    gemma_path: Path, started: list[EngineProcess]
) -> None:
    fresh = starter_of(gemma_path, started, n_ctx=2048)
    text = " ".join(f"On day {day} the weather was fine." for day in range(54))
    request = GenerationRequest(Prompt(text=text), GREEDY, max_tokens=12)
    engine = fresh()
    first = list(engine.generate(request))
    again = list(engine.generate(request))
    assert text_of(again) == text_of(first) == text_of(fresh().generate(request))
    usage = done_of(again).usage
    assert usage.prompt_tokens > 512  # the sliding window
    assert usage.cached_tokens == usage.prompt_tokens - 1

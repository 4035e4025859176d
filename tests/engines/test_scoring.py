"""Log-probabilities of given tokens, in both native engines: the capability `scores`."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import score_reference
from driving import PATIENCE_S, StartEcho, done_of, notices_of, pid_of, text_of
from onnx_folder import Shape, write_tiny

from ondevice import errors
from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import (
    LogitsFile,
    ScoreEvent,
    ScoreRequest,
    ScoringDone,
    TokenScores,
)
from ondevice.engines.process import Deadlines, EngineProcess
from ondevice.quality.perplexity import own_text

CAPITAL = Prompt.chat("What is the capital of France? Answer with one word.")
ROUNDING = {"llama.cpp": 0.05, "onnx": 0.001}
"""Of a log-probability: a step of another shape rounds differently, the more so where the engine
rounds what it computes with to eight bits, as llama.cpp does for a quantized file."""


@pytest.fixture(scope="module")
def ids(either: EngineProcess) -> tuple[int, ...]:
    """Some plain text."""
    return either.tokenize(Prompt(text=own_text()[:1500])).ids


def scored(engine: EngineProcess, request: ScoreRequest) -> list[TokenScores]:
    """All but the last event, which must be the right one."""
    *events, last = engine.score(request)
    assert isinstance(last, ScoringDone)
    assert not last.cancelled
    return [event for event in events if isinstance(event, TokenScores)]


def log_probabilities(engine: EngineProcess, request: ScoreRequest) -> list[float]:
    return [each for event in scored(engine, request) for each in event.log_probabilities]


def chosen(engine: EngineProcess, ids: tuple[int, ...], choices: tuple[int, ...]) -> list[float]:
    *_, last = engine.score(ScoreRequest(ids, first=len(ids), choices=choices))
    assert isinstance(last, ScoringDone)
    return list(last.choices)


def test_log_probabilities_are_those_of_other_code(
    either: EngineProcess, either_file: ModelFile, ids: tuple[int, ...]
) -> None:
    assert len(ids) > 257  # more than one step of either engine
    (expected,) = score_reference.log_probabilities(either_file, [list(ids)])
    found = log_probabilities(either, ScoreRequest(ids))
    assert len(found) == len(ids) - 1
    assert found == pytest.approx(expected, abs=ROUNDING[either_file.engine])
    mean = sum(found) / len(found), sum(expected) / len(expected)
    assert mean[0] == pytest.approx(mean[1], abs=ROUNDING[either_file.engine] / 10)


def test_only_what_is_asked_for_is_scored(
    either: EngineProcess, either_file: ModelFile, ids: tuple[int, ...]
) -> None:
    whole = log_probabilities(either, ScoreRequest(ids))
    part = log_probabilities(either, ScoreRequest(ids, first=200))
    assert part == pytest.approx(whole[199:], abs=ROUNDING[either_file.engine])


def test_the_probabilities_of_all_tokens_are_1(either: EngineProcess, ids: tuple[int, ...]) -> None:
    every = chosen(either, ids[:40], tuple(range(49_152)))
    assert math.fsum(map(math.exp, every)) == pytest.approx(1, abs=1e-9)


def test_a_choice_is_scored_as_if_it_had_come(either: EngineProcess, ids: tuple[int, ...]) -> None:
    prefix, token = ids[:40], ids[40]
    came = log_probabilities(either, ScoreRequest((*prefix, token), first=40))
    assert chosen(either, prefix, (7, token))[1] == came[0]


def test_a_greedy_answer_takes_the_most_probable_token(either: EngineProcess) -> None:
    request = GenerationRequest(CAPITAL, GREEDY, max_tokens=4)
    done = done_of(list(either.generate(request)))
    assert len(done.ids) == done.usage.completion_tokens
    prompt = either.tokenize(CAPITAL).ids
    assert len(prompt) == done.usage.prompt_tokens
    every = chosen(either, prompt, tuple(range(49_152)))
    assert every.index(max(every)) == done.ids[0]


def test_a_file_does_not_diverge_from_itself(
    either: EngineProcess, ids: tuple[int, ...], tmp_path: Path
) -> None:
    kept = LogitsFile(tmp_path / "logits", row=3)
    kept.path.touch()
    first = scored(either, ScoreRequest(ids, keep=kept))
    assert kept.path.stat().st_size == (3 + len(ids) - 1) * 49_152 * 4
    again = scored(either, ScoreRequest(ids, against=kept))
    assert [each.log_probabilities for each in first] == [each.log_probabilities for each in again]
    divergences = [each for event in again for each in event.divergences]
    assert divergences == [0.0] * (len(ids) - 1)
    assert all(agreed for event in again for agreed in event.agreed)


def test_other_logits_diverge_by_what_the_definition_says(
    either: EngineProcess, ids: tuple[int, ...], tmp_path: Path
) -> None:
    """Against equal chances for all, it is the logarithm of their number less the entropy of
    nothing: sum of 1/n (log 1/n - log q)."""
    kept = LogitsFile(tmp_path / "logits", row=0)
    kept.path.write_bytes(bytes(4 * 49_152))
    (*_, event) = scored(either, ScoreRequest(ids[:41], first=40, against=kept))
    every = chosen(either, ids[:40], tuple(range(49_152)))
    expected = -math.log(49_152) - math.fsum(every) / 49_152
    assert event.divergences == (pytest.approx(expected, rel=1e-9),)
    assert event.divergences[0] > 1


def test_logits_that_end_too_early_are_named(
    either: EngineProcess, ids: tuple[int, ...], tmp_path: Path
) -> None:
    short = LogitsFile(tmp_path / "logits", row=0)
    short.path.write_bytes(bytes(100))
    with pytest.raises(errors.EngineTrouble, match="end too early"):
        scored(either, ScoreRequest(ids, against=short))
    missing = LogitsFile(tmp_path / "none", row=0)
    with pytest.raises(errors.EngineTrouble, match="cannot be read: No such file"):
        scored(either, ScoreRequest(ids, against=missing))
    with pytest.raises(errors.EngineTrouble, match="cannot be written: No such file"):
        scored(either, ScoreRequest(ids, keep=missing))
    assert scored(either, ScoreRequest(ids))


def test_scoring_leaves_the_next_answer_as_it_was(
    either: EngineProcess, ids: tuple[int, ...]
) -> None:
    request = GenerationRequest(CAPITAL, GREEDY, max_tokens=8)
    expected = text_of(either.generate(request))
    scored(either, ScoreRequest(ids))
    events = list(either.generate(request))
    assert text_of(events) == expected
    assert done_of(events).usage.cached_tokens == 0


def test_a_prompt_can_be_evaluated_whole_again(either: EngineProcess) -> None:
    whole = GenerationRequest(CAPITAL, GREEDY, max_tokens=4, reuse=False)
    for _ in range(2):
        events = list(either.generate(whole))
        assert done_of(events).usage.cached_tokens == 0
        assert "cache_miss" not in notices_of(events)


def test_a_text_is_tokenized_whatever_its_length(either: EngineProcess) -> None:
    found = either.tokenize(Prompt(text="word " * 40_000))
    assert len(found.ids) > 2048
    assert found.begin == 0
    again = either.tokenize(Prompt(tokens=found.ids))
    assert (again.ids, again.reads) == (found.ids, found.reads)
    assert either.tokenize(Prompt(tokens=found.ids[1:])).reads != found.reads


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ScoreRequest((1,)), id="one token"),
        pytest.param(ScoreRequest(()), id="none"),
        pytest.param(ScoreRequest((1, 2), first=2), id="from behind the end"),
        pytest.param(ScoreRequest((1, 2), first=0), id="from the first"),
        pytest.param(ScoreRequest((1, 49_152)), id="no token"),
        pytest.param(ScoreRequest((1, 2), choices=(-1,)), id="no choice"),
    ],
)
def test_what_cannot_be_scored_is_named(either: EngineProcess, request_: ScoreRequest) -> None:
    with pytest.raises(errors.EngineTrouble, match=r"outside the vocabulary|left to be scored"):
        scored(either, request_)
    assert scored(either, ScoreRequest((1, 2)))


def test_more_than_the_context_is_refused(either: EngineProcess) -> None:
    with pytest.raises(errors.ContextOverflow, match=r"3,000 tokens .* holds 2,048"):
        scored(either, ScoreRequest((5,) * 3000))


class Scoring(threading.Thread):
    """A scoring that is read in another thread."""

    def __init__(self, engine: EngineProcess, request: ScoreRequest) -> None:
        super().__init__(daemon=True)
        self._events: Iterator[ScoreEvent] = engine.score(request)
        self.begun = threading.Event()
        self.events: list[ScoreEvent] = []
        self.start()

    def run(self) -> None:
        for event in self._events:
            self.events.append(event)
            self.begun.set()

    def wait(self) -> list[ScoreEvent]:
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the scoring did not end"
        return self.events


def test_a_cancel_stops_it_within_a_second_and_leaves_the_engine_ready(
    either_file: ModelFile, ids: tuple[int, ...]
) -> None:
    engine = EngineProcess(either_file.engine, Deadlines(stop_s=1.0))  # past it, an error
    engine.load(either_file, LoadOptions(n_ctx=4096))
    scoring = Scoring(engine, ScoreRequest(ids * 10))
    assert scoring.begun.wait(PATIENCE_S)
    engine.cancel()
    *events, last = scoring.wait()
    assert last == ScoringDone(cancelled=True)
    assert all(isinstance(event, TokenScores) and event.read < 3000 for event in events)
    assert len(log_probabilities(engine, ScoreRequest(ids[:20]))) == 19
    engine.close()


def test_an_iterator_closed_early_stops_it(either: EngineProcess, ids: tuple[int, ...]) -> None:
    events = either.score(ScoreRequest(ids * 5))
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert len(log_probabilities(either, ScoreRequest(ids[:20]))) == 19


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="the system cannot stop a process")
def test_silence_past_the_deadline_ends_it(either_file: ModelFile, ids: tuple[int, ...]) -> None:
    engine = EngineProcess(either_file.engine, Deadlines(prefill_s=0.5))
    engine.load(either_file, LoadOptions(n_ctx=2048))
    events = engine.score(ScoreRequest(ids))
    child = psutil.Process(pid_of(engine))
    next(events)
    child.suspend()
    with pytest.raises(errors.EngineTimedOut, match=r"did not read the tokens within 0.5 s"):
        list(events)
    assert not child.is_running()


def test_an_engine_that_dies_is_named(either_file: ModelFile, ids: tuple[int, ...]) -> None:
    engine = EngineProcess(either_file.engine)
    engine.load(either_file, LoadOptions(n_ctx=2048))
    events = engine.score(ScoreRequest(ids))
    next(events)
    psutil.Process(pid_of(engine)).kill()
    with pytest.raises(errors.EngineCrashed, match="SIGKILL"):
        list(events)


def test_an_engine_without_the_capability_says_so(start_echo: StartEcho) -> None:
    engine = start_echo()
    with pytest.raises(errors.EngineTrouble, match="cannot score"):
        engine.tokenize(Prompt(text="x"))
    with pytest.raises(errors.EngineTrouble, match="cannot score"):
        list(engine.score(ScoreRequest((1, 2))))


def test_a_begin_token_is_told_apart_from_the_text(gemma_path: Path) -> None:
    engine = EngineProcess("llama.cpp")
    engine.load(ModelFile(gemma_path, "llama.cpp", "gemma"), LoadOptions(n_ctx=256))
    assert engine.tokenize(Prompt(text="")).begin == 1
    found = engine.tokenize(Prompt(text="The capital of France is"))
    assert (found.begin, len(found.ids)) == (1, 6)
    engine.close()


def test_a_step_of_one_token_is_not_what_the_library_wrote_to(tmp_path: Path) -> None:
    """Of several end tokens GenAI makes all but one impossible in the logits of a single id."""
    folder = write_tiny(tmp_path / "model", Shape(), ends=(2, 9))
    engine = EngineProcess("onnx")
    engine.load(ModelFile(folder, "onnx", "tiny"), LoadOptions(n_ctx=512))
    alone = chosen(engine, (70,), (2, 9))  # one id alone
    assert alone == pytest.approx(log_probabilities_of(engine, (70, 71), (2, 9)), abs=1e-5)
    last_alone = chosen(engine, (70,) * 129, (9,))  # the second step has one id
    assert last_alone[0] > -30
    engine.load(ModelFile(folder, "onnx", "tiny"), LoadOptions(n_ctx=129))  # no room for more
    assert chosen(engine, (70,) * 129, (9,)) == last_alone
    engine.close()


def log_probabilities_of(
    engine: EngineProcess, ids: tuple[int, ...], choices: tuple[int, ...]
) -> list[float]:
    """Of each choice instead of the last of `ids`, scored in one step with what stands before."""
    found = []
    for each in choices:
        request = ScoreRequest((*ids[:-1], each, 80), first=len(ids) - 1)
        found.append(log_probabilities(engine, request)[0])
    return found

"""One generation by a clock the test sets: its numbers, and the loop that makes its tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ondevice.domain.generation import (
    EngineNotice,
    GenerationRequest,
    Prompt,
    TextDelta,
    Usage,
)
from ondevice.engines import run as run_module
from ondevice.engines.run import LONGEST_SILENCE_S, Run, decode


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(run_module, "time", clock)
    return clock


def new_run(room: int | None = 50, **request: object) -> Run:
    asked = GenerationRequest(Prompt(text="x"), **request)
    return Run(asked, prompt_tokens=10, cached=4, start=98.0, room=room)


def test_seconds_run_from_the_request_to_the_first_and_from_there_to_the_last_token(
    clock: SimpleNamespace,
) -> None:
    run = new_run()
    for clock.now in (100.0, 100.5, 102.0):
        run.sampled(7)
    done = run.done(threads=2, n_ctx=64)
    assert done.timings.ttft_s == 2.0
    assert done.timings.decode_s == 2.0
    assert done.decode_tok_per_s == 1.0
    assert done.usage.evaluated_tokens == 6


@pytest.mark.parametrize(
    ("ended", "stopped", "made", "request_", "finish"),
    [
        pytest.param(True, False, 1, {}, "stop", id="an end token"),
        pytest.param(True, False, 1, {"ignore_eos": True}, None, id="an end token to ignore"),
        pytest.param(False, True, 1, {}, "stop", id="a stop string"),
        pytest.param(False, False, 3, {"max_tokens": 3}, "length", id="the last token allowed"),
        pytest.param(False, False, 2, {"max_tokens": 3}, None, id="one to go"),
        pytest.param(False, False, 50, {}, "context_full", id="a full context"),
        pytest.param(True, False, 50, {}, "stop", id="an end token in a full context"),
    ],
)
def test_an_answer_ends_for_one_reason(
    ended: bool, stopped: bool, made: int, request_: dict[str, object], finish: str | None
) -> None:
    run = new_run(**request_)
    for _ in range(made):
        run.sampled(7)
    run.judge(ended, stopped, b"x")
    assert run.finish == finish


def test_nothing_bounds_a_recurrent_model_but_max_tokens() -> None:
    run = new_run(room=None)
    for _ in range(500):
        run.sampled(7)
    run.judge(False, False, b"x")
    assert run.finish is None


def test_tokens_without_text_give_a_sign_of_life_every_second(clock: SimpleNamespace) -> None:
    run = new_run()
    run.sampled(7)
    assert not run.silent
    clock.now += LONGEST_SILENCE_S
    run.sampled(7)
    assert run.silent
    assert run.delta("").completion_tokens == 2
    assert not run.silent


@pytest.mark.parametrize(
    ("piece", "stopped", "text", "known"),
    [
        pytest.param(b"hi", False, "hi", "hi", id="plain text"),
        pytest.param(b"hi", True, "h", None, id="cut at a stop string"),
        pytest.param(b"", False, "", None, id="a control token"),
        pytest.param(b"\xff", False, "\ufffd", None, id="a broken byte"),
        pytest.param(b"\xf0\x9f\x99", False, "\ufffd", None, id="as many broken bytes as it has"),
        pytest.param(b"hi\xe2\x82", False, "hi", None, id="half a character held back"),
    ],
)
def test_a_reply_is_known_by_its_text_only_where_that_is_certain(
    piece: bytes, stopped: bool, text: str, known: str | None
) -> None:
    run = new_run()
    run.sampled(7)
    run.delta(text)
    run.judge(False, stopped, piece)
    assert run.reply_text() == known
    assert run.reply_ids() == [7]


def test_of_a_prompt_that_was_stopped_only_what_was_read_is_counted() -> None:
    run = new_run()
    run.unread = 5
    assert run.done(1, 64).usage == Usage(prompt_tokens=5, cached_tokens=4, completion_tokens=0)
    assert run.done(1, 64).usage.evaluated_tokens == 1


def test_the_end_token_is_counted_but_is_not_part_of_the_reply() -> None:
    run = new_run()
    run.sampled(7)
    run.judge(False, False, b"hi")
    run.sampled(2)
    run.judge(True, False, b"")
    assert run.reply_ids() == [7]
    assert run.done(1, 64).usage.completion_tokens == 2


class Letters:
    """A model whose ids are bytes, 0 being its end."""

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def is_end(self, token: int) -> bool:
        return token == 0


def events_of(run: Run, ids: bytes, evaluated: list[int], stops_at: int = -1) -> list[str]:
    """What decoding `ids` yields, a notice as `!`; evaluating `stops_at` is stopped."""
    coming = iter(ids)

    def evaluate(token: int) -> bool:
        evaluated.append(token)
        return token != stops_at

    events = decode(
        run, Letters(), lambda: next(coming), evaluate, lambda: [EngineNotice("threads", "!")]
    )
    return [each.text if isinstance(each, TextDelta) else each.message for each in events]


@pytest.mark.parametrize(
    ("request_", "ids", "events", "finish", "evaluated"),
    [
        pytest.param({}, b"ab\0", ["a", "!", "b", "!"], "stop", b"ab", id="an end token"),
        pytest.param({"max_tokens": 2}, b"ab", ["a", "!", "b"], "length", b"a", id="its length"),
        pytest.param({"stop": ("bc",)}, b"abc", ["a", "!", "!"], "stop", b"ab", id="a stop string"),
        pytest.param({}, b"ax", ["a", "!", "x"], "cancelled", b"ax", id="a stop"),
        pytest.param(
            {"stop": ("bc",), "max_tokens": 2},
            b"ab",
            ["a", "!", "b"],
            "length",
            b"a",
            id="held back",
        ),
    ],
)
def test_the_last_token_is_not_evaluated_and_what_it_leaves_is_told(
    request_: dict[str, object], ids: bytes, events: list[str], finish: str, evaluated: bytes
) -> None:
    run, read = new_run(**request_), list[int]()
    assert events_of(run, ids, read, stops_at=ord("x")) == events
    assert (run.finish, bytes(run.ids), bytes(read)) == (finish, ids, evaluated)

"""An engine in a real child process: streaming, cancelling, refusing, loading again."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest
from driving import (
    Answer,
    StartEcho,
    child_pids,
    done_of,
    echo_file,
    notices_of,
    pid_of,
    say,
    text_of,
)

from ondevice import errors
from ondevice.domain.generation import (
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    TextDelta,
    Usage,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.engines.process import Deadlines, EngineProcess

FOREVER_S = 600.0
"""A scripted wait that only a cancel ends."""
QUESTION = GenerationRequest(Prompt.chat("one two three"))


def test_an_answer_streams_progress_then_text_then_one_end(start_echo: StartEcho) -> None:
    events = say(start_echo(prefill_steps=3))
    kinds = [type(event) for event in events]
    assert kinds[:4] == [PrefillProgress] * 4
    assert set(kinds[4:-1]) == {TextDelta}
    assert text_of(events) == "one two three"
    done = done_of(events)
    assert (done.finish_reason, done.usage.completion_tokens) == ("stop", 3)


def test_text_is_merged_but_nothing_is_lost(start_echo: StartEcho) -> None:
    events = say(start_echo(pieces=["ab", "c"], repeat=500), max_tokens=5000)
    assert text_of(events) == "abc" * 500
    assert sum(isinstance(event, TextDelta) for event in events) < 500


def test_who_shows_no_text_is_seldom_woken_for_it(start_echo: StartEcho) -> None:
    engine = start_echo(pieces=["word "], repeat=30, delay_s=0.02)
    often = [event for event in say(engine) if isinstance(event, TextDelta)]
    seldom = [event for event in say(engine, text_shown=False) if isinstance(event, TextDelta)]
    assert text_of(seldom) == text_of(often) == "word " * 30
    assert len(seldom) == 1 < len(often)  # with the end


def test_a_slow_token_does_not_hold_back_the_text_before_it(start_echo: StartEcho) -> None:
    engine = start_echo(pieces=["a", "b", "c"], hang_at=2)
    answer = engine.generate(QUESTION)
    shown = ""
    while shown != "ab":
        event = next(answer)
        shown += event.text if isinstance(event, TextDelta) else ""
    engine.close()


def test_a_cancel_in_decode_keeps_the_text_and_leaves_the_engine_ready(
    start_echo: StartEcho,
) -> None:
    engine = start_echo(pieces=["word "], repeat=1000, delay_s=0.03)
    answer = Answer(engine, QUESTION)
    assert answer.text_began.wait(10)
    engine.cancel()
    done = done_of(answer.wait())
    assert done.finish_reason == "cancelled"
    assert text_of(answer.events) == "word " * done.usage.completion_tokens
    assert text_of(say(engine, max_tokens=2)) == "word word "


def test_a_cancel_in_prefill_makes_no_token(start_echo: StartEcho) -> None:
    engine = start_echo(prefill_delay_s=FOREVER_S)
    answer = Answer(engine, QUESTION)
    assert answer.prefill_began.wait(10)
    engine.cancel()
    done = done_of(answer.wait())
    assert (done.finish_reason, done.usage) == ("cancelled", Usage(0, 0, 0))
    assert engine.count_tokens(Prompt.chat("one two")).total == 2


def test_questions_of_any_kind_work_past_the_deadline_of_a_stop(start_echo: StartEcho) -> None:
    engine = start_echo(pieces=["word "], repeat=1000, delay_s=0.03)
    pid = pid_of(engine)
    answer = Answer(engine, QUESTION)
    assert answer.text_began.wait(10)
    engine.cancel()
    deadline = time.monotonic() + Deadlines().stop_s
    assert done_of(answer.wait()).finish_reason == "cancelled"
    past_it = False
    while not past_it:
        past_it = time.monotonic() > deadline
        assert engine.count_tokens(Prompt.chat("one two")).total == 2
    assert pid_of(engine) == pid


def test_a_cancel_without_a_generation_does_not_stop_the_next_one(start_echo: StartEcho) -> None:
    engine = start_echo()
    engine.cancel()
    assert text_of(say(engine)) == "one two three"
    engine.cancel()
    assert text_of(say(engine)) == "one two three"


def test_cancelling_all_the_time_never_hits_the_next_answer(start_echo: StartEcho) -> None:
    engine = start_echo()
    for _ in range(20):
        answer = Answer(engine, QUESTION)
        engine.cancel()
        answer.wait()
        assert answer.error is None
        assert done_of(say(engine)).finish_reason == "stop"


def test_an_iterator_closed_early_cancels(start_echo: StartEcho) -> None:
    engine = start_echo(pieces=["word "], repeat=10, delay_s=FOREVER_S)
    answer = engine.generate(QUESTION)
    next(answer)
    answer.close()
    answer = engine.generate(QUESTION)
    assert isinstance(next(answer), PrefillProgress)
    answer.close()


def test_looking_no_further_than_the_end_leaves_the_engine_free(start_echo: StartEcho) -> None:
    engine = start_echo()
    answer = engine.generate(QUESTION)
    kept_alive = [next(answer) for _ in range(len(say(start_echo())))]
    done_of(kept_alive)
    assert text_of(say(engine)) == "one two three"


@pytest.mark.parametrize("ask", ["generate", "count"])
def test_a_busy_engine_refuses_a_second_request(start_echo: StartEcho, ask: str) -> None:
    engine = start_echo(delay_s=FOREVER_S)
    answer = engine.generate(QUESTION)
    next(answer)
    with pytest.raises(errors.EngineTrouble, match="busy"):
        say(engine) if ask == "generate" else engine.count_tokens(QUESTION.prompt)
    answer.close()


def test_a_failure_in_an_answer_is_named_and_leaves_the_engine_usable(
    start_echo: StartEcho,
) -> None:
    engine = start_echo(pieces=["a", "b"], fail_at=1)
    pid = pid_of(engine)
    events = []
    with pytest.raises(errors.EngineTrouble, match="the script asked for a failure"):
        events.extend(engine.generate(QUESTION))
    assert text_of(say(engine, max_tokens=1)) == "a"
    assert pid_of(engine) == pid


def test_a_prompt_over_the_context_is_refused_before_anything_else(
    start_echo: StartEcho,
) -> None:
    engine = start_echo()
    with pytest.raises(errors.ContextOverflow, match="300 tokens"):
        say(engine, " ".join(["x"] * 300))
    assert text_of(say(engine)) == "one two three"


def test_what_a_native_library_prints_does_not_reach_the_wire(start_echo: StartEcho) -> None:
    noise = '["GenerationDone", {}]\n\x00\xff no message\n'
    events = say(start_echo(stdout=noise))
    assert text_of(events) == "one two three"


def test_broken_text_arrives_whole_and_valid(start_echo: StartEcho) -> None:
    smile = "🙂".encode().decode("latin-1")
    engine = start_echo(pieces=[smile[:2], smile[2:], "\xff", "\x00", smile[:3]], raw_bytes=True)
    assert text_of(say(engine)) == "🙂\ufffd\x00\ufffd"


def test_lone_surrogates_in_a_prompt_do_not_stop_the_request(start_echo: StartEcho) -> None:
    assert start_echo().count_tokens(Prompt.chat("a \ud800 b")).total == 3


def test_a_prompt_larger_than_any_pipe_arrives(start_echo: StartEcho) -> None:
    assert start_echo().count_tokens(Prompt.chat("word " * 400_000 + "end")).total == 400_001


@pytest.mark.parametrize(
    "name", ["with space.json", "grüße 🙂.json", b"not \xff utf-8 \xc3.json"], ids=str
)
def test_a_model_file_of_any_name_loads(tmp_path: Path, name: str | bytes) -> None:
    file = echo_file(tmp_path / os.fsdecode(name), pieces=["here"])
    engine = EngineProcess("echo")
    info = engine.load(file, LoadOptions())
    assert info.model_paths == (str(file.path),)
    assert text_of(say(engine)) == "here"
    engine.close()


def test_loading_again_ends_the_older_process(start_echo: StartEcho, tmp_path: Path) -> None:
    engine = start_echo()
    older = psutil.Process(pid_of(engine))
    info = engine.load(echo_file(tmp_path / "other.json", pieces=["other"]), LoadOptions())
    assert not older.is_running()
    assert info.pid == pid_of(engine) != older.pid
    assert text_of(say(engine)) == "other"
    assert 0 < info.load_s < 30


def test_a_refused_file_leaves_no_process(tmp_path: Path) -> None:
    engine, before = EngineProcess("echo"), child_pids()
    with pytest.raises(errors.ModelLoadFailed, match="no usable echo script"):
        engine.load(ModelFile(tmp_path / "missing.json", "echo", "missing"), LoadOptions())
    with pytest.raises(errors.EngineClosed):
        say(engine)
    assert child_pids() == before


def test_an_unknown_engine_is_named_with_those_there_are(tmp_path: Path) -> None:
    engine = registry.in_child("nobody")
    with pytest.raises(errors.EngineMissing, match="nobody") as caught:
        engine.load(echo_file(tmp_path / "x.json"), LoadOptions())
    assert "llama.cpp" in caught.value.hint


def test_an_error_in_the_progress_callback_ends_the_load(starter_path: Path) -> None:
    engine, before = EngineProcess("llama.cpp"), child_pids()

    def stop(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(), stop)
    assert child_pids() == before


def test_who_loads_after_the_engine_was_closed_starts_no_child(
    start_echo: StartEcho, tmp_path: Path
) -> None:
    engine = start_echo()
    engine.close()
    before = child_pids()
    with pytest.raises(errors.EngineClosed):
        engine.load(echo_file(tmp_path / "next.json"), LoadOptions())
    assert child_pids() == before


@pytest.mark.parametrize("ask", ["generate", "count", "closed twice"])
def test_a_closed_engine_says_so(start_echo: StartEcho, ask: str) -> None:
    engine = start_echo()
    engine.close()
    engine.close()
    with pytest.raises(errors.EngineClosed, match="no model is loaded"):
        engine.count_tokens(QUESTION.prompt) if ask == "count" else say(engine)


@pytest.mark.parametrize("end", ["close", "load"])
def test_closing_from_another_thread_ends_an_answer_and_is_no_crash(
    start_echo: StartEcho, tmp_path: Path, end: str
) -> None:
    engine = start_echo(pieces=["a"], repeat=9, delay_s=FOREVER_S)
    answer = Answer(engine, QUESTION)
    assert answer.prefill_began.wait(10)
    if end == "close":
        engine.close()
    else:
        engine.load(echo_file(tmp_path / "next.json"), LoadOptions())
    answer.wait()
    assert isinstance(answer.error, errors.EngineClosed)
    assert not engine._crashes._at


def test_two_loads_at_once_leave_one_process_and_one_winner(tmp_path: Path) -> None:
    engine, before = EngineProcess("echo"), child_pids()
    outcomes: list[object] = []
    barrier = threading.Barrier(2)

    def load(number: int) -> None:
        barrier.wait()
        try:
            file = echo_file(tmp_path / f"{number}.json")
            outcomes.append(engine.load(file, LoadOptions()).pid)
        except errors.OnDeviceError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert child_pids() - before == {pid_of(engine)}
    assert all(
        outcome == pid_of(engine) or isinstance(outcome, errors.EngineClosed | int)
        for outcome in outcomes
    )
    assert text_of(say(engine)) == "one two three"
    engine.close()


def test_the_child_opens_no_network_socket(either: EngineProcess) -> None:
    say(either, max_tokens=1)
    child = psutil.Process(pid_of(either))
    sockets = child.net_connections(kind="all")
    assert [one for one in sockets if one.family in (socket.AF_INET, socket.AF_INET6)] == []


def test_a_notice_reaches_the_parent(either: EngineProcess) -> None:
    say(either, "Name three colours.", max_tokens=2)
    events = say(either, "Something else entirely.", max_tokens=2)
    assert "cache_miss" in notices_of(events)


def test_a_cancel_returns_at_once_even_when_the_child_reads_nothing(
    start_echo: StartEcho,
) -> None:
    engine = start_echo(Deadlines(stop_s=0.1))
    child = psutil.Process(pid_of(engine))
    child.suspend()
    answer = Answer(engine, GenerationRequest(Prompt.chat("x" * 1_000_000)))
    while engine._running is None:
        assert answer.is_alive()
    began = time.monotonic()
    engine.cancel()
    assert time.monotonic() - began < 1.0
    answer.wait()
    assert isinstance(answer.error, errors.EngineTimedOut)
    assert "did not stop within 0.1 s" in answer.error.message

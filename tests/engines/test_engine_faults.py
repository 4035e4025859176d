"""An engine that crashes, hangs or lies is an ordinary, named error."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from driving import Answer, StartEcho, child_pids, echo_file, pid_of, say, text_of

from ondevice import errors
from ondevice.domain.generation import GenerationEvent, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.engines import child as child_module
from ondevice.engines import wire
from ondevice.engines.crashes import CRASHES_TO_BLOCK
from ondevice.engines.process import Deadlines, EngineProcess

QUESTION = GenerationRequest(Prompt.chat("one two three"))
SLOW_ENOUGH_S = 0.05
"""Between two tokens: longer than the child keeps text back."""


def until_error(engine: EngineProcess) -> tuple[list[GenerationEvent], errors.OnDeviceError]:
    events: list[GenerationEvent] = []
    try:
        for event in engine.generate(QUESTION):
            events.append(event)
    except errors.OnDeviceError as error:
        return events, error
    raise AssertionError("the generation did not fail")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_crash_in_an_answer_names_the_signal_and_the_last_words(
    start_echo: StartEcho, name: str
) -> None:
    engine = start_echo(
        pieces=["a", "b", "c"],
        delay_s=SLOW_ENOUGH_S,
        signal_at=2,
        signal_name=name,
        stderr="loading\nGGML_ASSERT(n > 0) failed",
    )
    events, error = until_error(engine)
    assert text_of(events) == "ab"
    assert isinstance(error, errors.EngineCrashed)
    assert error.message == f"the engine stopped: signal {name} (GGML_ASSERT(n > 0) failed)"
    assert error.last_lines == ["loading", "GGML_ASSERT(n > 0) failed"]
    assert ("ondevice chat --repack off" in error.hint) == (name == "SIGSEGV")


def test_control_characters_in_the_last_words_are_not_in_the_message(
    start_echo: StartEcho,
) -> None:
    engine = start_echo(signal_at=0, stderr="\x1b]52;c;evil\x07 done")
    _, error = until_error(engine)
    assert error.last_lines == []  # the message has it
    assert error.message == "the engine stopped: signal SIGKILL (]52;c;evil done)"


def test_the_log_tail_is_bounded(start_echo: StartEcho) -> None:
    engine = start_echo(signal_at=0, stderr="x" * 100_000 + "end")
    _, error = until_error(engine)
    assert isinstance(error, errors.EngineCrashed)
    assert error.log_tail.endswith("xxend")
    assert len(error.log_tail) <= child_module.LOG_TAIL_BYTES


def test_a_crash_between_answers_is_named_by_the_next_one(start_echo: StartEcho) -> None:
    engine = start_echo()
    process = psutil.Process(pid_of(engine))
    process.kill()
    with pytest.raises(errors.EngineCrashed, match="SIGKILL"):
        say(engine)
    with pytest.raises(errors.EngineClosed):
        say(engine)


def test_a_crash_during_load_is_named(tmp_path: Path) -> None:
    file = echo_file(tmp_path / "bad.json", load_signal="SIGABRT", stderr="bad block count")
    with pytest.raises(errors.EngineCrashed, match=r"signal SIGABRT \(bad block count\)"):
        EngineProcess("echo").load(file, LoadOptions())


def test_a_bug_in_the_child_is_a_crash_with_its_last_line(start_echo: StartEcho) -> None:
    engine = start_echo(pieces=["🙂"], raw_bytes=True)  # not a byte: encoding it raises
    _, error = until_error(engine)
    assert isinstance(error, errors.EngineCrashed)
    assert error.message.startswith("the engine stopped: exit code 1 (UnicodeEncodeError: ")


def test_a_model_file_that_changed_is_the_reason_given(tmp_path: Path) -> None:
    file = echo_file(tmp_path / "model.json", signal_at=0)
    engine = EngineProcess("echo")
    engine.load(file, LoadOptions())
    file.path.write_text("overwritten")
    _, error = until_error(engine)
    assert "signal SIGKILL" in error.message
    assert "the model file changed while it was loaded" in error.message


@pytest.mark.parametrize(
    ("script", "deadlines", "message"),
    [
        pytest.param(
            {"pieces": ["a", "b"], "delay_s": SLOW_ENOUGH_S, "hang_at": 1},
            Deadlines(token_s=0.3),
            "did not make the next token within 0.3 s",
            id="decode",
        ),
        pytest.param(
            {"prefill_delay_s": 600.0},
            Deadlines(prefill_s=0.3),
            "did not read the prompt within 0.3 s",
            id="prefill",
        ),
    ],
)
def test_a_hang_ends_at_its_deadline(
    start_echo: StartEcho, script: dict[str, object], deadlines: Deadlines, message: str
) -> None:
    engine = start_echo(deadlines, **script)
    process = psutil.Process(pid_of(engine))
    events, error = until_error(engine)
    assert isinstance(error, errors.EngineTimedOut)
    assert message in error.message
    assert text_of(events) == ("a" if "hang_at" in script else "")
    assert not process.is_running()


def test_a_hang_during_load_ends_at_its_deadline(tmp_path: Path) -> None:
    file = echo_file(tmp_path / "hangs.json", load_hangs=True)
    with pytest.raises(errors.EngineTimedOut, match=r"did not load the model within 0\.2 s"):
        EngineProcess("echo", Deadlines(load_s=0.2)).load(file, LoadOptions())


@pytest.mark.parametrize("ask", ["generate", "count"])
def test_a_stopped_process_ends_at_its_deadline(start_echo: StartEcho, ask: str) -> None:
    engine = start_echo(Deadlines(prompt_s=0.3))
    process = psutil.Process(pid_of(engine))
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(errors.EngineTimedOut, match=r"within 0\.3 s"):
        say(engine) if ask == "generate" else engine.count_tokens(QUESTION.prompt)
    assert not process.is_running()


def test_a_stopped_process_does_not_hold_up_an_iterator_that_is_closed(
    start_echo: StartEcho,
) -> None:
    engine = start_echo(Deadlines(stop_s=0.2), delay_s=600.0)
    process = psutil.Process(pid_of(engine))
    answer = engine.generate(QUESTION)
    next(answer)
    os.kill(process.pid, signal.SIGSTOP)
    answer.close()
    assert not process.is_running()
    with pytest.raises(errors.EngineClosed):
        say(engine)


def test_closing_a_stopped_process_ends_it(start_echo: StartEcho) -> None:
    engine = start_echo(Deadlines(stop_s=0.1))
    process = psutil.Process(pid_of(engine))
    os.kill(process.pid, signal.SIGSTOP)
    engine.close()
    assert not process.is_running()


def test_three_crashes_block_the_file_until_it_is_mended(tmp_path: Path) -> None:
    engine = EngineProcess("echo")
    file = echo_file(tmp_path / "bad.json", load_signal="SIGSEGV")
    for _ in range(CRASHES_TO_BLOCK):
        with pytest.raises(errors.EngineCrashed):
            engine.load(file, LoadOptions())
    with pytest.raises(errors.ModelBlocked, match=r"bad\.json crashed its engine 3 times"):
        engine.load(file, LoadOptions())
    other = echo_file(tmp_path / "good.json", pieces=["other"])
    engine.load(other, LoadOptions())
    assert text_of(say(engine)) == "other"
    mended = echo_file(file.path, pieces=["mended"])
    engine.load(mended, LoadOptions())
    assert text_of(say(engine)) == "mended"
    engine.close()


def test_refusals_do_not_block_a_file(tmp_path: Path) -> None:
    engine = EngineProcess("echo")
    (tmp_path / "no.json").write_text("not a script")
    file = ModelFile(tmp_path / "no.json", "echo", "no")
    for _ in range(CRASHES_TO_BLOCK + 1):
        with pytest.raises(errors.ModelLoadFailed):
            engine.load(file, LoadOptions())


def fake_worker(path: Path, code: str) -> str:
    """An executable that stands in for Python and says what a worker must not."""
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{code}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("print('hello', flush=True); sys.stdin.read()", "no message", id="garbage"),
        pytest.param(
            f"os.write(1, b'x' * ({wire.MAX_LINE_BYTES} + 9)); sys.stdin.read()",
            "no message",
            id="a line without end",
        ),
        pytest.param("os.write(1, b'[\"Hello\", {'); sys.exit(3)", "exit code 3", id="half a line"),
        pytest.param("sys.exit('no numpy here')", "(no numpy here)", id="ends at once"),
    ],
)
def test_a_child_that_does_not_keep_the_protocol_is_ended_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(sys, "executable", fake_worker(tmp_path / "python", code))
    with pytest.raises(errors.EngineCrashed) as caught:
        EngineProcess("echo").load(echo_file(tmp_path / "x.json"), LoadOptions())
    assert reason in caught.value.message


def test_a_message_out_of_turn_ends_the_child_and_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_it = 'print(\'["Counted", {"tokens": {}}]\', flush=True)'
    code = f"print('lost', file=sys.stderr, flush=True); {say_it}; sys.stdin.read()"
    monkeypatch.setattr(sys, "executable", fake_worker(tmp_path / "python", code))
    before = child_pids()
    with pytest.raises(errors.EngineCrashed, match=r"out of turn \(Counted\)") as caught:
        EngineProcess("echo").load(echo_file(tmp_path / "x.json"), LoadOptions())
    assert caught.value.log_tail == "lost"
    assert child_pids() == before


def test_a_python_that_cannot_be_started_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(errors.EngineCrashed, match=r"could not be started .*No such file"):
        EngineProcess("echo").load(echo_file(tmp_path / "x.json"), LoadOptions())


def test_a_name_that_no_process_can_be_given_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.EngineCrashed, match=r"could not be started .*null byte"):
        EngineProcess("echo\0").load(echo_file(tmp_path / "x.json"), LoadOptions())


def test_the_answer_of_another_thread_is_told_about_a_crash(start_echo: StartEcho) -> None:
    engine = start_echo(delay_s=600.0)
    answer = Answer(engine, QUESTION)
    assert answer.prefill_began.wait(10)
    os.kill(pid_of(engine), signal.SIGSEGV)
    answer.wait()
    assert isinstance(answer.error, errors.EngineCrashed)
    assert "SIGSEGV" in answer.error.message


ON_DEVICE_WORKER = """\
import sys
from dataclasses import replace
from ondevice.domain.device import Device, DeviceUse, Offload
from ondevice.engines import echo, worker

load = echo.EchoEngine.load

def load_there(self, *given):
    use = DeviceUse(Device("Vulkan0", "a device", "vulkan", 1 << 30, 1 << 30), LAYERS, 1 << 20)
    return replace(load(self, *given), offload=Offload(4, (use,) if LAYERS else ()))

echo.EchoEngine.load = load_there
worker.main("echo", int(sys.argv[-1]))
"""


@pytest.mark.parametrize("layers", [4, 0], ids=["on a device", "on the CPU"])
def test_a_crash_with_layers_on_a_device_says_how_to_keep_them_off_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: int
) -> None:
    python = tmp_path / "python"
    script = ON_DEVICE_WORKER.replace("LAYERS", str(layers))
    python.write_text(f"#!{sys.executable}\n{script}")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    engine = EngineProcess("echo")
    try:
        engine.load(echo_file(tmp_path / "script.json", signal_at=0), LoadOptions(n_ctx=256))
        _, error = until_error(engine)
    finally:
        engine.close()
    assert "signal SIGKILL" in error.message
    assert ("--gpu-layers 0, or gpu_layers = 0 in the settings" in error.hint) == bool(layers)

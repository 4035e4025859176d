"""A state on the disk: taken up by a fresh engine as if it had never ended, by no other engine."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from driving import done_of, notices_of, pid_of, text_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MAMBA, RWKV, SLIDING, TINY

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    ChatMessage,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import statefile
from ondevice.engines.base import Snapshots
from ondevice.engines.kept import KeptText
from ondevice.engines.llamacpp.engine import LlamaCppEngine
from ondevice.engines.process import Deadlines, EngineProcess
from ondevice.gguf.shapes import write_shape

SHA = "a" * 64
EXACT = LoadOptions(n_ctx=1024, repack=False)
Start = Callable[..., EngineProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(path, options)`: a fresh engine with this model."""
    engines: list[EngineProcess] = []

    def load(path: Path, options: LoadOptions = EXACT) -> EngineProcess:
        engine = EngineProcess("llama.cpp")
        engines.append(engine)
        engine.load(ModelFile(path, "llama.cpp", path.stem), options)
        return engine

    yield load
    for engine in engines:
        engine.close()


def ask(engine: EngineProcess, messages: list[ChatMessage], text: str) -> list[GenerationEvent]:
    """One more turn of a chat; its answer joins the messages."""
    messages.append(ChatMessage("user", text))
    request = GenerationRequest(Prompt(messages=tuple(messages)), GREEDY, max_tokens=16)
    events = list(engine.generate(request))
    messages.append(ChatMessage("assistant", text_of(events)))
    return events


def saved(engine: EngineProcess, folder: Path) -> Path:
    path = folder / "a.state"
    assert engine.save_state(path, SHA) == path.stat().st_size
    return path


def test_a_restored_chat_goes_on_as_one_that_never_ended(
    starter_path: Path, start: Start, tmp_path: Path
) -> None:
    first = start(starter_path)
    messages: list[ChatMessage] = []
    ask(first, messages, "Name three rivers.")
    before = list(messages)
    path = saved(first, tmp_path)
    warm = ask(first, messages, "And three mountains?")
    second = start(starter_path)
    held = second.restore_state(path, SHA)
    restored = ask(second, before, "And three mountains?")
    assert text_of(restored) == text_of(warm)
    assert done_of(restored).usage == done_of(warm).usage
    assert done_of(restored).usage.cached_tokens == held > 0
    assert "cache_miss" not in notices_of(restored)


@pytest.mark.parametrize("spec", [MAMBA, RWKV, SLIDING], ids=lambda spec: spec.name)
def test_states_that_cannot_be_cut_back_come_with_their_snapshots(
    spec: Any, start: Start, tmp_path: Path
) -> None:
    model = tmp_path / "tiny.gguf"
    write_shape(spec, "F16", model)
    tokens = tuple(300 + number * 7 % 190 for number in range(400))

    def answer(engine: EngineProcess, prompt: tuple[int, ...]) -> tuple[str, int]:
        request = GenerationRequest(Prompt(tokens=prompt), GREEDY, max_tokens=12, ignore_eos=True)
        events = list(engine.generate(request))
        return text_of(events), done_of(events).usage.cached_tokens

    first = start(model)
    said, _ = answer(first, tokens)
    path = saved(first, tmp_path)
    second = start(model)
    second.restore_state(path, SHA)
    assert answer(second, tokens) == (said, len(tokens) - 1)  # by the snapshot before the last id
    third = start(model)
    third.restore_state(path, SHA)
    longer = (*tokens, *range(300, 340))
    assert answer(third, longer)[0] == answer(start(model), longer)[0]


def test_the_size_is_known_before_and_the_file_is_private(
    starter_path: Path, start: Start, tmp_path: Path
) -> None:
    engine = start(starter_path)
    assert isinstance(engine, Snapshots)
    assert engine.state_bytes() == 0
    assert engine.save_state(tmp_path / "none.state", SHA) == 0
    ask(engine, [], "Hello.")
    size = engine.state_bytes()
    path = saved(engine, tmp_path)
    assert path.stat().st_size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.state"]


@pytest.fixture(scope="module")
def tiny_state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(model, a state of it written with EXACT)."""
    folder = tmp_path_factory.mktemp("tiny")
    write_shape(TINY, "F16", folder / "model.gguf")
    engine = EngineProcess("llama.cpp")
    engine.load(ModelFile(folder / "model.gguf", "llama.cpp", "tiny"), TINY_OPTIONS)
    ask(engine, [], "hi")
    path = saved(engine, folder)
    engine.close()
    return folder / "model.gguf", path


TINY_OPTIONS = replace(EXACT, n_ctx=512)


@pytest.mark.parametrize(
    ("options", "sha256", "why"),
    [
        pytest.param(TINY_OPTIONS, "b" * 64, "another model", id="another model"),
        pytest.param(replace(TINY_OPTIONS, n_ctx=256), SHA, "another context size", id="n_ctx"),
        pytest.param(
            replace(TINY_OPTIONS, repack=True), SHA, "another choice of repacking", id="repacking"
        ),
        pytest.param(
            replace(TINY_OPTIONS, flash_attention=True),
            SHA,
            "another choice of flash attention",
            id="flash attention",
        ),
        pytest.param(
            replace(TINY_OPTIONS, kv_type="q8_0"), SHA, "another type of KV cache", id="KV type"
        ),
    ],
)
def test_a_state_of_another_model_or_setting_is_refused_by_name(
    tiny_state: tuple[Path, Path], start: Start, options: LoadOptions, sha256: str, why: str
) -> None:
    model, path = tiny_state
    engine = start(model, options)
    with pytest.raises(errors.StateRefused, match=f"is not used: it is of {why}"):
        engine.restore_state(path, sha256)
    assert text_of(ask(engine, [], "hi"))  # it goes on without


def rewritten(path: Path, into: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same file with another header, its own hash put right."""
    data = path.read_bytes()
    start = len(statefile.MAGIC) + 8
    length = int.from_bytes(data[len(statefile.MAGIC) : start], "little")
    header = msgspec.json.decode(data[start : start + length])
    change(header)
    body = msgspec.json.encode(header)
    digest = hashlib.sha256(body).digest()
    head = statefile.MAGIC + len(body).to_bytes(8, "little") + body + digest
    into.write_bytes(head + data[start + length + 32 :])
    return into


def set_binding(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["binding"].update({name: value})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(set_binding("build", "of 2020"), "another build", id="another build"),
        pytest.param(set_binding("batch", 64), "another build", id="another batch"),
        pytest.param(set_binding("engine", "onnx"), "another engine", id="another engine"),
        pytest.param(set_binding("backend", "cuda"), "another device", id="another device"),
        pytest.param(set_binding("gpu_layers", 1), "another number of layers", id="GPU layers"),
        pytest.param(set_binding("model_bytes", 1), "another model", id="another length"),
        pytest.param(
            set_binding("adapters", [{"sha256": SHA, "scale": 1.0}]),
            "other LoRA adapters",
            id="an adapter",
        ),
        pytest.param(set_binding("new", 1), "not of this version", id="a field to come"),
        pytest.param(
            lambda header: header["states"][0].update(count=10**6), "damaged", id="too many ids"
        ),
        pytest.param(lambda header: header.update(states=[]), "damaged", id="no state"),
        pytest.param(
            lambda header: header["kept"].update(marks=[[10**6, 1]]), "damaged", id="a mark outside"
        ),
    ],
)
def test_a_header_that_says_something_else_is_refused(
    tiny_state: tuple[Path, Path],
    start: Start,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    why: str,
) -> None:
    model, path = tiny_state
    with pytest.raises(errors.StateRefused, match=why):
        start(model, TINY_OPTIONS).restore_state(rewritten(path, tmp_path / "x", change), SHA)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_no_bit_of_a_file_may_differ(tiny_state: tuple[Path, Path], data: st.DataObject) -> None:
    """By the reader alone: a byte that it passes on could reach llama.cpp."""
    _, path = tiny_state
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    end = data.draw(st.sampled_from([len(whole), at]))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << bit
    other = path.with_name("damaged")
    other.write_bytes(damaged[:end])
    binding = binding_of(path)
    with pytest.raises(errors.StateRefused):
        statefile.read(other, binding)
    kept, states = statefile.read(path, binding)
    assert kept.ids
    assert states


def binding_of(path: Path) -> statefile.Binding:
    data = path.read_bytes()
    start = len(statefile.MAGIC) + 8
    length = int.from_bytes(data[len(statefile.MAGIC) : start], "little")
    return msgspec.json.decode(data[start : start + length], type=statefile.Header).binding


@pytest.mark.parametrize("content", [b"", b"GGUF", statefile.MAGIC, statefile.MAGIC + b"\xff" * 99])
def test_what_is_no_state_is_refused(
    tiny_state: tuple[Path, Path], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(content)
    with pytest.raises(errors.StateRefused):
        statefile.read(path, binding_of(tiny_state[1]))
    with pytest.raises(errors.StateRefused, match="No such file"):
        statefile.read(tmp_path / "gone", binding_of(tiny_state[1]))


def test_a_state_llama_cpp_itself_refuses_leaves_the_engine_usable(
    tiny_state: tuple[Path, Path], tmp_path: Path
) -> None:
    """In this process: the file is sound, and only the engine can tell that its count is not."""
    model, path = tiny_state
    engine = LlamaCppEngine()
    engine.load(ModelFile(model, "llama.cpp", "tiny"), TINY_OPTIONS)
    fewer = rewritten(path, tmp_path / "x", lambda header: header["states"][0].update(count=1))
    with pytest.raises(errors.StateRefused, match=r"llama\.cpp does not take it"):
        engine.restore_state(fewer, SHA)
    request = GenerationRequest(Prompt.chat("hi"), GREEDY, max_tokens=4)
    assert done_of(list(engine.generate(request))).usage.cached_tokens == 0
    engine.close()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    binding = statefile.Binding(SHA, 1, "e", "b", "cpu", 1, 1, "f16", False, False, 0, ())
    kept = KeptText([1, 2], "ab", True, [(2, 2)])
    path = tmp_path / "a.state"
    statefile.write(path, binding, kept, [(2, memoryview(b"old"))])
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(errors.StateNotSaved, match="File too large"):
            statefile.write(path, binding, kept, [(2, memoryview(bytes(1 << 20)))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.state"]
    with pytest.raises(errors.StateNotSaved, match="No such file"):
        statefile.write(tmp_path / "gone" / "x", binding, kept, [(2, memoryview(b"new"))])


def test_the_echo_engine_says_that_it_has_no_state(start_echo: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.EngineTrouble, match="cannot save its state"):
        start_echo().save_state(tmp_path / "x", SHA)


def test_an_engine_that_dies_while_it_saves_leaves_no_half_file(
    tiny_state: tuple[Path, Path], start: Start, tmp_path: Path
) -> None:
    model, path = tiny_state
    engine = start(model, TINY_OPTIONS)
    engine.restore_state(path, SHA)
    target = tmp_path / "a.state"
    shutil.copy(path, target.with_name("a.state.part"))  # as a process that was killed leaves it
    assert engine._child is not None
    assert engine._child._process is not None
    engine._child._process.kill()
    with pytest.raises(errors.EngineCrashed):
        engine.save_state(target, SHA)
    assert list(tmp_path.iterdir()) == []


def test_a_state_has_a_patience_of_its_own(tiny_state: tuple[Path, Path], tmp_path: Path) -> None:
    class Stopped(EngineProcess):
        """Its process stops as soon as it is to write."""

        def state_bytes(self) -> int:
            size = super().state_bytes()
            os.kill(pid_of(self), signal.SIGSTOP)
            return size

    model, path = tiny_state
    with closing(Stopped("llama.cpp", Deadlines(save_s=0.3))) as engine:
        engine.load(ModelFile(model, "llama.cpp", "tiny"), TINY_OPTIONS)
        engine.restore_state(path, SHA)
        with pytest.raises(errors.EngineTimedOut, match=r"not save its state within 0\.3"):
            engine.save_state(tmp_path / "a.state", SHA)

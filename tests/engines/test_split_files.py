"""A split GGUF is all of its parts: for its pages, its size, what changed, and its states."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from driving import pid_of, say, text_of
from splitting import split_gguf
from tiny import TINY

from ondevice import errors
from ondevice.domain.generation import GREEDY, EngineInfo, LoadOptions
from ondevice.domain.layout import REPACK_HEADROOM_BYTES
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import loading
from ondevice.engines.process import EngineProcess
from ondevice.gguf.shapes import write_shape
from ondevice.hardware import probe, system
from ondevice.hardware.sampler import read_process

OPTIONS = LoadOptions(n_ctx=256, threads=1, repack=False)


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    whole = tmp_path / "whole.gguf"
    write_shape(TINY, "Q4_0", whole)
    return split_gguf(whole, tmp_path, count=3)


@pytest.fixture
def file(parts: list[Path]) -> ModelFile:
    return ModelFile(parts[0], "llama.cpp", "tiny")


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = EngineProcess("llama.cpp")
    yield engine
    engine.close()


def size(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def test_it_answers_as_the_whole_does(
    engine: EngineProcess, file: ModelFile, parts: list[Path]
) -> None:
    engine.load(file, OPTIONS)
    assert file.paths == tuple(parts)
    split = text_of(say(engine, sampling=GREEDY, max_tokens=8, ignore_eos=True))
    engine.load(ModelFile(parts[0].with_name("whole.gguf"), "llama.cpp", "tiny"), OPTIONS)
    whole = text_of(say(engine, sampling=GREEDY, max_tokens=8, ignore_eos=True))
    assert split == whole != ""


@pytest.mark.skipif(not system.is_linux(), reason="only Linux tells the two kinds apart")
def test_its_model_pages_are_those_of_all_parts(engine: EngineProcess, file: ModelFile) -> None:
    info: EngineInfo = engine.load(file, OPTIONS)
    say(engine, max_tokens=4)
    memory = read_process(info.pid, info.model_paths)
    each = [read_process(info.pid, (path,)) for path in info.model_paths]
    assert memory is not None
    assert memory.model_pages_bytes == sum(one.model_pages_bytes or 0 for one in each if one)
    assert all(one and one.model_pages_bytes for one in each)


def test_all_parts_count_where_memory_for_repacking_is_asked_for(
    file: ModelFile, parts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = 2 * size(parts) + REPACK_HEADROOM_BYTES

    def free(available: int) -> None:
        monkeypatch.setattr(probe, "machine_memory", lambda: MachineMemory(1 << 40, available))

    free(enough)
    assert loading.choose(file, LoadOptions()).repack
    free(enough - 1)
    assert not loading.choose(file, LoadOptions()).repack


def test_it_may_take_as_long_to_load_as_all_parts_together(
    engine: EngineProcess, file: ModelFile, parts: list[Path]
) -> None:
    engine.load(file, OPTIONS)
    assert engine._child is not None
    assert engine._child.file_mark[2] == size(parts)


def test_a_later_part_that_changed_while_it_was_loaded_is_named_after_a_crash(
    engine: EngineProcess, file: ModelFile, parts: list[Path]
) -> None:
    engine.load(file, OPTIONS)
    os.truncate(parts[2], parts[2].stat().st_size - 32)
    psutil.Process(pid_of(engine)).kill()
    with pytest.raises(errors.EngineCrashed, match="the model file changed while it was loaded"):
        say(engine)


def test_its_states_are_bound_to_the_size_of_all_parts(
    engine: EngineProcess, file: ModelFile, parts: list[Path], tmp_path: Path
) -> None:
    engine.load(file, OPTIONS)
    say(engine, max_tokens=4)
    engine.save_state(tmp_path / "state", "0" * 64)
    with parts[1].open("ab") as part:
        part.write(bytes(32))
    engine.load(file, OPTIONS)
    with pytest.raises(errors.StateRefused, match="another model"):
        engine.restore_state(tmp_path / "state", "0" * 64)


def test_a_part_that_is_missing_is_named(
    engine: EngineProcess, file: ModelFile, parts: list[Path]
) -> None:
    parts[1].unlink()
    with pytest.raises(errors.ModelLoadFailed, match=r"tiny cannot be read: model-00002-of-00003"):
        engine.load(file, OPTIONS)
